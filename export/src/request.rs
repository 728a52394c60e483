//! What an export is asked for, and what it tells while it works.

use crate::activation::Activation;
use crate::random::Preset;
use crate::tower_form::TowerForm;
use descry_model::Method;
use std::path::PathBuf;

/// What to export.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// Weights of a training run.
    Checkpoint {
        /// PyTorch checkpoint, `.safetensors` file or Hugging Face folder.
        path: PathBuf,
        /// The run's settings; `None` to look beside the checkpoint.
        config: Option<PathBuf>,
        /// Plain CLIP that fills in what the checkpoint lacks.
        base: Option<PathBuf>,
    },
    /// Random weights at full size.
    Random {
        /// The sizes.
        preset: Preset,
        /// The method.
        method: Method,
        /// Same seed, same weights.
        seed: u64,
    },
}

/// Settings that no checkpoint holds. They win over the run's settings, which win over the published defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFlags {
    /// Image height and width in pixels.
    pub image_size_px: Option<(usize, usize)>,
    /// Step between patches in pixels.
    pub stride: Option<usize>,
    /// How many experts a token is sent to.
    pub top_k: Option<usize>,
    /// The activation of both towers' MLPs.
    pub activation: Option<Activation>,
    /// Attention heads of the vision and of the text tower.
    pub heads: Option<(usize, usize)>,
}

/// An export, as asked for.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// What to export.
    pub source: ModelSource,
    /// `tokenizer.json` or a merge table; `None` to look beside the checkpoint, then to CLIP's own.
    pub tokenizer: Option<PathBuf>,
    /// Makes a bundle that takes token ids only, which no search by text can use.
    pub without_tokenizer: bool,
    /// Settings that no checkpoint holds.
    pub flags: ModelFlags,
    /// The graphs' number format and operators.
    pub form: TowerForm,
    /// The bundle's folder.
    pub out: PathBuf,
}

/// What an export is doing, for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportStep {
    /// Reading the checkpoint.
    Read,
    /// Merging and writing the graphs.
    Merge,
    /// Evaluating the unmerged checkpoint on the golden inputs.
    Goldens,
    /// Writing the files.
    Write,
}
