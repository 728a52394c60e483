//! Full-size checkpoints with random weights, for benchmarks and for trying a machine before a real model is at hand.

use crate::ExportError;
use crate::geometry::Grid;
use descry_model::method::clip::{
    CLASS_EMBEDDING, CONTEXT_LENGTH, IMAGE_NORM_AFTER, IMAGE_NORM_BEFORE, IMAGE_POSITIONS, IMAGE_PROJECTION,
    PATCH_KERNEL, PublishedSizes, TEXT_NORM_AFTER, TEXT_POSITIONS, TEXT_PROJECTION, TOKEN_EMBEDDING, VIT_B_16,
    VIT_B_32, VIT_L_14, VOCABULARY_SIZE,
};
use descry_model::method::up_person::{AdapterKeys, LoraKeys};
use descry_model::method::{BlockKeys, IMAGE_SIZE_PX, Method, Side, dm_adapter, rde, up_person};
use ndarray::{ArrayD, IxDyn};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
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

impl Preset {
    fn sizes(self) -> PublishedSizes {
        match self {
            Self::VitB16 => VIT_B_16,
            Self::VitB32 => VIT_B_32,
            Self::VitL14 => VIT_L_14,
        }
    }
}

/// Random weights of a published size under the published key names, float32, for images of 384 × 128 pixels and patches
/// that do not overlap. Same seed, same weights.
///
/// # Errors
/// [`ExportError::Setting`] for a size that cannot be cut into patches; no [`Preset`] has one.
pub fn random_tensors(preset: Preset, method: Method, seed: u64) -> Result<BTreeMap<String, ArrayD<f32>>, ExportError> {
    let (height_px, width_px) = IMAGE_SIZE_PX;
    random_tensors_for_grid(preset, method, seed, |patch| Ok(Grid::new(height_px, width_px, patch, patch)?.positions()))
}

/// A state dict under the published key names, with `positions` vision positions for a given patch side.
pub(crate) fn random_tensors_for_grid(
    preset: Preset,
    method: Method,
    seed: u64,
    positions: impl Fn(usize) -> Result<usize, ExportError>,
) -> Result<BTreeMap<String, ArrayD<f32>>, ExportError> {
    let sizes = preset.sizes();
    let PublishedSizes { vision_width, patch_px, text_width, embedding_dimension, .. } = sizes;
    let positions = positions(patch_px)?;
    let mut dict = RandomDict { random: ChaCha8Rng::seed_from_u64(seed), tensors: BTreeMap::new() };
    dict.add(PATCH_KERNEL, &[vision_width, 3, patch_px, patch_px], 1.0 / (patch_px as f32 * 3.0_f32.sqrt()));
    dict.add(CLASS_EMBEDDING, &[vision_width], 0.5);
    dict.add(IMAGE_POSITIONS, &[positions, vision_width], 0.5);
    dict.layer_norm(IMAGE_NORM_BEFORE, vision_width);
    dict.layer_norm(IMAGE_NORM_AFTER, vision_width);
    dict.add(IMAGE_PROJECTION, &[vision_width, embedding_dimension], (vision_width as f32).powf(-0.5));
    dict.add(TOKEN_EMBEDDING, &[VOCABULARY_SIZE, text_width], 0.5);
    dict.add(TEXT_POSITIONS, &[CONTEXT_LENGTH, text_width], 0.5);
    dict.layer_norm(TEXT_NORM_AFTER, text_width);
    dict.add(TEXT_PROJECTION, &[text_width, embedding_dimension], (text_width as f32).powf(-0.5));
    let towers = [(Side::Vision, sizes.vision_layers, vision_width), (Side::Text, sizes.text_layers, text_width)];
    for (side, layers, width) in towers {
        for layer in 0..layers {
            let keys = side.block(layer);
            dict.block(keys, width);
            match method {
                Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => {}
                Method::DmAdapter => dict.mixture(keys, width),
                Method::UpPerson => dict.up_person(keys, width),
            }
        }
    }
    if method == Method::Rde {
        Side::ALL.into_iter().for_each(|side| dict.selection(side, embedding_dimension));
    }
    Ok(dict.tensors)
}

/// Between the prompt's logits of two experts that are next to each other; half of it is left after `alpha`.
const LOGIT_STEP: f32 = 4.0;
/// Of what a token adds to a logit: a tenth of the distance that is left.
const INPUT_LOGIT_DEVIATION: f32 = 0.25;
/// Of `alpha`, around a half.
const PROMPT_SHARE_DEVIATION: f32 = 0.02;

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

    fn block(&mut self, keys: BlockKeys, width: usize) {
        self.layer_norm(&keys.attention_norm(), width);
        self.layer_norm(&keys.mlp_norm(), width);
        self.add(&keys.in_projection_weight(), &[3 * width, width], (width as f32).powf(-0.5));
        self.add(&keys.in_projection_bias(), &[3 * width], 0.02);
        self.linear(&keys.out_projection(), width, width);
        self.linear(&keys.mlp_in(), width, 4 * width);
        self.linear(&keys.mlp_out(), 4 * width, width);
    }

    fn mixture(&mut self, keys: BlockKeys, width: usize) {
        self.layer_norm(&keys.mixture_norm(), width);
        self.add(&keys.domain_prompt(), &[width], 0.5);
        self.add_around(&keys.prompt_share(), &[], 0.5, PROMPT_SHARE_DEVIATION);
        self.add(&keys.input_gate(), &[dm_adapter::EXPERTS, width], INPUT_LOGIT_DEVIATION * (width as f32).powf(-0.5));
        self.decided_gate(keys, width);
        for expert in 0..dm_adapter::EXPERTS {
            self.adapter(&keys.expert(expert), width, width / dm_adapter::REDUCTION);
        }
    }

    /// The prompt's part of the router, which ranks the experts in a random order and at even distances, far beyond what a
    /// token adds. Trained routers are decided. Purely random ones are nearly tied, so that rounding sends tokens to other
    /// experts and such a model says nothing of a number format.
    fn decided_gate(&mut self, keys: BlockKeys, width: usize) {
        let prompt: Vec<f32> = self.tensors.get(&keys.domain_prompt()).into_iter().flatten().copied().collect();
        let square: f32 = prompt.iter().map(|value| value * value).sum();
        let random = &mut self.random;
        let mut order: Vec<usize> = (0..dm_adapter::EXPERTS).collect();
        order.sort_by_cached_key(|_| random.next_u64());
        let gate = ArrayD::from_shape_fn(IxDyn(&[dm_adapter::EXPERTS, width]), |place| {
            LOGIT_STEP * order[place[0]] as f32 * prompt[place[1]] / square
        });
        self.tensors.insert(keys.prompt_gate(), gate);
    }

    fn up_person(&mut self, keys: BlockKeys, width: usize) {
        let adapters = [keys.attention_adapter(), keys.mlp_adapter()];
        for AdapterKeys { adapter, .. } in &adapters {
            self.adapter(adapter, width, width / up_person::REDUCTION);
        }
        for AdapterKeys { scale, .. } in &adapters {
            self.factor(scale);
        }
        for LoraKeys { a, b, scale } in keys.lora() {
            let deviation = (width as f32).powf(-0.5);
            self.add(&a, &[up_person::CUHK_PEDES.lora_rank, width], deviation);
            self.add(&b, &[width, up_person::CUHK_PEDES.lora_rank], deviation);
            self.factor(&scale);
        }
        let prefix = keys.prefix();
        let parts = [(&prefix.key_tokens, &prefix.key_scale), (&prefix.value_tokens, &prefix.value_scale)];
        for (tokens, scale) in parts {
            self.add(tokens, &[up_person::CUHK_PEDES.prefix_length, width], 0.5);
            self.factor(scale);
        }
        self.factor(&prefix.attention_scale);
    }

    /// As the published code sizes it: twice the values of the other embedding.
    fn selection(&mut self, side: Side, dimension: usize) {
        let module = rde::selection(side);
        self.linear(&rde::direct(side), dimension, 2 * dimension);
        self.linear(&format!("{module}.mlp.layers.0"), dimension, dimension);
        self.linear(&format!("{module}.mlp.layers.1"), dimension, 2 * dimension);
        self.layer_norm(&format!("{module}.mlp.bns.0"), dimension);
        self.add(&format!("{module}.mlp.bns.0.running_mean"), &[dimension], 0.02);
        self.add_around(&format!("{module}.mlp.bns.0.running_var"), &[dimension], 1.0, 0.1);
    }

    fn adapter(&mut self, key: &str, width: usize, hidden: usize) {
        self.linear(&format!("{key}.down"), width, hidden);
        self.linear(&format!("{key}.up"), hidden, width);
    }

    /// A single number that something is multiplied with.
    fn factor(&mut self, key: &str) {
        self.add_around(key, &[], 0.5, 0.1);
    }
}

#[cfg(test)]
mod tests;
