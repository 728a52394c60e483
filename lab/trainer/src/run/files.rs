//! The files of a run folder, and what to say of one that the system does not let us use.

use crate::TrainError;
use std::path::Path;

pub(super) const DESCRIPTION: &str = "run.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const SETTINGS: &str = "configs.yaml";
pub(super) const HISTORY: &str = "metrics.jsonl";
pub(super) const CURVES: &str = "curves.svg";
pub(super) const STATE: &str = "state.safetensors";
pub(super) const LOCK: &str = "run.lock";

/// Which weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightsFile {
    /// Of the last evaluation or save.
    Last,
    /// Of the highest Rank-1.
    Best,
}

impl WeightsFile {
    /// Its name in the folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Last => "last.safetensors",
            Self::Best => "best.safetensors",
        }
    }
}

pub(super) fn unreadable(path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Unreadable { path: path.to_owned(), source }
}

pub(super) fn unwritable(path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Unwritable { path: path.to_owned(), source }
}
