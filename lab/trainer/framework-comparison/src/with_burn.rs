//! The step in burn, on its CPU backend `flex`.

use std::error::Error;
use std::time::Instant;

use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::measurement::Measurement;
use crate::numbers::Numbers;
use crate::size::{HEAD_WIDTH, Size, TowerSize};
use crate::{LAYER_NORM_EPSILON, LEARNING_RATE, TEMPERATURE};

/// Does the measured steps.
pub(crate) fn train(size: &Size, measurement: &mut Measurement) -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    let mut numbers = Numbers::new();
    let mut towers = Towers::new(size, &mut numbers, &device);
    let images = activations(size.batch, &size.vision, &mut numbers, &device);
    let texts = activations(size.batch, &size.text, &mut numbers, &device);
    let mut optimizer = SgdConfig::new().init();

    for _ in 0..measurement.steps() {
        let start = Instant::now();
        let loss = contrastive_loss(towers.vision.features(images.clone()), towers.text.features(texts.clone()));
        let gradients = GradientsParams::from_grads(loss.backward(), &towers);
        towers = optimizer.step(LEARNING_RATE, towers, gradients);
        device.sync()?;
        measurement.record(start.elapsed(), loss.try_into_scalar()?);
    }
    Ok(())
}

fn activations(batch: usize, tower: &TowerSize, numbers: &mut Numbers, device: &Device) -> Tensor<3> {
    let values = numbers.activations(batch * tower.tokens * tower.width);
    Tensor::from_data(TensorData::new(values, [batch, tower.tokens, tower.width]), device)
}

/// Cross-entropy of finding each image's text and each text's image in the batch.
fn contrastive_loss(images: Tensor<2>, texts: Tensor<2>) -> Tensor<1> {
    let device = images.device();
    let logits = normalised(images).matmul(normalised(texts).transpose()).div_scalar(TEMPERATURE);
    let [batch, _] = logits.dims();
    let targets = Tensor::<1, Int>::arange(0..batch as i64, &device);
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    (cross_entropy.forward(logits.clone(), targets.clone()) + cross_entropy.forward(logits.transpose(), targets))
        .mul_scalar(0.5)
}

fn normalised(features: Tensor<2>) -> Tensor<2> {
    let length = features.clone().square().sum_dim(1).sqrt();
    features / length
}

#[derive(Module, Debug)]
struct Towers {
    vision: Tower,
    text: Tower,
}

impl Towers {
    fn new(size: &Size, numbers: &mut Numbers, device: &Device) -> Self {
        Self {
            vision: Tower::new(&size.vision, size.embedding, false, numbers, device),
            text: Tower::new(&size.text, size.embedding, true, numbers, device),
        }
    }
}

#[derive(Module, Debug)]
struct Tower {
    blocks: Vec<Block>,
    projection: Param<Tensor<2>>,
    /// Whether tokens see only earlier ones. Such a tower gives its last token, the other one its first.
    causal: bool,
}

impl Tower {
    fn new(size: &TowerSize, embedding: usize, causal: bool, numbers: &mut Numbers, device: &Device) -> Self {
        let blocks = (0..size.blocks).map(|_| Block::new(size.width, numbers, device)).collect();
        Self { blocks, projection: weights(size.width, embedding, numbers, device), causal }
    }

    /// `[batch, tokens, width]` to `[batch, embedding]`.
    fn features(&self, mut activations: Tensor<3>) -> Tensor<2> {
        let [_, tokens, _] = activations.dims();
        let causal_mask = self.causal.then(|| causal_mask(tokens, &activations.device()));
        for block in &self.blocks {
            activations = block.forward(activations, causal_mask.as_ref());
        }
        let token = if self.causal { tokens - 1 } else { 0 };
        activations.narrow(1, token, 1).squeeze_dim::<2>(1).matmul(self.projection.val())
    }
}

/// Minus infinity wherever a token would see a later one.
fn causal_mask(tokens: usize, device: &Device) -> Tensor<4> {
    let later = Tensor::<2, Bool>::tril_mask([tokens, tokens], 0, device);
    Tensor::<2>::zeros([tokens, tokens], device).mask_fill(later, f32::NEG_INFINITY).unsqueeze()
}

fn weights(inputs: usize, outputs: usize, numbers: &mut Numbers, device: &Device) -> Param<Tensor<2>> {
    Param::from_data(TensorData::new(numbers.weights(inputs, outputs), [inputs, outputs]), device)
}

fn linear(inputs: usize, outputs: usize, numbers: &mut Numbers, device: &Device) -> Linear {
    Linear {
        weight: weights(inputs, outputs, numbers, device),
        bias: Some(Param::from_tensor(Tensor::zeros([outputs], device))),
    }
}

fn layer_norm(width: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(width).with_epsilon(LAYER_NORM_EPSILON).init(device)
}

#[derive(Module, Debug)]
struct Block {
    attention_norm: LayerNorm,
    query_key_value: Linear,
    attention_output: Linear,
    mlp_norm: LayerNorm,
    widening: Linear,
    narrowing: Linear,
}

impl Block {
    fn new(width: usize, numbers: &mut Numbers, device: &Device) -> Self {
        Self {
            attention_norm: layer_norm(width, device),
            query_key_value: linear(width, 3 * width, numbers, device),
            attention_output: linear(width, width, numbers, device),
            mlp_norm: layer_norm(width, device),
            widening: linear(width, 4 * width, numbers, device),
            narrowing: linear(4 * width, width, numbers, device),
        }
    }

    fn forward(&self, activations: Tensor<3>, causal_mask: Option<&Tensor<4>>) -> Tensor<3> {
        let attended = self.attention(self.attention_norm.forward(activations.clone()), causal_mask);
        let activations = activations + attended;
        let hidden = quick_gelu(self.widening.forward(self.mlp_norm.forward(activations.clone())));
        activations + self.narrowing.forward(hidden)
    }

    fn attention(&self, activations: Tensor<3>, causal_mask: Option<&Tensor<4>>) -> Tensor<3> {
        let [batch, tokens, width] = activations.dims();
        let query_key_value = self.query_key_value.forward(activations);
        let heads = |part: usize| {
            query_key_value
                .clone()
                .narrow(2, part * width, width)
                .reshape([batch, tokens, width / HEAD_WIDTH, HEAD_WIDTH])
                .swap_dims(1, 2)
        };
        let (query, key, value) = (heads(0), heads(1), heads(2));
        let mut scores = query.matmul(key.swap_dims(2, 3)).div_scalar((HEAD_WIDTH as f64).sqrt());
        if let Some(mask) = causal_mask {
            scores = scores + mask.clone();
        }
        let attended = softmax(scores, 3).matmul(value).swap_dims(1, 2).reshape([batch, tokens, width]);
        self.attention_output.forward(attended)
    }
}

/// `x * sigmoid(1.702 x)`.
fn quick_gelu(activations: Tensor<3>) -> Tensor<3> {
    sigmoid(activations.clone().mul_scalar(1.702)) * activations
}
