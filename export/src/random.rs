//! Full-size checkpoints with random weights, for benchmarks and for trying a machine before a real model is at hand.

use crate::ExportError;
use crate::family::PUBLISHED_SIZE_PX;
use crate::geometry::Grid;
use descry_model::Family;
use ndarray::{ArrayD, IxDyn};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The sizes of a published CLIP model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// CLIP ViT-B/16.
    VitB16,
    /// CLIP ViT-B/32.
    VitB32,
    /// CLIP ViT-L/14.
    VitL14,
}

impl FromStr for Preset {
    type Err = ExportError;

    fn from_str(name: &str) -> Result<Self, ExportError> {
        match name {
            "vit-b-16" => Ok(Self::VitB16),
            "vit-b-32" => Ok(Self::VitB32),
            "vit-l-14" => Ok(Self::VitL14),
            _ => Err(ExportError::Setting {
                name: "random".to_owned(),
                reason: format!("{name:?} is not one of vit-b-16, vit-b-32, vit-l-14"),
            }),
        }
    }
}

/// Sizes of both towers and of what a family adds. The families' numbers are the papers'.
struct Sizes {
    vision_width: usize,
    vision_layers: usize,
    patch: usize,
    text_width: usize,
    text_layers: usize,
    dimension: usize,
}

const VOCABULARY_SIZE: usize = 49_408;
const CONTEXT_LENGTH: usize = 77;
const EXPERTS: usize = 6;
const REDUCTION: usize = 8;
const LORA_RANK: usize = 32;
const PREFIX_LENGTH: usize = 10;

impl Preset {
    fn sizes(self) -> Sizes {
        match self {
            Self::VitB16 | Self::VitB32 => Sizes {
                vision_width: 768,
                vision_layers: 12,
                patch: if self == Self::VitB16 { 16 } else { 32 },
                text_width: 512,
                text_layers: 12,
                dimension: 512,
            },
            Self::VitL14 => Sizes {
                vision_width: 1024,
                vision_layers: 24,
                patch: 14,
                text_width: 768,
                text_layers: 12,
                dimension: 768,
            },
        }
    }
}

/// Random weights of a published size under the published key names, float32, for images of 384 × 128 pixels and patches
/// that do not overlap. Same seed, same weights.
///
/// # Errors
/// [`ExportError::Setting`] for a size that cannot be cut into patches; no [`Preset`] has one.
pub fn random_tensors(preset: Preset, family: Family, seed: u64) -> Result<BTreeMap<String, ArrayD<f32>>, ExportError> {
    let (height_px, width_px) = PUBLISHED_SIZE_PX;
    random_tensors_for_grid(preset, family, seed, |patch| Ok(Grid::new(height_px, width_px, patch, patch)?.positions()))
}

/// A state dict under the published key names, with `positions` vision positions for a given patch side.
pub(crate) fn random_tensors_for_grid(
    preset: Preset,
    family: Family,
    seed: u64,
    positions: impl Fn(usize) -> Result<usize, ExportError>,
) -> Result<BTreeMap<String, ArrayD<f32>>, ExportError> {
    let sizes = preset.sizes();
    let positions = positions(sizes.patch)?;
    let mut dict = RandomDict { random: ChaCha8Rng::seed_from_u64(seed), tensors: BTreeMap::new() };
    let Sizes { vision_width, vision_layers, patch, text_width, text_layers, dimension } = sizes;
    dict.add("visual.conv1.weight", &[vision_width, 3, patch, patch], 1.0 / (patch as f32 * 3.0_f32.sqrt()));
    dict.add("visual.class_embedding", &[vision_width], 0.5);
    dict.add("visual.positional_embedding", &[positions, vision_width], 0.5);
    dict.layer_norm("visual.ln_pre", vision_width);
    dict.layer_norm("visual.ln_post", vision_width);
    dict.add("visual.proj", &[vision_width, dimension], (vision_width as f32).powf(-0.5));
    dict.add("token_embedding.weight", &[VOCABULARY_SIZE, text_width], 0.5);
    dict.add("positional_embedding", &[CONTEXT_LENGTH, text_width], 0.5);
    dict.layer_norm("ln_final", text_width);
    dict.add("text_projection", &[text_width, dimension], (text_width as f32).powf(-0.5));
    for layer in 0..vision_layers {
        let learners = ["LORA_learner.lora_image", "vit_prefix_learner.vit_prefix"];
        dict.block(&format!("visual.transformer.resblocks.{layer}"), vision_width, family);
        dict.learners(family, learners, layer, vision_width);
    }
    for layer in 0..text_layers {
        let learners = ["LORA_learner.lora_text", "text_prefix_learner.text_prefix"];
        dict.block(&format!("transformer.resblocks.{layer}"), text_width, family);
        dict.learners(family, learners, layer, text_width);
    }
    Ok(dict.tensors)
}

struct RandomDict {
    random: ChaCha8Rng,
    tensors: BTreeMap<String, ArrayD<f32>>,
}

impl RandomDict {
    fn add(&mut self, key: &str, shape: &[usize], deviation: f32) {
        self.add_around(key, shape, 0.0, deviation);
    }

    fn add_around(&mut self, key: &str, shape: &[usize], mean: f32, deviation: f32) {
        let random = &mut self.random;
        // A finite positive deviation is always accepted; without one every value is the mean.
        let distribution = Normal::new(mean, deviation).ok();
        let tensor = ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            distribution.map_or(mean, |distribution| distribution.sample(random))
        });
        self.tensors.insert(key.to_owned(), tensor);
    }

    fn linear(&mut self, key: &str, inputs: usize, outputs: usize) {
        self.add(&format!("{key}.weight"), &[outputs, inputs], (inputs as f32).powf(-0.5));
        self.add(&format!("{key}.bias"), &[outputs], 0.02);
    }

    fn layer_norm(&mut self, key: &str, width: usize) {
        self.add_around(&format!("{key}.weight"), &[width], 1.0, 0.1);
        self.add(&format!("{key}.bias"), &[width], 0.02);
    }

    fn block(&mut self, key: &str, width: usize, family: Family) {
        self.layer_norm(&format!("{key}.ln_1"), width);
        self.layer_norm(&format!("{key}.ln_2"), width);
        self.add(&format!("{key}.attn.in_proj_weight"), &[3 * width, width], (width as f32).powf(-0.5));
        self.add(&format!("{key}.attn.in_proj_bias"), &[3 * width], 0.02);
        self.linear(&format!("{key}.attn.out_proj"), width, width);
        self.linear(&format!("{key}.mlp.c_fc"), width, 4 * width);
        self.linear(&format!("{key}.mlp.c_proj"), 4 * width, width);
        match family {
            Family::Clip => {}
            Family::DmAdapter => self.mixture(key, width),
            Family::UpPerson => {
                for name in ["adapter_ln_msa", "adapter_ln_mlp"] {
                    self.adapter(&format!("{key}.{name}"), width);
                }
                self.add_around(&format!("{key}.scale_1"), &[], 0.5, 0.1);
                self.add_around(&format!("{key}.scale_2"), &[], 0.5, 0.1);
            }
        }
    }

    fn mixture(&mut self, key: &str, width: usize) {
        self.layer_norm(&format!("{key}.ln_3"), width);
        self.add(&format!("{key}.task_param"), &[width], 0.5);
        let key = format!("{key}.feed_forward");
        self.add_around(&format!("{key}.alpha"), &[], 0.5, 0.1);
        for gate in ["input_gate", "task_gate"] {
            self.add(&format!("{key}.{gate}.weight"), &[EXPERTS, width], (width as f32).powf(-0.5));
        }
        for expert in 0..EXPERTS {
            self.adapter(&format!("{key}.experts.{expert}"), width);
        }
    }

    fn adapter(&mut self, key: &str, width: usize) {
        self.linear(&format!("{key}.down"), width, width / REDUCTION);
        self.linear(&format!("{key}.up"), width / REDUCTION, width);
    }

    fn learners(&mut self, family: Family, [lora, prefix]: [&str; 2], layer: usize, width: usize) {
        if family != Family::UpPerson {
            return;
        }
        for index in 0..2 {
            let deviation = (width as f32).powf(-0.5);
            self.add(&format!("{lora}.{layer}.lora_A.{index}"), &[LORA_RANK, width], deviation);
            self.add(&format!("{lora}.{layer}.lora_B.{index}"), &[width, LORA_RANK], deviation);
            self.add_around(&format!("{lora}.{layer}.scale.{index}.scale"), &[], 0.5, 0.1);
        }
        for part in ["key", "val"] {
            self.add(&format!("{prefix}.{layer}.{part}.tokens"), &[PREFIX_LENGTH, width], 0.5);
            self.add_around(&format!("{prefix}.{layer}.{part}.scaler.scale"), &[], 0.5, 0.1);
        }
        self.add_around(&format!("{prefix}.{layer}.scale_to_grad"), &[], 0.5, 0.1);
    }
}
