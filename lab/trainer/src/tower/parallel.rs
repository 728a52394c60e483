//! UP-Person's three parts of a block: LoRA on keys and values, S-Prefix, and adapters beside the layer norms.

use super::{Linear, Side};
use crate::TrainError;
use crate::operation::{Arithmetic, linear, relu};
use crate::parameters::Parameters;
use candle_core::{Result, Tensor};

/// Low-rank changes of the key and value weights.
#[derive(Debug)]
pub(super) struct Lora {
    /// For keys and for values: `A [rank, width]`, `B [width, rank]`, scale.
    changes: [(Tensor, Tensor, Tensor); 2],
}

impl Lora {
    pub(super) fn read(
        parameters: &Parameters,
        side: Side,
        layer: usize,
    ) -> std::result::Result<Option<Self>, TrainError> {
        let key = side.lora(layer);
        if !parameters.has(&format!("{key}.lora_A.0")) {
            return Ok(None);
        }
        let change = |index: usize| {
            Ok::<_, TrainError>((
                parameters.get(&format!("{key}.lora_A.{index}"))?,
                parameters.get(&format!("{key}.lora_B.{index}"))?,
                parameters.get(&format!("{key}.scale.{index}.scale"))?,
            ))
        };
        Ok(Some(Self { changes: [change(0)?, change(1)?] }))
    }

    /// What is added to keys and values: `x * A^T * B^T * scale`, which is cheaper than changing the weights, and so is
    /// its gradient.
    ///
    /// # Shapes
    /// - `x`: `[rows, width]`; returns `[rows, 2 * width]`
    pub(super) fn forward(&self, arithmetic: Arithmetic, x: &Tensor) -> Result<Tensor> {
        let [(key_a, key_b, key_scale), (value_a, value_b, value_scale)] = &self.changes;
        let hidden = linear(arithmetic, x, &Tensor::cat(&[key_a, value_a], 0)?, None)?;
        let nothing = key_b.zeros_like()?.detach();
        let keys = Tensor::cat(&[&key_b.broadcast_mul(key_scale)?, &nothing], 1)?;
        let values = Tensor::cat(&[&nothing, &value_b.broadcast_mul(value_scale)?], 1)?;
        linear(arithmetic, &hidden, &Tensor::cat(&[keys, values], 0)?.contiguous()?, None)
    }
}

/// Learned keys and values.
#[derive(Debug)]
pub(super) struct Prefix {
    key_tokens: Tensor,
    key_scale: Tensor,
    value_tokens: Tensor,
    value_scale: Tensor,
    /// Factor of the prefix' attention after the softmax.
    attention_scale: Tensor,
}

impl Prefix {
    pub(super) fn read(
        parameters: &Parameters,
        side: Side,
        layer: usize,
    ) -> std::result::Result<Option<Self>, TrainError> {
        let key = side.prefix(layer);
        if !parameters.has(&format!("{key}.key.tokens")) {
            return Ok(None);
        }
        Ok(Some(Self {
            key_tokens: parameters.get(&format!("{key}.key.tokens"))?,
            key_scale: parameters.get(&format!("{key}.key.scaler.scale"))?,
            value_tokens: parameters.get(&format!("{key}.val.tokens"))?,
            value_scale: parameters.get(&format!("{key}.val.scaler.scale"))?,
            attention_scale: parameters.get(&format!("{key}.scale_to_grad"))?,
        }))
    }

    /// Keys and values side by side, `[length, 2 * width]`. The attention's factor is multiplied into the values, which
    /// is the same.
    pub(super) fn keys_values(&self) -> Result<Tensor> {
        let keys = self.key_tokens.broadcast_mul(&self.key_scale)?;
        let factor = self.value_scale.mul(&self.attention_scale)?;
        Tensor::cat(&[keys, self.value_tokens.broadcast_mul(&factor)?], 1)?.contiguous()
    }
}

/// An adapter in parallel with a layer norm.
#[derive(Debug)]
pub(super) struct ParallelAdapter {
    down: Linear,
    up: Linear,
    scale: Tensor,
}

impl ParallelAdapter {
    /// Reads `adapter` with the factor named `scale` of a block; `None` where it has none.
    pub(super) fn read(
        parameters: &Parameters,
        block: &str,
        adapter: &str,
        scale: &str,
    ) -> std::result::Result<Option<Self>, TrainError> {
        if !parameters.has(&format!("{block}.{scale}")) {
            return Ok(None);
        }
        Ok(Some(Self {
            down: Linear::read(parameters, &format!("{block}.{adapter}.down"))?,
            up: Linear::read(parameters, &format!("{block}.{adapter}.up"))?,
            scale: parameters.get(&format!("{block}.{scale}"))?,
        }))
    }

    /// `[rows, width]` to what is added to the layer norm's result.
    pub(super) fn forward(&self, arithmetic: Arithmetic, x: &Tensor) -> Result<Tensor> {
        let hidden = relu(arithmetic, &self.down.forward(arithmetic, x)?)?;
        // The factor goes into the weights: they are small beside the tokens.
        let weight = self.up.weight.broadcast_mul(&self.scale)?;
        linear(arithmetic, &hidden, &weight, Some(&self.up.bias.broadcast_mul(&self.scale)?))
    }
}
