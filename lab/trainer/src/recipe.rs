//! What a run does: every number that the papers give, and those they leave open.
//!
//! A recipe is written into the run folder at the start. Continuing a run reads it back, so that a changed default cannot
//! change a run in its middle, and takes no other settings than those that `continuation` lists.

use descry_evaluation::DatasetLayout;
use descry_model::Method;
use serde::{Deserialize, Serialize};

mod continuation;
mod layers;
mod presets;
mod validation;

pub use presets::Preset;

/// All settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained: all weights of a plain CLIP, from a checkpoint or from nothing, or what a method adds to it.
    pub method: Method,
    /// Layout of the data set.
    pub dataset: DatasetLayout,
    /// Same seed, same run: initial weights, order, augmentation, masks.
    pub seed: u64,
    /// Times the training split is gone through.
    pub epochs: usize,
    /// Pairs of image and caption in one step.
    pub batch_size: usize,
    /// Pairs that are in memory with all their activations at once; the loss is still the whole batch's. `None`: all.
    pub micro_batch_size: Option<usize>,
    /// Image and text shapes.
    pub input: InputSettings,
    /// Steps of the weights.
    pub optimizer: OptimizerSettings,
    /// Learning rate over the epochs.
    pub schedule: ScheduleSettings,
    /// What is minimised.
    pub loss: LossSettings,
    /// Images and captions as the towers see them.
    pub augmentation: AugmentationSettings,
    /// Order of the pairs.
    pub sampler: SamplerSettings,
    /// DM-Adapter's sizes; without effect for other methods.
    pub dm_adapter: DmAdapterSettings,
    /// UP-Person's sizes; without effect for other methods.
    pub up_person: UpPersonSettings,
    /// Sizes of a CLIP that starts from nothing; without effect where there is a base.
    pub towers: TowerSettings,
    /// Measuring during the run.
    pub evaluation: EvaluationSettings,
    /// Saving for a continuation.
    pub checkpoint: CheckpointSettings,
    /// What computes.
    pub device: DeviceSettings,
    /// Reading of images.
    pub loading: LoadingSettings,
}

/// Image and text shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSettings {
    /// Image height in pixels.
    pub height_px: usize,
    /// Image width in pixels.
    pub width_px: usize,
    /// Step between patches in pixels; `None`: the patch size.
    pub stride_px: Option<usize>,
    /// Token ids of a caption, start and end marks included.
    pub context_length: usize,
}

/// Adam as PyTorch defines it: weight decay is added to the gradient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Tensors with `bias` in their names learn this many times as fast.
    pub bias_learning_rate_factor: f64,
    /// Added to the gradient, times the weight.
    pub weight_decay: f64,
    /// The same for tensors with `bias` in their names.
    pub weight_decay_bias: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean of squares. The papers use 1e-3, far above Adam's usual 1e-8.
    pub epsilon: f64,
    /// Largest norm of all gradients together; a longer one is shortened. `None`: no limit.
    pub gradient_clip_norm: Option<f64>,
}

/// Learning rate over the epochs: linear warm-up, then a half cosine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSettings {
    /// Epochs until the full learning rate is reached; fractions count where `every_step` is set.
    pub warmup_epochs: f64,
    /// Share of the learning rate at the very start.
    pub warmup_factor: f64,
    /// Learning rate at the end.
    pub final_learning_rate: f64,
    /// Whether the rate changes with every step or, as published, with every epoch.
    pub every_step: bool,
}

/// How image and caption are pulled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchingLoss {
    /// Similarity distribution matching: all pairs of one identity match (IRRA, CVPR 2023).
    Sdm,
    /// Image-text contrastive: only an image's own caption matches.
    Itc,
}

impl MatchingLoss {
    /// As in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sdm => "sdm",
            Self::Itc => "itc",
        }
    }
}

/// What is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossSettings {
    /// How image and caption are pulled together.
    pub matching: MatchingLoss,
    /// Cosines are divided by it.
    pub temperature: f64,
    /// Weight of DM-Adapter's load-balancing loss; 0 leaves it out.
    pub balancing_weight: f64,
    /// Whether the padding behind a caption counts for load balancing, as published, or only what can be read.
    pub balance_padding: bool,
}

/// Images and captions as the towers see them while training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationSettings {
    /// Mirrors images with this probability.
    pub flip_probability: f64,
    /// Black border in pixels before cropping back to the image size at a random place; 0: no shift.
    pub pad_px: usize,
    /// Paints a rectangle over the image with this probability.
    pub erase_probability: f64,
    /// Share of the image that the rectangle covers, least and most.
    pub erase_area: (f64, f64),
    /// Height over width of the rectangle, least and most.
    pub erase_aspect: (f64, f64),
    /// Share of a caption's tokens that are masked as in BERT: 80 % by the mask, 10 % by a random token, 10 % kept.
    pub mask_probability: f64,
}

/// Order of the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum SamplerSettings {
    /// All pairs in a random order.
    Random,
    /// Batches of several pairs each of some identities.
    Identity {
        /// Pairs of one identity in a batch.
        instances: usize,
    },
}

/// DM-Adapter's sizes and switches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DmAdapterSettings {
    /// Adapters beside each MLP.
    pub experts: usize,
    /// Adapters a token is sent to.
    pub top_k: usize,
    /// Tower width over an adapter's hidden width.
    pub reduction: usize,
    /// Whether the router also looks at the learned domain prompt.
    pub domain_prompt: bool,
}

/// UP-Person's sizes and switches. Depths count blocks from the first one; 0 switches a part off, `None` is all blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpPersonSettings {
    /// Rank of the changes of keys and values (LoRA).
    pub rank: usize,
    /// Learned keys and values before those of the tokens.
    pub prefix_length: usize,
    /// Tower width over an adapter's hidden width.
    pub reduction: usize,
    /// Blocks with LoRA.
    pub depth_lora: Option<usize>,
    /// Blocks with a prefix.
    pub depth_prefix: Option<usize>,
    /// First block with adapters; `None`: no adapters.
    pub depth_adapter: Option<usize>,
    /// Initial factor of the prefix' attention (S-Prefix).
    pub prefix_scale: f64,
}

/// Sizes of a CLIP that starts from nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowerSettings {
    /// Patch side in pixels.
    pub patch_px: usize,
    /// Width of the vision tower, a multiple of 64.
    pub vision_width: usize,
    /// Blocks of the vision tower.
    pub vision_layers: usize,
    /// Width of the text tower, a multiple of 64.
    pub text_width: usize,
    /// Blocks of the text tower.
    pub text_layers: usize,
    /// Values of an embedding.
    pub embedding_dimension: usize,
}

/// Measuring during the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSettings {
    /// Epochs between two evaluations; the last epoch is always evaluated.
    pub every_epochs: usize,
    /// The split that is evaluated. The published code uses `test`.
    pub split: String,
    /// Images or captions encoded at once.
    pub batch_size: usize,
}

/// Saving for a continuation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Steps after which everything is saved that a continuation needs; the end of an epoch always is.
    pub every_steps: usize,
    /// Whether weights are written as float16, as the published code saves them, or as float32.
    pub half_weights: bool,
}

/// Where it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU; needs a build with the feature `cuda`.
    Cuda,
}

/// Number format of the products on a GPU; losses, sums and weights stay float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainingPrecision {
    /// float32.
    Float32,
    /// bfloat16, GPU only.
    Bfloat16,
}

/// What computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSettings {
    /// Processor or GPU.
    pub kind: DeviceKind,
    /// Which GPU.
    pub index: usize,
    /// Number format of the products.
    pub precision: TrainingPrecision,
    /// Threads that compute, each a part of the batch. Part of the recipe, because sums depend on it. 0: all cores of
    /// the machine the run starts on.
    pub threads: usize,
}

/// Reading of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadingSettings {
    /// Threads that read, decode and augment beside the step.
    pub threads: usize,
    /// Batches prepared ahead.
    pub batches_ahead: usize,
    /// Decoded and resized images kept in memory, in MiB.
    pub cache_mib: usize,
    /// Unreadable images that are skipped before the run stops.
    pub max_unreadable_images: usize,
    /// Pixels of one image, checked in its header before decoding.
    pub max_image_pixels: u64,
}
