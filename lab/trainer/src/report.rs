//! What a run is asked for and what it tells while it goes on.

use crate::{Method, Recipe};
use descry_evaluation::RetrievalMetrics;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A run to start. A started one goes on with its folder alone.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// What to do.
    pub recipe: Recipe,
    /// Plain CLIP that is fine-tuned, or trained on; `None` to start from nothing (plain CLIP only).
    pub base: Option<PathBuf>,
    /// `tokenizer.json` or merge table; `None` to look beside the base, then to CLIP's own.
    pub tokenizer: Option<PathBuf>,
    /// The data set's folder, or the folder that holds it.
    pub root: PathBuf,
    /// The run folder: new or empty.
    pub out: PathBuf,
}

/// Hears of a run's progress, on the thread that called. Each call should return soon: the run waits for it.
pub trait TrainingObserver {
    /// All is read and checked, the first step follows.
    fn started(&mut self, report: &StartReport);
    /// A step is done.
    fn step(&mut self, report: &StepReport);
    /// All steps of an epoch are done. Its evaluation, where it has one, follows.
    fn epoch_ended(&mut self, report: &EpochReport);
    /// The model was measured.
    fn evaluated(&mut self, report: &EvaluationReport);
}

/// Does not look.
impl TrainingObserver for () {
    fn started(&mut self, _report: &StartReport) {}
    fn step(&mut self, _report: &StepReport) {}
    fn epoch_ended(&mut self, _report: &EpochReport) {}
    fn evaluated(&mut self, _report: &EvaluationReport) {}
}

/// A run as it starts or goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct StartReport {
    /// What is trained.
    pub method: Method,
    /// Numbers that change.
    pub trained_parameters: usize,
    /// Numbers of the whole model.
    pub total_parameters: usize,
    /// Pairs of image and caption in the training split.
    pub pairs: usize,
    /// People in the training split.
    pub identities: usize,
    /// Images in the training split.
    pub images: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// The device in words, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Threads that compute.
    pub threads: usize,
    /// Where it goes on; `None` for a new run.
    pub resumed_at: Option<Position>,
    /// Whether all steps of all epochs are done, so that at most an evaluation is left.
    pub is_trained: bool,
}

impl StartReport {
    /// Share of the model that is trained, 0 to 1: what the papers give as trainable parameters.
    pub fn trained_share(&self) -> f64 {
        self.trained_parameters as f64 / self.total_parameters.max(1) as f64
    }
}

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub epoch: usize,
    /// Steps of that epoch that are done.
    pub step: usize,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// From 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Within the epoch, from 1.
    pub step: usize,
    /// Steps of an epoch.
    pub steps_in_epoch: usize,
    /// What is minimised.
    pub loss: f64,
    /// What it is the sum of, by name: the matching loss, `sdm` or `itc`, and `balancing` with its weight.
    pub parts: BTreeMap<String, f64>,
    /// Of tensors whose factor is 1.
    pub learning_rate: f64,
    /// Of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Of this step, reading included.
    pub pairs_per_second: f64,
    /// Until the end of the run at the present speed, evaluations not counted.
    pub seconds_left: f64,
}

/// An epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// From 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Mean of its steps, those before an interruption included.
    pub mean_loss: f64,
    /// The epoch's time without its evaluation.
    pub seconds: f64,
    /// Pairs in that time.
    pub pairs_per_second: f64,
    /// Images skipped so far, because they cannot be read.
    pub unreadable_images: usize,
}

/// How good the model is after an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationReport {
    /// From 1.
    pub epoch: usize,
    /// What it was measured on.
    pub split: String,
    /// Text-to-image retrieval.
    pub metrics: RetrievalMetrics,
    /// Whether its Rank-1 is above that of all epochs before it.
    pub is_best: bool,
    /// Time that it took.
    pub seconds: f64,
}

/// A run that ended or was interrupted.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSummary {
    /// The evaluation of the weights in `best.safetensors`; `None` before the first one of the run, and where the run
    /// was interrupted in one.
    pub best: Option<EvaluationReport>,
    /// The last evaluation; `None` before the first one of this session.
    pub last: Option<EvaluationReport>,
    /// The run folder.
    pub run: PathBuf,
    /// The weights to export: the best, or the last where `best` is `None`.
    pub weights: PathBuf,
    /// Where the run stands.
    pub position: Position,
    /// Whether it was interrupted. Everything is saved: it can go on.
    pub was_cancelled: bool,
}
