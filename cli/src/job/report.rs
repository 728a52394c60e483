//! What became of the images of a job.

use crate::output::say;
use descry_intake::Failure;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Numbers of a job, while it runs and at its end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) indexed: u64,
    pub(crate) unchanged: u64,
    pub(crate) failed: u64,
    /// Some of the failures, the first ones.
    pub(crate) first_failures: Vec<Failure>,
    /// Neither read nor sent, because the journal says that they are there.
    pub(crate) skipped_by_journal: u64,
    /// Found but not acknowledged, because the job was stopped.
    pub(crate) not_sent: u64,
    /// How many there are; none where the input does not say.
    pub(crate) total: Option<u64>,
    /// Whether the input was not read to its end.
    pub(crate) is_interrupted: bool,
    /// Whether the number of failures stopped the job.
    pub(crate) has_too_many_failures: bool,
    /// Acknowledgements a second, over the whole job.
    pub(crate) per_second: f64,
}

impl Report {
    /// Images whose outcome is known.
    pub(crate) fn done(&self) -> u64 {
        self.indexed + self.unchanged + self.failed + self.skipped_by_journal
    }

    /// One line of progress.
    pub(super) fn progress_json(&self, per_second: f64) -> Map<String, Value> {
        let fields = [
            ("done", json!(self.done())),
            ("indexed", json!(self.indexed)),
            ("unchanged", json!(self.unchanged)),
            ("failed", json!(self.failed)),
            ("skipped_by_journal", json!(self.skipped_by_journal)),
            ("total", json!(self.total)),
            ("per_second", json!((per_second * 10.0).round() / 10.0)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The last line: `failed` holds the first failures, `failures` their number.
    fn final_json(&self) -> Value {
        let mut object = self.progress_json(self.per_second);
        let fields = [
            ("finished", json!(true)),
            ("failed", json!(self.first_failures)),
            ("failures", json!(self.failed)),
            ("not_sent", json!(self.not_sent)),
            ("interrupted", json!(self.is_interrupted)),
        ];
        object.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Value::Object(object)
    }

    /// For people, or as the last line for a program.
    pub(crate) fn print(&self, is_json: bool) {
        if is_json {
            say!("{}", self.final_json());
            return;
        }
        let known = match self.skipped_by_journal {
            0 => String::new(),
            known => format!(", {known} known to the journal"),
        };
        say!("{} indexed, {} unchanged, {} failed{known}", self.indexed, self.unchanged, self.failed);
        self.print_failures();
        if self.has_too_many_failures {
            say!("stopped: more images failed than --max-failures allows");
        }
        if self.not_sent > 0 {
            say!("stopped: {} images were not sent; run the command again to continue", self.not_sent);
        } else if self.is_interrupted {
            say!("stopped before the end of the input; run the command again to continue");
        }
    }

    /// The first failures, one a line.
    pub(crate) fn print_failures(&self) {
        for Failure { image_id, origin, reason } in &self.first_failures {
            say!("  {}: {reason}", if image_id.is_empty() { origin } else { image_id });
        }
        let shown = self.first_failures.len() as u64;
        if self.failed > shown {
            say!("  and {} more (--failures FILE writes all of them to a file)", self.failed - shown);
        }
    }

    /// Success only if everything is in the gallery.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let is_whole = self.failed == 0 && self.not_sent == 0 && !self.is_interrupted;
        if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_find_the_same_fields_at_the_end() {
        let failure = Failure { image_id: "a".to_owned(), origin: "/x/a".to_owned(), reason: "torn".to_owned() };
        let report = Report { indexed: 2, failed: 1, first_failures: vec![failure], ..Report::default() };
        let progress = report.progress_json(1.26);
        assert_eq!((&progress["failed"], &progress["per_second"]), (&json!(1), &json!(1.3)));
        let last = report.final_json();
        assert_eq!(last["failed"][0]["reason"], "torn");
        assert_eq!((&last["failures"], &last["finished"], &last["total"]), (&json!(1), &json!(true), &Value::Null));
        assert_eq!((&last["indexed"], &last["not_sent"], &last["done"]), (&json!(2), &json!(0), &json!(3)));
    }
}
