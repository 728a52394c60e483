//! Weights at the start of a run.
//!
//! Each tensor has a stream of random numbers of its own, found by its name, so that switching one part of a method off
//! leaves the others as they were.

use crate::tower::Side;
use crate::{Recipe, TrainError};
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
        for (side, layer) in places(layers) {
            let block = side.block(layer);
            let width = width_of(base, side, layer)?;
            let units = (width / settings.reduction).max(1);
            self.constant(&format!("{block}.ln_3.weight"), &[width], 1.0);
            self.constant(&format!("{block}.ln_3.bias"), &[width], 0.0);
            let key = format!("{block}.feed_forward");
            if settings.domain_prompt {
                self.normal(&format!("{block}.task_param"), &[width], 1.0);
                self.normal(&format!("{key}.task_gate.weight"), &[settings.experts, width], GATE_DEVIATION);
                self.constant(&format!("{key}.alpha"), &[], 0.5);
            } else {
                // The same router with all of its weight on the tokens.
                self.constant(&format!("{block}.task_param"), &[width], 0.0);
                self.constant(&format!("{key}.task_gate.weight"), &[settings.experts, width], 0.0);
                self.constant(&format!("{key}.alpha"), &[], 0.0);
            }
            self.normal(&format!("{key}.input_gate.weight"), &[settings.experts, width], GATE_DEVIATION);
            for expert in 0..settings.experts {
                self.adapter(&format!("{key}.experts.{expert}"), width, units);
            }
        }
        Ok(self.tensors)
    }

    /// UP-Person's tensors, of the parts and blocks that are switched on.
    pub(crate) fn up_person(mut self, base: &Tensors, layers: &[(Side, usize)]) -> Result<Tensors, TrainError> {
        let settings = &self.recipe.up_person;
        for (side, layer) in places(layers) {
            let block = side.block(layer);
            let width = width_of(base, side, layer)?;
            if settings.depth_adapter.is_some_and(|first| layer >= first) {
                for (adapter, scale) in [("adapter_ln_msa", "scale_1"), ("adapter_ln_mlp", "scale_2")] {
                    self.adapter(&format!("{block}.{adapter}"), width, (width / settings.reduction).max(1));
                    self.constant(&format!("{block}.{scale}"), &[], 1.0);
                }
            }
            if settings.depth_lora.is_none_or(|depth| layer < depth) {
                let key = side.lora(layer);
                for part in 0..2 {
                    self.fan_in(&format!("{key}.lora_A.{part}"), &[settings.rank, width]);
                    self.constant(&format!("{key}.lora_B.{part}"), &[width, settings.rank], 0.0);
                    self.constant(&format!("{key}.scale.{part}.scale"), &[], 1.0);
                }
            }
            if settings.depth_prefix.is_none_or(|depth| layer < depth) && settings.prefix_length > 0 {
                let key = side.prefix(layer);
                for part in ["key", "val"] {
                    // The published code draws from 0 to 0.01.
                    self.uniform(&format!("{key}.{part}.tokens"), &[settings.prefix_length, width], 0.0, 0.01);
                    self.constant(&format!("{key}.{part}.scaler.scale"), &[], 1.0);
                }
                self.constant(&format!("{key}.scale_to_grad"), &[], settings.prefix_scale as f32);
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
    add("visual.conv1.weight", &patch, root(3 * 3 * sizes.patch_px.pow(2)));
    add("visual.class_embedding", &[vision], root(vision));
    add("visual.positional_embedding", &[positions, vision], root(vision));
    add("visual.proj", &[vision, sizes.embedding_dimension], root(vision));
    add("token_embedding.weight", &[vocabulary_size, text], 0.02);
    add("positional_embedding", &[input.context_length, text], 0.01);
    add("text_projection", &[text, sizes.embedding_dimension], root(text));
    for (side, width, layers) in [(Side::Vision, vision, sizes.vision_layers), (Side::Text, text, sizes.text_layers)] {
        for layer in 0..layers {
            let key = side.block(layer);
            let out = root(width) * root(2 * layers);
            add(&format!("{key}.attn.in_proj_weight"), &[3 * width, width], root(width));
            add(&format!("{key}.attn.out_proj.weight"), &[width, width], out);
            add(&format!("{key}.mlp.c_fc.weight"), &[4 * width, width], root(2 * width));
            add(&format!("{key}.mlp.c_proj.weight"), &[width, 4 * width], out);
        }
    }
    let mut constant = |name: String, length: usize, value: f32| {
        tensors.insert(name, Array1::from_elem(length, value).into_dyn());
    };
    let norms = [("visual.ln_pre", vision), ("visual.ln_post", vision), ("ln_final", text)];
    for (name, width) in norms {
        constant(format!("{name}.weight"), width, 1.0);
        constant(format!("{name}.bias"), width, 0.0);
    }
    for (side, width, layers) in [(Side::Vision, vision, sizes.vision_layers), (Side::Text, text, sizes.text_layers)] {
        for layer in 0..layers {
            let key = side.block(layer);
            for norm in ["ln_1", "ln_2"] {
                constant(format!("{key}.{norm}.weight"), width, 1.0);
                constant(format!("{key}.{norm}.bias"), width, 0.0);
            }
            constant(format!("{key}.attn.in_proj_bias"), 3 * width, 0.0);
            constant(format!("{key}.attn.out_proj.bias"), width, 0.0);
            constant(format!("{key}.mlp.c_fc.bias"), 4 * width, 0.0);
            constant(format!("{key}.mlp.c_proj.bias"), width, 0.0);
        }
    }
    tensors
}

fn places(layers: &[(Side, usize)]) -> impl Iterator<Item = (Side, usize)> {
    layers.iter().flat_map(|&(side, count)| (0..count).map(move |layer| (side, layer)))
}

fn width_of(base: &Tensors, side: Side, layer: usize) -> Result<usize, TrainError> {
    let key = format!("{}.ln_1.weight", side.block(layer));
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
