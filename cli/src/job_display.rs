//! A job on the terminal: a bar and sentences for people, lines of JSON for programs.

use crate::output::say;
use crate::progress;
use descry_client::{JobObserver, JobReport, Replacement};
use descry_intake::{Failure, InputSummary};
use descry_terminal::piped_progress::PipedProgress;
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Replaced images that are named to people.
const SHOWN_REPLACEMENTS: usize = 5;

/// Shows a job while it runs.
pub(crate) enum JobDisplay {
    /// For people.
    Bar(Drawing),
    JsonLines,
}

/// What is drawn at present, and what is said where nothing can be drawn.
pub(crate) struct Drawing {
    bar: ProgressBar,
    lines: Option<PipedProgress>,
}

impl JobDisplay {
    pub(crate) fn new(is_json: bool) -> Self {
        if is_json { Self::JsonLines } else { Self::Bar(Drawing { bar: ProgressBar::hidden(), lines: None }) }
    }

    /// Draws this instead of what was drawn; nothing for programs.
    pub(crate) fn draw(&mut self, bar: impl FnOnce() -> ProgressBar) {
        if let Self::Bar(drawing) = self {
            drawing.bar.finish_and_clear();
            drawing.bar = bar();
        }
    }

    /// Draws how far something else has come.
    pub(crate) fn count(&mut self, done: u64, total: u64, what: &'static str) {
        if let Self::Bar(drawing) = self
            && drawing.bar.prefix() != what
        {
            self.draw(|| progress::counter(Some(total), what));
        }
        if let Self::Bar(drawing) = self {
            drawing.bar.set_position(done);
        }
    }

    /// Draws nothing more.
    pub(crate) fn clear(&mut self) {
        self.draw(ProgressBar::hidden);
    }
}

impl JobObserver for JobDisplay {
    fn opening(&mut self) {
        self.draw(|| progress::spinner("looking for images"));
    }

    fn started(&mut self, total: Option<u64>) {
        self.draw(|| progress::counter(total, "images"));
        if let Self::Bar(drawing) = self {
            drawing.lines = PipedProgress::unless_terminal("images", total);
        }
    }

    fn progressed(&mut self, report: &JobReport) {
        if let Self::Bar(Drawing { bar, .. }) = self {
            bar.set_position(report.done());
            if report.failed > 0 {
                bar.set_message(format!("{} failed", report.failed));
            }
        }
    }

    fn second_passed(&mut self, report: &JobReport) {
        match self {
            Self::Bar(drawing) => {
                if let Some(lines) = &mut drawing.lines {
                    lines.say(report.done(), report.failed);
                }
            }
            Self::JsonLines => say!("{}", Value::Object(progress_json(report))),
        }
    }

    fn ended(&mut self, _report: &JobReport) {
        self.clear();
    }
}

/// A job that fails leaves no bar behind.
impl Drop for JobDisplay {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Prints what became of everything, for people or as the last line for a program. Success only if everything is in the
/// gallery.
pub(crate) fn print_report(report: &JobReport, is_json: bool) -> ExitCode {
    if is_json {
        say!("{}", final_json(report));
    } else {
        print_sentences(report);
    }
    if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_sentences(report: &JobReport) {
    let known = match report.skipped_by_journal {
        0 => String::new(),
        known => format!(", {known} known to the journal"),
    };
    say!("{} indexed, {} unchanged, {} failed{known}", report.indexed, report.unchanged, report.failed);
    print_failures(&report.first_failures, report.failed);
    print_erased(report);
    print_inputs(&report.inputs);
    print_warnings(report);
    if report.has_too_many_failures {
        say!("stopped: more images failed than --max-failures allows");
    }
    if report.not_sent > 0 {
        say!("stopped: {} images were not sent; run the command again to continue", report.not_sent);
    } else if report.is_interrupted {
        say!("stopped before the end of the input; run the command again to continue");
    }
}

/// Nothing is named: what stands here is kept in logs of jobs.
fn print_erased(report: &JobReport) {
    if report.erased > 0 {
        say!(
            "{} not taken, because they were erased from the gallery on request; remove them from the input, or bring them \
             back with `descry index --force-erased`",
            report.erased
        );
    }
    if report.let_back > 0 {
        say!("{} of them had been erased on request and are there again", report.let_back);
    }
}

/// What was not asked for and is worth knowing: images that replaced others, and images that do not stay.
fn print_warnings(report: &JobReport) {
    if report.replaced_from_elsewhere > 0 {
        say!(
            "{} images replaced ones of the same id from another source; give each source a --prefix of its own:",
            report.replaced_from_elsewhere
        );
        for Replacement { image_id, earlier, new } in report.first_replaced.iter().take(SHOWN_REPLACEMENTS) {
            say!("  {image_id}: was {earlier}, is {new}");
        }
    }
    if report.past_retention > 0 {
        say!(
            "{} of them are older than the gallery keeps images (`descry gallery show` tells how long that is); the \
             service removes them with its next sweep",
            report.past_retention
        );
    }
    if report.expiring_soon > 0 {
        say!("{} of them are kept for less than a day from now", report.expiring_soon);
    }
}

/// What is to be said of the inputs, besides images and failures.
pub(crate) fn print_inputs(inputs: &InputSummary) {
    let InputSummary { left_out, notes, unused_metadata, first_unused_metadata } = inputs;
    for note in notes {
        say!("note: {note}");
    }
    if left_out.total() > 0 {
        say!("{} left out:", left_out.total());
        for (name, kind) in left_out.kinds() {
            say!("  {name}: {kind}");
        }
    }
    if *unused_metadata > 0 {
        let shown = first_unused_metadata.iter().map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ");
        let more = if *unused_metadata > first_unused_metadata.len() as u64 { ", ..." } else { "" };
        say!("{unused_metadata} metadata records belong to no image: {shown}{more}");
    }
}

/// The same for programs.
pub(crate) fn inputs_json(inputs: &InputSummary) -> Map<String, Value> {
    let fields = [
        ("left_out", json!(inputs.left_out)),
        ("notes", json!(inputs.notes)),
        ("metadata_without_image", json!(inputs.unused_metadata)),
        ("first_metadata_without_image", json!(inputs.first_unused_metadata)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The first failures, one a line, and how many more there are.
pub(crate) fn print_failures(first: &[Failure], count: u64) {
    for Failure { image_id, origin, reason } in first {
        say!("  {}: {reason}", if image_id.is_empty() { origin } else { image_id });
    }
    let shown = first.len() as u64;
    if count > shown {
        say!("  and {} more (--failures FILE writes all of them to a file)", count - shown);
    }
}

/// One line of progress.
fn progress_json(report: &JobReport) -> Map<String, Value> {
    let fields = [
        ("done", json!(report.done())),
        ("indexed", json!(report.indexed)),
        ("unchanged", json!(report.unchanged)),
        ("failed", json!(report.failed)),
        ("erased", json!(report.erased)),
        ("skipped_by_journal", json!(report.skipped_by_journal)),
        ("total", json!(report.total)),
        ("per_second", json!((report.per_second * 10.0).round() / 10.0)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The last line: `failed` holds the first failures, `failures` their number.
fn final_json(report: &JobReport) -> Value {
    let mut object = progress_json(report);
    let fields = [
        ("finished", json!(true)),
        ("failed", json!(report.first_failures)),
        ("failures", json!(report.failed)),
        ("not_sent", json!(report.not_sent)),
        ("let_back", json!(report.let_back)),
        ("interrupted", json!(report.is_interrupted)),
        ("replaced_from_elsewhere", json!(report.replaced_from_elsewhere)),
        ("replaced", json!(report.first_replaced)),
        ("past_retention", json!(report.past_retention)),
        ("expiring_soon", json!(report.expiring_soon)),
    ];
    object.extend(inputs_json(&report.inputs));
    object.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_find_the_same_fields_at_the_end() {
        let failure = Failure { image_id: "a".to_owned(), origin: "/x/a".to_owned(), reason: "torn".to_owned() };
        let report = JobReport {
            indexed: 2,
            failed: 1,
            first_failures: vec![failure],
            per_second: 1.26,
            ..JobReport::default()
        };
        let progress = progress_json(&report);
        assert_eq!((&progress["failed"], &progress["per_second"]), (&json!(1), &json!(1.3)));
        let last = final_json(&report);
        assert_eq!(last["failed"][0]["reason"], "torn");
        assert_eq!((&last["failures"], &last["finished"], &last["total"]), (&json!(1), &json!(true), &Value::Null));
        assert_eq!((&last["indexed"], &last["not_sent"], &last["done"]), (&json!(2), &json!(0), &json!(3)));
    }
}
