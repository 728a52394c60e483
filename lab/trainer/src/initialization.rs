//! Weights at the start of a run.
//!
//! Each tensor has a stream of random numbers of its own, found by its name, so that switching one part of a method off
//! leaves the others as they were.

use crate::{Recipe, TrainError};
use descry_model::method::clip::{
    CLASS_EMBEDDING, IMAGE_NORM_AFTER, IMAGE_NORM_BEFORE, IMAGE_POSITIONS, IMAGE_PROJECTION, PATCH_KERNEL,
    TEXT_NORM_AFTER, TEXT_POSITIONS, TEXT_PROJECTION, TOKEN_EMBEDDING,
};
use descry_model::method::up_person::{AdapterKeys, LoraKeys};
use descry_model::method::{BlockKeys, Side};
use descry_model::sha256_hex;
use ndarray::{Array1, ArrayD};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal, Uniform};
use std::collections::BTreeMap;

/// Named tensors.
type Tensors = BTreeMap<String, ArrayD<f32>>;

/// Makes what a method adds to CLIP.
pub(crate) struct Initializer<'a> {
    recipe: &'a Recipe,
    tensors: Tensors,
}

impl<'a> Initializer<'a> {
    pub(crate) fn new(recipe: &'a Recipe) -> Self {
        Self { recipe, tensors: Tensors::new() }
    }

    /// DM-Adapter's tensors: the experts change nothing at first, because their last product is 0.
    pub(crate) fn dm_adapter(mut self, base: &Tensors, layers: &[(Side, usize)]) -> Result<Tensors, TrainError> {
        let settings = &self.recipe.dm_adapter;
        for keys in blocks(layers) {
            let width = width_of(base, keys)?;
            let units = (width / settings.reduction).max(1);
            self.constant(&format!("{}.weight", keys.mixture_norm()), &[width], 1.0);
            self.constant(&format!("{}.bias", keys.mixture_norm()), &[width], 0.0);
            if settings.domain_prompt {
                self.normal(&keys.domain_prompt(), &[width], 1.0);
                self.normal(&keys.prompt_gate(), &[settings.experts, width], GATE_DEVIATION);
                self.constant(&keys.prompt_share(), &[], 0.5);
            } else {
                // The same router with all of its weight on the tokens.
                self.constant(&keys.domain_prompt(), &[width], 0.0);
                self.constant(&keys.prompt_gate(), &[settings.experts, width], 0.0);
                self.constant(&keys.prompt_share(), &[], 0.0);
            }
            self.normal(&keys.input_gate(), &[settings.experts, width], GATE_DEVIATION);
            for expert in 0..settings.experts {
                self.adapter(&keys.expert(expert), width, units);
            }
        }
        Ok(self.tensors)
    }

    /// UP-Person's tensors, of the parts and blocks that are switched on.
    pub(crate) fn up_person(mut self, base: &Tensors, layers: &[(Side, usize)]) -> Result<Tensors, TrainError> {
        let settings = &self.recipe.up_person;
        for keys in blocks(layers) {
            let layer = keys.layer;
            let width = width_of(base, keys)?;
            if settings.depth_adapter.is_some_and(|first| layer >= first) {
                for AdapterKeys { adapter, scale } in [keys.attention_adapter(), keys.mlp_adapter()] {
                    self.adapter(&adapter, width, (width / settings.reduction).max(1));
                    self.constant(&scale, &[], 1.0);
                }
            }
            if settings.depth_lora.is_none_or(|depth| layer < depth) {
                for LoraKeys { a, b, scale } in keys.lora() {
                    self.fan_in(&a, &[settings.rank, width]);
                    self.constant(&b, &[width, settings.rank], 0.0);
                    self.constant(&scale, &[], 1.0);
                }
            }
            if settings.depth_prefix.is_none_or(|depth| layer < depth) && settings.prefix_length > 0 {
                let prefix = keys.prefix();
                let parts = [(&prefix.key_tokens, &prefix.key_scale), (&prefix.value_tokens, &prefix.value_scale)];
                for (tokens, scale) in parts {
                    // The published code draws from 0 to 0.01.
                    self.uniform(tokens, &[settings.prefix_length, width], 0.0, 0.01);
                    self.constant(scale, &[], 1.0);
                }
                self.constant(&prefix.attention_scale, &[], settings.prefix_scale as f32);
            }
        }
        Ok(self.tensors)
    }

    /// An adapter whose last product is 0.
    fn adapter(&mut self, key: &str, width: usize, units: usize) {
        self.fan_in(&format!("{key}.down.weight"), &[units, width]);
        self.constant(&format!("{key}.down.bias"), &[units], 0.0);
        self.constant(&format!("{key}.up.weight"), &[width, units], 0.0);
        self.constant(&format!("{key}.up.bias"), &[width], 0.0);
    }

    fn constant(&mut self, name: &str, shape: &[usize], value: f32) {
        self.tensors.insert(name.to_owned(), ArrayD::from_elem(shape, value));
    }

    fn normal(&mut self, name: &str, shape: &[usize], deviation: f32) {
        self.tensors.insert(name.to_owned(), normal(self.recipe.seed, name, shape, deviation));
    }

    fn uniform(&mut self, name: &str, shape: &[usize], low: f32, high: f32) {
        self.tensors.insert(name.to_owned(), uniform(self.recipe.seed, name, shape, low, high));
    }

    /// PyTorch's default for a product: uniform within one over the root of its inputs (`kaiming_uniform_`, a = √5).
    fn fan_in(&mut self, name: &str, shape: &[usize]) {
        let inputs: usize = shape.iter().skip(1).product();
        let bound = (inputs.max(1) as f32).sqrt().recip();
        self.uniform(name, shape, -bound, bound);
    }
}

/// Deviation of router weights, as the published `init_weights` sets it for every product.
const GATE_DEVIATION: f32 = 0.02;

/// A CLIP of the recipe's sizes, initialised as OpenAI's code does (CLIP, `initialize_parameters`).
pub(crate) fn new_clip(recipe: &Recipe, vocabulary_size: usize) -> Tensors {
    let sizes = &recipe.towers;
    let input = &recipe.input;
    let stride = input.stride_px.unwrap_or(sizes.patch_px);
    let steps = |side: usize| side.saturating_sub(sizes.patch_px) / stride + 1;
    let positions = steps(input.height_px) * steps(input.width_px) + 1;
    let (vision, text) = (sizes.vision_width, sizes.text_width);
    let mut tensors = Tensors::new();
    let mut add = |name: &str, shape: &[usize], deviation: f32| {
        tensors.insert(name.to_owned(), normal(recipe.seed, name, shape, deviation));
    };
    let root = |width: usize| (width as f32).sqrt().recip();
    let patch = [vision, 3, sizes.patch_px, sizes.patch_px];
    // The deviation of PyTorch's default for a convolution.
    add(PATCH_KERNEL, &patch, root(3 * 3 * sizes.patch_px.pow(2)));
    add(CLASS_EMBEDDING, &[vision], root(vision));
    add(IMAGE_POSITIONS, &[positions, vision], root(vision));
    add(IMAGE_PROJECTION, &[vision, sizes.embedding_dimension], root(vision));
    add(TOKEN_EMBEDDING, &[vocabulary_size, text], 0.02);
    add(TEXT_POSITIONS, &[input.context_length, text], 0.01);
    add(TEXT_PROJECTION, &[text, sizes.embedding_dimension], root(text));
    for (side, width, layers) in [(Side::Vision, vision, sizes.vision_layers), (Side::Text, text, sizes.text_layers)] {
        for layer in 0..layers {
            let keys = side.block(layer);
            let out = root(width) * root(2 * layers);
            add(&keys.in_projection_weight(), &[3 * width, width], root(width));
            add(&format!("{}.weight", keys.out_projection()), &[width, width], out);
            add(&format!("{}.weight", keys.mlp_in()), &[4 * width, width], root(2 * width));
            add(&format!("{}.weight", keys.mlp_out()), &[width, 4 * width], out);
        }
    }
    let mut constant = |name: String, length: usize, value: f32| {
        tensors.insert(name, Array1::from_elem(length, value).into_dyn());
    };
    let norms = [(IMAGE_NORM_BEFORE, vision), (IMAGE_NORM_AFTER, vision), (TEXT_NORM_AFTER, text)];
    for (name, width) in norms {
        constant(format!("{name}.weight"), width, 1.0);
        constant(format!("{name}.bias"), width, 0.0);
    }
    for (side, width, layers) in [(Side::Vision, vision, sizes.vision_layers), (Side::Text, text, sizes.text_layers)] {
        for layer in 0..layers {
            let keys = side.block(layer);
            for norm in [keys.attention_norm(), keys.mlp_norm()] {
                constant(format!("{norm}.weight"), width, 1.0);
                constant(format!("{norm}.bias"), width, 0.0);
            }
            constant(keys.in_projection_bias(), 3 * width, 0.0);
            constant(format!("{}.bias", keys.out_projection()), width, 0.0);
            constant(format!("{}.bias", keys.mlp_in()), 4 * width, 0.0);
            constant(format!("{}.bias", keys.mlp_out()), width, 0.0);
        }
    }
    tensors
}

fn blocks(layers: &[(Side, usize)]) -> impl Iterator<Item = BlockKeys> {
    layers.iter().flat_map(|&(side, count)| (0..count).map(move |layer| side.block(layer)))
}

fn width_of(base: &Tensors, keys: BlockKeys) -> Result<usize, TrainError> {
    let key = format!("{}.weight", keys.attention_norm());
    let missing = || TrainError::Tensor { key: key.clone(), reason: "it is missing".to_owned() };
    base.get(&key).map(ArrayD::len).ok_or_else(missing)
}

fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = sha256_hex(name.as_bytes());
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(u64::from_str_radix(digest.get(..16).unwrap_or_default(), 16).unwrap_or_default());
    generator
}

fn normal(seed: u64, name: &str, shape: &[usize], deviation: f32) -> ArrayD<f32> {
    let mut generator = stream(seed, name);
    ArrayD::from_shape_simple_fn(shape, || {
        let value: f32 = StandardNormal.sample(&mut generator);
        value * deviation
    })
}

fn uniform(seed: u64, name: &str, shape: &[usize], low: f32, high: f32) -> ArrayD<f32> {
    let mut generator = stream(seed, name);
    // Bounds are finite and ordered, so the distribution exists.
    match Uniform::new(low, high) {
        Ok(distribution) => ArrayD::from_shape_simple_fn(shape, || distribution.sample(&mut generator)),
        Err(_) => ArrayD::from_elem(shape, low),
    }
}
