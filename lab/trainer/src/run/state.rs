//! What a continuation needs.

use super::history::EvaluationRecord;
use super::tensor_file::{self, Element, Tensors};
use crate::TrainError;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
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
    /// Images skipped so far, by their places in the training split.
    #[serde(deserialize_with = "places")]
    pub(crate) unreadable_images: Vec<usize>,
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
        if !path.try_exists().map_err(|source| TrainError::Unreadable { path: path.to_owned(), source })? {
            return Ok(None);
        }
        let fault = |reason: String| damaged(path, &reason);
        let (metadata, tensors) = tensor_file::read(path).map_err(fault)?;
        let text = metadata.get(METADATA_KEY).ok_or_else(|| fault(format!("its header lacks {METADATA_KEY}")))?;
        let progress = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        Ok(Some(Self { progress, tensors }))
    }
}

/// What is told of a state that nothing can go on with.
pub(super) fn damaged(path: &Path, reason: &str) -> TrainError {
    TrainError::RunFolder {
        path: path.to_owned(),
        reason: format!(
            "the state is damaged ({reason}); bring it back from a copy, or start a new run in another folder. The \
             weights in best.safetensors and last.safetensors beside it can still be exported"
        ),
    }
}

/// Reads places of images. Earlier versions wrote how many there were, which tells no image from another.
fn places<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    let stored = serde_json::Value::deserialize(deserializer)?;
    if stored.is_number() {
        return Ok(Vec::new());
    }
    serde_json::from_value(stored).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_cannot_be_looked_for_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(TrainingState::read(&folder.path().join("missing")).unwrap(), None);
        let file = folder.path().join("no folder");
        std::fs::write(&file, "").unwrap();
        let error = TrainingState::read(&file.join("state.safetensors")).unwrap_err();
        assert!(matches!(error, TrainError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn a_mere_number_of_unreadable_images_is_read_as_none() {
        let progress = Progress { unreadable_images: vec![3, 8], ..Progress::default() };
        let mut stored = serde_json::to_value(&progress).unwrap();
        assert_eq!(serde_json::from_value::<Progress>(stored.clone()).unwrap(), progress);
        stored["unreadable_images"] = 2.into();
        assert_eq!(serde_json::from_value::<Progress>(stored.clone()).unwrap(), Progress::default());
        stored["unreadable_images"] = "many".into();
        assert!(serde_json::from_value::<Progress>(stored).is_err());
    }
}
