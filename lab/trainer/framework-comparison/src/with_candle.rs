//! The step in candle.
//!
//! Layer normalisation, softmax and cross-entropy are composed from candle's operators, as `candle-nn` composes them for
//! training: its fused kernels have no backward pass.

use std::error::Error;
use std::time::Instant;

use candle_core::{D, DType, Device, Result, Tensor, Var};

use crate::measurement::Measurement;
use crate::numbers::Numbers;
use crate::size::{HEAD_WIDTH, Size, TowerSize};
use crate::{LAYER_NORM_EPSILON, LEARNING_RATE, TEMPERATURE};

/// Does the measured steps.
pub(crate) fn train(size: &Size, measurement: &mut Measurement) -> std::result::Result<(), Box<dyn Error>> {
    let device = Device::Cpu;
    let mut numbers = Numbers::new();
    let vision = Tower::new(&size.vision, size.embedding, false, &mut numbers, &device)?;
    let text = Tower::new(&size.text, size.embedding, true, &mut numbers, &device)?;
    let images = activations(size.batch, &size.vision, &mut numbers, &device)?;
    let texts = activations(size.batch, &size.text, &mut numbers, &device)?;

    for _ in 0..measurement.steps() {
        let start = Instant::now();
        let loss = contrastive_loss(&vision.features(&images)?, &text.features(&texts)?)?;
        let gradients = loss.backward()?;
        for variable in vision.variables().chain(text.variables()) {
            if let Some(gradient) = gradients.get(variable) {
                variable.set(&variable.as_detached_tensor().sub(&gradient.affine(LEARNING_RATE, 0.0)?)?)?;
            }
        }
        measurement.record(start.elapsed(), loss.to_scalar()?);
    }
    Ok(())
}

fn activations(batch: usize, tower: &TowerSize, numbers: &mut Numbers, device: &Device) -> Result<Tensor> {
    let shape = (batch, tower.tokens, tower.width);
    Tensor::from_vec(numbers.activations(batch * tower.tokens * tower.width), shape, device)
}

/// Cross-entropy of finding each image's text and each text's image in the batch.
fn contrastive_loss(images: &Tensor, texts: &Tensor) -> Result<Tensor> {
    let logits = normalised(images)?.matmul(&normalised(texts)?.t()?)?.affine(1.0 / TEMPERATURE, 0.0)?;
    (cross_entropy_of_diagonal(&logits)? + cross_entropy_of_diagonal(&logits.t()?)?)?.affine(0.5, 0.0)
}

fn normalised(features: &Tensor) -> Result<Tensor> {
    features.broadcast_div(&features.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

fn cross_entropy_of_diagonal(logits: &Tensor) -> Result<Tensor> {
    let batch = logits.dim(0)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_probabilities = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    let diagonal = Tensor::eye(batch, DType::F32, logits.device())?;
    (log_probabilities * diagonal)?.sum_all()?.affine(-1.0 / batch as f64, 0.0)
}

struct Tower {
    blocks: Vec<Block>,
    projection: Var,
    /// Of a tower whose tokens see only earlier ones; it gives its last token, the other one its first.
    causal_mask: Option<Tensor>,
}

impl Tower {
    fn new(size: &TowerSize, embedding: usize, causal: bool, numbers: &mut Numbers, device: &Device) -> Result<Self> {
        let blocks = (0..size.blocks).map(|_| Block::new(size.width, numbers, device)).collect::<Result<_>>()?;
        let projection = Var::from_vec(numbers.weights(size.width, embedding), (size.width, embedding), device)?;
        let causal_mask = causal.then(|| causal_mask(size.tokens, device)).transpose()?;
        Ok(Self { blocks, projection, causal_mask })
    }

    /// `[batch, tokens, width]` to `[batch, embedding]`.
    fn features(&self, activations: &Tensor) -> Result<Tensor> {
        let mut activations = activations.clone();
        for block in &self.blocks {
            activations = block.forward(&activations, self.causal_mask.as_ref())?;
        }
        let token = if self.causal_mask.is_some() { activations.dim(1)? - 1 } else { 0 };
        activations.narrow(1, token, 1)?.squeeze(1)?.contiguous()?.matmul(&self.projection)
    }

    fn variables(&self) -> impl Iterator<Item = &Var> {
        self.blocks.iter().flat_map(Block::variables).chain([&self.projection])
    }
}

/// Minus infinity wherever a token would see a later one.
fn causal_mask(tokens: usize, device: &Device) -> Result<Tensor> {
    let values = (0..tokens)
        .flat_map(|query| (0..tokens).map(move |key| if key > query { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(values, (tokens, tokens), device)
}

struct Block {
    attention_norm: LayerNorm,
    query_key_value: Linear,
    attention_output: Linear,
    mlp_norm: LayerNorm,
    widening: Linear,
    narrowing: Linear,
}

impl Block {
    fn new(width: usize, numbers: &mut Numbers, device: &Device) -> Result<Self> {
        Ok(Self {
            attention_norm: LayerNorm::new(width, device)?,
            query_key_value: Linear::new(width, 3 * width, numbers, device)?,
            attention_output: Linear::new(width, width, numbers, device)?,
            mlp_norm: LayerNorm::new(width, device)?,
            widening: Linear::new(width, 4 * width, numbers, device)?,
            narrowing: Linear::new(4 * width, width, numbers, device)?,
        })
    }

    fn forward(&self, activations: &Tensor, causal_mask: Option<&Tensor>) -> Result<Tensor> {
        let attended = self.attention(&self.attention_norm.forward(activations)?, causal_mask)?;
        let activations = (activations + attended)?;
        let hidden = quick_gelu(&self.widening.forward(&self.mlp_norm.forward(&activations)?)?)?;
        activations + self.narrowing.forward(&hidden)?
    }

    fn attention(&self, activations: &Tensor, causal_mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, tokens, width) = activations.dims3()?;
        let query_key_value = self.query_key_value.forward(activations)?;
        let heads = |part: usize| {
            query_key_value
                .narrow(D::Minus1, part * width, width)?
                .reshape((batch, tokens, width / HEAD_WIDTH, HEAD_WIDTH))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (query, key, value) = (heads(0)?, heads(1)?, heads(2)?);
        let mut scores = query.matmul(&key.t()?)?.affine(1.0 / (HEAD_WIDTH as f64).sqrt(), 0.0)?;
        if let Some(mask) = causal_mask {
            scores = scores.broadcast_add(mask)?;
        }
        let attended = softmax(&scores)?.matmul(&value)?.transpose(1, 2)?.reshape((batch, tokens, width))?;
        self.attention_output.forward(&attended)
    }

    fn variables(&self) -> impl Iterator<Item = &Var> {
        let norms = [&self.attention_norm, &self.mlp_norm].into_iter().flat_map(|norm| [&norm.weight, &norm.bias]);
        let linears = [&self.query_key_value, &self.attention_output, &self.widening, &self.narrowing];
        norms.chain(linears.into_iter().flat_map(|linear| [&linear.weight, &linear.bias]))
    }
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let exponentials = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}

/// `x * sigmoid(1.702 x)`, written with SiLU, `y * sigmoid(y)`, because `candle-core` has no sigmoid.
fn quick_gelu(activations: &Tensor) -> Result<Tensor> {
    activations.affine(1.702, 0.0)?.silu()?.affine(1.0 / 1.702, 0.0)
}

struct Linear {
    weight: Var,
    bias: Var,
}

impl Linear {
    fn new(inputs: usize, outputs: usize, numbers: &mut Numbers, device: &Device) -> Result<Self> {
        Ok(Self {
            weight: Var::from_vec(numbers.weights(inputs, outputs), (inputs, outputs), device)?,
            bias: Var::zeros(outputs, DType::F32, device)?,
        })
    }

    fn forward(&self, activations: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = activations.dims3()?;
        let rows = activations.reshape((batch * tokens, width))?;
        rows.matmul(&self.weight)?.broadcast_add(&self.bias)?.reshape((batch, tokens, ()))
    }
}

struct LayerNorm {
    weight: Var,
    bias: Var,
}

impl LayerNorm {
    fn new(width: usize, device: &Device) -> Result<Self> {
        Ok(Self { weight: Var::ones(width, DType::F32, device)?, bias: Var::zeros(width, DType::F32, device)? })
    }

    fn forward(&self, activations: &Tensor) -> Result<Tensor> {
        let centred = activations.broadcast_sub(&activations.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normalised = centred.broadcast_div(&(variance + LAYER_NORM_EPSILON)?.sqrt()?)?;
        normalised.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}
