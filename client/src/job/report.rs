//! What became of the images of a job, while it runs and at its end.

use descry_intake::{Failure, InputSummary};
use serde::Serialize;

/// Failures kept for the end of the job; all of them stand in the file of [`crate::JobOptions::failures`].
pub(super) const KEPT_FAILURES: usize = 20;

/// Images that are removed sooner than in a day are worth a word.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An image that took the place of one from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replacement {
    /// Their common id.
    pub image_id: String,
    /// Where the earlier one came from: a path, an archive or a file of embeddings.
    pub earlier: String,
    /// Where the new one came from.
    pub new: String,
}

/// Numbers of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobReport {
    /// Images that were written.
    pub indexed: u64,
    /// Images that were there already.
    pub unchanged: u64,
    /// Images that are not in the gallery.
    pub failed: u64,
    /// Some of the failures, the first 20.
    pub first_failures: Vec<Failure>,
    /// Images that the service did not take because they were erased on request. They are no failures: it is as somebody
    /// wanted it. No journal notes them, because it would name them; so they are sent and refused again in the next run.
    pub erased: u64,
    /// Images that had been erased and are there again, because the job said so.
    pub let_back: u64,
    /// Images neither read nor sent, because the journal says that they are there.
    pub skipped_by_journal: u64,
    /// Images that replaced ones of the same id from another source: two sources may use the same names.
    pub replaced_from_elsewhere: u64,
    /// Some of them, the first 20.
    pub first_replaced: Vec<Replacement>,
    /// Images that are older already than the gallery keeps images; the service's next sweep removes them.
    pub past_retention: u64,
    /// Further images that the gallery keeps for less than a day from now.
    pub expiring_soon: u64,
    /// What is to be said of the inputs; only at the end of a job that read them to their end.
    pub inputs: InputSummary,
    /// Only when a generation is filled: images that were removed from the gallery meanwhile.
    pub removed_meanwhile: u64,
    /// Images found but not acknowledged, because the job was stopped.
    pub not_sent: u64,
    /// How many images there are; none where the input does not say.
    pub total: Option<u64>,
    /// Whether the input was not read to its end.
    pub is_interrupted: bool,
    /// Whether the number of failures stopped the job.
    pub has_too_many_failures: bool,
    /// Acknowledgements a second: of the last second while the job runs, at its end of the whole job.
    pub per_second: f64,
}

impl JobReport {
    /// Images whose outcome is known.
    pub fn done(&self) -> u64 {
        self.indexed + self.unchanged + self.failed + self.erased + self.skipped_by_journal + self.removed_meanwhile
    }

    pub(super) fn note_replacement(&mut self, image_id: &str, earlier: &str, new: &str) {
        self.replaced_from_elsewhere += 1;
        if self.first_replaced.len() < KEPT_FAILURES {
            let [image_id, earlier, new] = [image_id, earlier, new].map(str::to_owned);
            self.first_replaced.push(Replacement { image_id, earlier, new });
        }
    }

    pub(super) fn note_expiry(&mut self, kept_until_ms: i64, now_ms: i64) {
        if kept_until_ms <= now_ms {
            self.past_retention += 1;
        } else if kept_until_ms <= now_ms.saturating_add(DAY_MS) {
            self.expiring_soon += 1;
        }
    }

    /// Whether everything is in the gallery, but for what was erased from it.
    pub fn is_whole(&self) -> bool {
        self.failed == 0 && self.not_sent == 0 && !self.is_interrupted
    }
}

/// Hears of a job's progress. Each call should return soon: the job waits for it.
pub trait JobObserver: Send {
    /// The inputs are looked through. That may take a while, and nothing is sent yet.
    fn opening(&mut self) {}
    /// All is open. `total` is the number of images, where it is known.
    fn started(&mut self, _total: Option<u64>) {}
    /// The outcome of more images is known.
    fn progressed(&mut self, _report: &JobReport) {}
    /// About a second has passed.
    fn second_passed(&mut self, _report: &JobReport) {}
    /// The job has ended; not called when it fails.
    fn ended(&mut self, _report: &JobReport) {}
}

/// Does not look.
impl JobObserver for () {}
