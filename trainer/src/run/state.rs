//! What a continuation needs.

use super::metrics_record::EvaluationRecord;
use super::tensor_file::{self, Element, Tensors};
use crate::TrainError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Where the numbers stand in the file's metadata.
const METADATA_KEY: &str = "descry_training_state";

/// A run between two steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrainingState {
    /// Where it stands and what it has seen.
    pub(crate) progress: Progress,
    /// Trained parameters and the optimizer's means, exactly.
    pub(crate) tensors: Tensors,
}

/// The numbers of a [`TrainingState`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The current epoch, from 0.
    pub(crate) epoch: usize,
    /// Steps of that epoch that are done.
    pub(crate) step: usize,
    /// Steps of the whole run that are done: Adam's `t`.
    pub(crate) steps_total: u64,
    /// Sum of the losses of that epoch's steps so far, for its mean.
    pub(crate) loss_sum: f64,
    /// How many losses that is: fewer than steps where batches were skipped.
    pub(crate) losses: usize,
    /// Whether the epoch before is still to be evaluated.
    pub(crate) evaluation_due: bool,
    /// The evaluation of the weights in `best.safetensors`.
    pub(crate) best: Option<EvaluationRecord>,
    /// Images skipped so far.
    pub(crate) unreadable_images: usize,
    /// Time spent in all sessions.
    pub(crate) elapsed_seconds: f64,
    /// Length of `metrics.jsonl` at this moment, filled in as the state is saved: what was written later tells of steps
    /// that a continuation does again.
    pub(crate) metrics_bytes: u64,
}

impl TrainingState {
    pub(super) fn write(&self, path: &Path, metrics_bytes: u64) -> Result<(), TrainError> {
        let progress = Progress { metrics_bytes, ..self.progress.clone() };
        let text = serde_json::to_string(&progress)
            .map_err(|error| TrainError::Unwritable { path: path.to_owned(), source: error.into() })?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), text)]);
        tensor_file::write(path, &self.tensors, Element::Float32, metadata)
    }

    /// `None` where a run was interrupted before its first save.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, TrainError> {
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |reason: String| TrainError::RunFolder {
            path: path.to_owned(),
            reason: format!(
                "the state is damaged ({reason}); bring it back from a copy, or start a new run in another folder. The \
                 weights in best.safetensors and last.safetensors beside it can still be exported"
            ),
        };
        let (metadata, tensors) = tensor_file::read(path).map_err(damaged)?;
        let text = metadata.get(METADATA_KEY).ok_or_else(|| damaged(format!("its header lacks {METADATA_KEY}")))?;
        let progress = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(Self { progress, tensors }))
    }
}
