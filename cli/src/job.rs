//! A job that fills a gallery: what became of each image, where that is noted, and how progress is shown.

mod display;
pub(crate) mod embedding_batches;
pub(crate) mod image_stream;
mod journal;
pub(crate) mod reader;
mod report;
pub(crate) mod retry;

pub(crate) use journal::{SharedJournal, identity};
pub(crate) use report::Report;

use anyhow::Context as _;
use descry_intake::{Failure, FailureReport, FileVersion};
use display::Display;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::{Interval, interval_at};
use tokio_util::sync::CancellationToken;

/// Failures kept for the end of the job; all of them stand in the file of `--failures`.
const SHOWN_FAILURES: usize = 20;
/// Acknowledgements between two writes of the journal.
const FLUSHED_TOGETHER: usize = 64;
const RETRY_FOR_S: u64 = retry::PATIENCE.as_secs();

/// How a job reports, and when it gives up.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobArguments {
    /// Write every image that failed to this file (.csv, or .jsonl with one JSON object a line): id, path and reason.
    #[arg(long, value_name = "FILE")]
    pub(crate) failures: Option<PathBuf>,
    /// Stop when more images than this have failed [default: go on].
    #[arg(long, value_name = "N")]
    pub(crate) max_failures: Option<u64>,
    /// How long to try again while the service is not available.
    #[arg(long = "retry-for", default_value_t = RETRY_FOR_S, value_name = "SECONDS")]
    pub(crate) retry_for_s: u64,
    /// Print progress as one JSON object a line, every second and at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Default for JobArguments {
    fn default() -> Self {
        Self { failures: None, max_failures: None, retry_for_s: RETRY_FOR_S, json: false }
    }
}

impl JobArguments {
    /// How long to try again.
    pub(crate) fn retry_for(&self) -> Duration {
        Duration::from_secs(self.retry_for_s)
    }
}

/// A running job.
pub(crate) struct Job {
    /// Cancelled when nothing more is to be sent: at Ctrl-C, or after too many failures.
    pub(crate) stop: CancellationToken,
    retry_for: Duration,
    journal: SharedJournal,
    failures: Option<FailureReport>,
    max_failures: Option<u64>,
    report: Report,
    display: Display,
    /// Acknowledgements that the journal has not written yet.
    unflushed: usize,
    began_at: Instant,
}

impl Job {
    /// Begins a job. `total` is the number of images it will deal with, where that is known.
    pub(crate) fn open(
        arguments: &JobArguments,
        journal: SharedJournal,
        total: Option<u64>,
        interrupt: &CancellationToken,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            stop: interrupt.child_token(),
            retry_for: arguments.retry_for(),
            journal,
            failures: arguments.failures.as_deref().map(FailureReport::create).transpose()?,
            max_failures: arguments.max_failures,
            report: Report { total, ..Report::default() },
            display: Display::new(arguments.json, total),
            unflushed: 0,
            began_at: Instant::now(),
        })
    }

    /// How long to try again while the service is not available.
    pub(crate) fn retry_for(&self) -> Duration {
        self.retry_for
    }

    /// When to call [`Job::tick`].
    pub(crate) fn ticker() -> Interval {
        let second = Duration::from_secs(1);
        interval_at(tokio::time::Instant::now() + second, second)
    }

    /// The service has the image on disk.
    pub(crate) fn acknowledge(&mut self, image_id: &str, version: &FileVersion, unchanged: bool) -> anyhow::Result<()> {
        if unchanged {
            self.report.unchanged += 1;
        } else {
            self.report.indexed += 1;
        }
        self.display.advance(1);
        if self.journal.record(image_id, version)? {
            self.unflushed += 1;
        }
        if self.unflushed >= FLUSHED_TOGETHER { self.flush() } else { Ok(()) }
    }

    /// The image does not get into the gallery.
    pub(crate) fn fail(&mut self, failure: Failure) -> anyhow::Result<()> {
        if let Some(failures) = &mut self.failures {
            failures.write(&failure)?;
        }
        self.report.failed += 1;
        if self.report.first_failures.len() < SHOWN_FAILURES {
            self.report.first_failures.push(failure);
        }
        self.display.advance(1);
        self.display.show_failures(self.report.failed);
        if self.max_failures.is_some_and(|max| self.report.failed > max) && !self.report.has_too_many_failures {
            self.report.has_too_many_failures = true;
            self.stop.cancel();
        }
        Ok(())
    }

    /// The journal knows these images; nothing of them was read or sent.
    pub(crate) fn skip_known(&mut self, count: u64) {
        self.report.skipped_by_journal += count;
        self.display.advance(count);
    }

    /// Images that were sent and not answered when the job stopped.
    pub(crate) fn leave_unanswered(&mut self, count: usize) {
        self.report.not_sent += count as u64;
    }

    /// Once a second: brings the journal to disk and prints a line where that is asked for.
    pub(crate) fn tick(&mut self) -> anyhow::Result<()> {
        self.display.tick(&self.report);
        self.flush()
    }

    /// What became of everything. `is_complete` is false when the input was not read to its end.
    pub(crate) fn finish(mut self, is_complete: bool) -> anyhow::Result<Report> {
        self.flush().context("at the end of the job")?;
        self.display.finish();
        let mut report = self.report;
        report.is_interrupted = !is_complete;
        if let Some(total) = report.total {
            report.not_sent = total.saturating_sub(report.done());
        }
        let seconds = self.began_at.elapsed().as_secs_f64();
        report.per_second = (report.indexed + report.unchanged) as f64 / seconds.max(1e-3);
        Ok(report)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.unflushed > 0 {
            self.journal.flush()?;
            self.unflushed = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(image_id: &str) -> Failure {
        Failure { image_id: image_id.to_owned(), origin: String::new(), reason: "torn".to_owned() }
    }

    #[test]
    fn too_many_failures_stop_the_job() {
        let arguments = JobArguments { max_failures: Some(1), ..JobArguments::default() };
        let interrupt = CancellationToken::new();
        let mut job = Job::open(&arguments, SharedJournal::default(), Some(5), &interrupt).unwrap();
        job.fail(failure("a")).unwrap();
        assert!(!job.stop.is_cancelled());
        job.fail(failure("b")).unwrap();
        assert!(job.stop.is_cancelled() && !interrupt.is_cancelled());
        let version = FileVersion { bytes: 1, modified_ms: 0 };
        job.acknowledge("c", &version, true).unwrap();
        let report = job.finish(false).unwrap();
        assert_eq!((report.failed, report.unchanged, report.not_sent), (2, 1, 2));
        assert!(report.has_too_many_failures && report.is_interrupted);
    }
}
