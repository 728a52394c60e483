//! What became of the images of a job, while it runs and at its end.

use descry_intake::Failure;

/// Failures kept for the end of the job; all of them stand in the file of [`crate::JobOptions::failures`].
pub(super) const KEPT_FAILURES: usize = 20;

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
    /// Images neither read nor sent, because the journal says that they are there.
    pub skipped_by_journal: u64,
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
        self.indexed + self.unchanged + self.failed + self.skipped_by_journal + self.removed_meanwhile
    }

    /// Whether everything is in the gallery.
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
