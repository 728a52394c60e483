//! A job that fills a gallery: what became of each image, where that is noted, and who hears of it.

pub(crate) mod embedding_batches;
pub(crate) mod image_stream;
mod journal;
pub(crate) mod reader;
mod report;

pub(crate) use journal::{SharedJournal, identity};
pub use report::{JobObserver, JobReport, Replacement};

use crate::metadata::source_of;
use crate::time::unix_ms;
use crate::{ClientError, PATIENCE};
use descry_intake::{Failure, FailureReport, FileVersion, InputSummary};
use descry_proto::search::v1::Indexed;
use prost_types::Timestamp;
use report::KEPT_FAILURES;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, Interval, interval_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// The reason with which the service refuses what was erased.
const ERASED: &str = "ERASED";

/// Acknowledgements between two writes of the journal.
const FLUSHED_TOGETHER: usize = 64;

/// What a job notes, and when it gives up.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// Every image that failed is written to this file, `.csv` or `.jsonl`.
    pub failures: Option<PathBuf>,
    /// The job stops when more images than this have failed; with none, it goes on.
    pub max_failures: Option<u64>,
    /// How long to try again while the service is not available.
    pub retry_for: Duration,
    /// To be cancelled when nothing more is to be sent. What was sent is still acknowledged.
    pub stop: CancellationToken,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self { failures: None, max_failures: None, retry_for: PATIENCE, stop: CancellationToken::new() }
    }
}

/// A running job.
pub(crate) struct Job<'a> {
    /// Cancelled when nothing more is to be sent: by the caller, or after too many failures.
    pub(crate) stop: CancellationToken,
    retry_for: Duration,
    journal: SharedJournal,
    failures: Option<FailureReport>,
    max_failures: Option<u64>,
    /// Whether an image that the gallery no longer holds is no failure.
    passes_over_removed: bool,
    report: JobReport,
    observer: &'a mut dyn JobObserver,
    /// Acknowledgements that the journal has not written yet.
    unflushed: usize,
    began_at: Instant,
    /// When the observer heard of the last second.
    ticked_at: Instant,
    answered_at_tick: u64,
}

impl<'a> Job<'a> {
    /// Begins a job. `total` is the number of images it will deal with, where that is known.
    pub(crate) fn open(
        options: &JobOptions,
        journal: SharedJournal,
        total: Option<u64>,
        observer: &'a mut dyn JobObserver,
    ) -> Result<Self, ClientError> {
        let failures = options.failures.as_deref().map(FailureReport::create).transpose()?;
        let report = JobReport { total, ..JobReport::default() };
        observer.started(total);
        let now = Instant::now();
        Ok(Self {
            stop: options.stop.child_token(),
            retry_for: options.retry_for,
            journal,
            failures,
            max_failures: options.max_failures,
            passes_over_removed: false,
            report,
            observer,
            unflushed: 0,
            began_at: now,
            ticked_at: now,
            answered_at_tick: 0,
        })
    }

    /// For a job that fills a generation: what the gallery no longer holds is not wanted there.
    pub(crate) fn passing_over_removed(self) -> Self {
        Self { passes_over_removed: true, ..self }
    }

    /// How long to try again while the service is not available.
    pub(crate) fn retry_for(&self) -> Duration {
        self.retry_for
    }

    /// When to call [`Job::tick`].
    pub(crate) fn ticker() -> Interval {
        let second = Duration::from_secs(1);
        interval_at(Instant::now() + second, second)
    }

    /// The service has the image on disk. `source` is where it came from, where that is known.
    pub(crate) fn acknowledge(
        &mut self,
        image_id: &str,
        version: &FileVersion,
        source: Option<&str>,
        indexed: &Indexed,
    ) -> Result<(), ClientError> {
        if indexed.unchanged {
            self.report.unchanged += 1;
        } else {
            self.report.indexed += 1;
        }
        self.report.let_back += u64::from(indexed.was_erased);
        let earlier = indexed.replaced.as_ref().and_then(source_of);
        if let (Some(earlier), Some(new)) = (earlier, source)
            && earlier != new
        {
            self.report.note_replacement(image_id, earlier, new);
        }
        if let Some(kept_until) = &indexed.kept_until {
            self.report.note_expiry(unix_ms(kept_until), unix_ms(&Timestamp::from(SystemTime::now())));
        }
        self.observer.progressed(&self.report);
        if self.journal.record(image_id, version)? {
            self.unflushed += 1;
        }
        if self.unflushed >= FLUSHED_TOGETHER { self.flush() } else { Ok(()) }
    }

    /// The image does not get into the gallery.
    pub(crate) fn fail(&mut self, failure: Failure) -> Result<(), ClientError> {
        if let Some(failures) = &mut self.failures {
            failures.write(&failure)?;
        }
        self.report.failed += 1;
        if self.report.first_failures.len() < KEPT_FAILURES {
            self.report.first_failures.push(failure);
        }
        self.observer.progressed(&self.report);
        if self.max_failures.is_some_and(|max| self.report.failed > max) && !self.report.has_too_many_failures {
            self.report.has_too_many_failures = true;
            self.stop.cancel();
        }
        Ok(())
    }

    /// The service does not take the image. `reason` is the word for programs.
    pub(crate) fn refuse(
        &mut self,
        (image_id, origin): (String, String),
        status: &Status,
        reason: &str,
    ) -> Result<(), ClientError> {
        if reason == ERASED {
            self.report.erased += 1;
            self.observer.progressed(&self.report);
            return Ok(());
        }
        if self.passes_over_removed && status.code() == Code::NotFound {
            self.report.removed_meanwhile += 1;
            self.observer.progressed(&self.report);
            return Ok(());
        }
        self.fail(Failure { image_id, origin, reason: status.message().to_owned() })
    }

    /// The journal knows these images; nothing of them was read or sent.
    pub(crate) fn skip_known(&mut self, count: u64) {
        self.report.skipped_by_journal += count;
        self.observer.progressed(&self.report);
    }

    /// The inputs were read to their end.
    pub(crate) fn note_inputs(&mut self, inputs: InputSummary) {
        self.report.inputs = inputs;
    }

    /// Whether nothing was found that could be sent or could fail.
    pub(crate) fn has_nothing(&self) -> bool {
        self.report.done() == 0
    }

    /// Images that were sent and not answered when the job stopped.
    pub(crate) fn leave_unanswered(&mut self, count: usize) {
        self.report.not_sent += count as u64;
    }

    /// The error of a job that ends before everything is in the gallery.
    pub(crate) fn broken_off(&self, source: ClientError) -> ClientError {
        let JobReport { indexed, unchanged, skipped_by_journal, .. } = self.report;
        match indexed + unchanged + skipped_by_journal {
            // Nothing was begun that could be continued.
            0 => source,
            in_gallery => ClientError::Incomplete { in_gallery, source: Box::new(source) },
        }
    }

    /// Once a second: tells the observer, and brings the journal to disk.
    pub(crate) fn tick(&mut self) -> Result<(), ClientError> {
        let answered = self.report.indexed + self.report.unchanged;
        let seconds = self.ticked_at.elapsed().as_secs_f64().max(1e-3);
        self.report.per_second = answered.saturating_sub(self.answered_at_tick) as f64 / seconds;
        self.observer.second_passed(&self.report);
        (self.ticked_at, self.answered_at_tick) = (Instant::now(), answered);
        self.flush()
    }

    /// What became of everything. `is_complete` is false when the input was not read to its end.
    pub(crate) fn finish(mut self, is_complete: bool) -> Result<JobReport, ClientError> {
        self.flush()?;
        let mut report = self.report;
        report.is_interrupted = !is_complete;
        if let Some(total) = report.total {
            report.not_sent = total.saturating_sub(report.done());
        }
        let seconds = self.began_at.elapsed().as_secs_f64();
        report.per_second = (report.indexed + report.unchanged) as f64 / seconds.max(1e-3);
        self.observer.ended(&report);
        Ok(report)
    }

    fn flush(&mut self) -> Result<(), ClientError> {
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
    use descry_proto::search::v1::ImageMetadata;

    fn failure(image_id: &str) -> Failure {
        Failure { image_id: image_id.to_owned(), origin: String::new(), reason: "torn".to_owned() }
    }

    #[test]
    fn too_many_failures_stop_the_job() {
        let options = JobOptions { max_failures: Some(1), ..JobOptions::default() };
        let mut nobody = ();
        let job = Job::open(&options, SharedJournal::default(), Some(7), &mut nobody).unwrap();
        let mut job = job.passing_over_removed();
        job.fail(failure("a")).unwrap();
        assert!(!job.stop.is_cancelled());
        job.fail(failure("b")).unwrap();
        assert!(job.stop.is_cancelled() && !options.stop.is_cancelled());
        let version = FileVersion { bytes: 1, modified_ms: 0 };
        let unchanged = Indexed { unchanged: true, ..Indexed::default() };
        job.acknowledge("c", &version, None, &unchanged).unwrap();
        let of = |image_id: &str| (image_id.to_owned(), String::new());
        job.refuse(of("d"), &Status::not_found("removed"), "").unwrap();
        job.refuse(of("e"), &Status::invalid_argument("torn"), "").unwrap();
        job.refuse(of("f"), &Status::failed_precondition("erased"), ERASED).unwrap();
        let report = job.finish(false).unwrap();
        assert_eq!((report.failed, report.unchanged, report.removed_meanwhile, report.not_sent), (3, 1, 1, 1));
        assert_eq!((report.erased, report.done()), (1, 6));
        assert!(report.has_too_many_failures && report.is_interrupted && !report.is_whole());
    }

    /// What the service says beside the acknowledgement is counted, so that it can be told at the end.
    #[test]
    fn replaced_and_expiring_images_are_counted() {
        let mut nobody = ();
        let mut job = Job::open(&JobOptions::default(), SharedJournal::default(), None, &mut nobody).unwrap();
        let version = FileVersion { bytes: 1, modified_ms: 0 };
        let of = |name: &str, source: &str| ImageMetadata {
            attributes: [(name.to_owned(), source.to_owned())].into_iter().collect(),
            ..ImageMetadata::default()
        };
        let in_seconds = |seconds: i64| {
            let now_ms = unix_ms(&Timestamp::from(SystemTime::now()));
            Some(crate::time::timestamp(now_ms + 1000 * seconds))
        };
        for (replaced, kept_until) in [
            (None, None),
            (Some(of("path", "/new/a.jpg")), in_seconds(-5)),
            (Some(of("path", "/old/a.jpg")), in_seconds(3600)),
            (Some(of("archive", "/old.tar")), in_seconds(90_000)),
            (Some(of("weather", "rain")), in_seconds(-1_000_000)),
        ] {
            let indexed = Indexed { replaced, kept_until, ..Indexed::default() };
            job.acknowledge("a.jpg", &version, Some("/new/a.jpg"), &indexed).unwrap();
        }
        let report = job.finish(true).unwrap();
        let earlier: Vec<&str> = report.first_replaced.iter().map(|replaced| replaced.earlier.as_str()).collect();
        assert_eq!((report.replaced_from_elsewhere, earlier), (2, vec!["/old/a.jpg", "/old.tar"]));
        assert_eq!((report.past_retention, report.expiring_soon), (2, 1));
    }
}
