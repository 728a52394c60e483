//! Errors of the whole crate.

use descry_evaluation::EvaluationError;
use descry_export::ExportError;
use descry_model::ModelError;
use std::path::PathBuf;

/// Why a run cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file or folder that cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A setting that makes no sense, alone or with the others.
    #[error("setting {name}: {reason}")]
    Setting {
        /// Its name as in the settings file, such as `optimizer.learning_rate`.
        name: String,
        /// What is wrong and what to give instead.
        reason: String,
    },
    /// A run folder that cannot be used for what was asked.
    #[error("run folder {path}: {reason}")]
    RunFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] EvaluationError),
    /// The base checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] ExportError),
    /// The tokenizer or an image.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A checkpoint without a tensor that the method needs, or with one of another shape.
    #[error("the base checkpoint has no usable `{key}`: {reason}")]
    Tensor {
        /// The published name.
        key: String,
        /// What was expected.
        reason: String,
    },
    /// More unreadable images than the settings allow.
    #[error(
        "{count} images cannot be read, at most {limit} may be skipped; the last was {path}: {reason}; repair them and \
         go on with --resume RUN, or add --set loading.max_unreadable_images=N to allow more"
    )]
    TooManyUnreadableImages {
        /// Images that could not be read so far.
        count: usize,
        /// The setting.
        limit: usize,
        /// The last of them.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A loss or a gradient that is no number any more.
    #[error(
        "{what} is not finite in epoch {epoch}, step {step}; try a lower optimizer.learning_rate or set \
         optimizer.gradient_clip_norm in a new run, which can start from this one's last.safetensors (--base): these are \
         the weights before this step"
    )]
    NotFinite {
        /// `the loss` or `the gradient`.
        what: &'static str,
        /// From 1.
        epoch: usize,
        /// Within the epoch, from 1.
        step: usize,
    },
    /// The device has no room for a step.
    #[error(
        "out of memory in a step of {pairs} pairs ({message}); free some, or start a new run with micro_batch_size \
         {suggestion} or less: the loss stays that of the whole batch"
    )]
    OutOfMemory {
        /// Pairs in memory at once.
        pairs: usize,
        /// Half of it.
        suggestion: usize,
        /// The device's words.
        message: String,
    },
    /// A device that is not there or not built in.
    #[error("device {name}: {reason}")]
    Device {
        /// As in the settings.
        name: String,
        /// What is missing and what to do.
        reason: String,
    },
    /// A thread that could not be started, or that ended without an answer.
    #[error("a thread of the run failed: {reason}")]
    Thread {
        /// What happened.
        reason: String,
    },
    /// The tensor library.
    #[error("computation failed: {0}")]
    Computation(#[from] candle_core::Error),
}
