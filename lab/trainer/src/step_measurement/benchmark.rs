//! What is measured, and what comes out.

use crate::{DeviceKind, TrainingPrecision};
use descry_model::Method;
use serde::Serialize;
use std::path::PathBuf;

/// What is measured.
#[derive(Debug, Clone)]
pub struct StepBenchmark {
    /// The weights at the first step.
    pub model: MeasuredModel,
    /// Pairs of image and caption in a step; two of them are of one identity.
    pub pairs: usize,
    /// Token ids of each caption, start and end marks included.
    pub tokens: usize,
    /// Steps that are timed; one more comes before them.
    pub steps: usize,
    /// Threads that compute, each a part of the pairs; 0 for all cores.
    pub threads: usize,
    /// Processor or GPU, and which one.
    pub device: DeviceKind,
    /// Which GPU.
    pub device_index: usize,
    /// Number format of the products on a GPU.
    pub precision: TrainingPrecision,
    /// Pairs in memory at once; `None`: all.
    pub micro_batch_size: Option<usize>,
    /// Whether DM-Adapter's load-balancing loss is computed as well, with its published weight.
    pub balancing_loss: bool,
    /// Same seed, same weights, images and captions.
    pub seed: u64,
}

/// Where weights come from.
#[derive(Debug, Clone)]
pub enum MeasuredModel {
    /// A checkpoint of any method, or plain CLIP. Its tensors tell the method and its sizes.
    Checkpoint {
        /// PyTorch checkpoint, `.safetensors` file or Hugging Face folder.
        path: PathBuf,
        /// The run's settings; `None` to look beside the checkpoint.
        config: Option<PathBuf>,
    },
    /// Random weights of a published size, for images of 384 × 128 pixels.
    Random {
        /// The size.
        preset: descry_export::Preset,
        /// What is trained.
        method: Method,
    },
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTimes {
    /// Each step's time after the first one, in milliseconds: features, loss, gradients and Adam. Fewer than asked for
    /// where it was cancelled.
    pub step_ms: Vec<f64>,
    /// Numbers that change.
    pub trained_parameters: usize,
    /// Numbers of the whole model.
    pub total_parameters: usize,
    /// Loss of the last step; `None` where there was none.
    pub last_loss: Option<f64>,
    /// The most memory that the process ever had resident, in bytes; `None` where the system does not say.
    pub peak_resident_bytes: Option<u64>,
}
