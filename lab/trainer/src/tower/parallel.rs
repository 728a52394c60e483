//! UP-Person's three parts of a block: LoRA on keys and values, S-Prefix, and adapters beside the layer norms.

use super::layers::Linear;
use crate::TrainError;
use crate::operation::{Arithmetic, linear, relu};
use crate::parameters::Parameters;
use candle_core::{Result, Tensor};
use descry_model::method::BlockKeys;
use descry_model::method::up_person::{AdapterKeys, LoraKeys};

/// Low-rank changes of the key and value weights.
#[derive(Debug)]
pub(super) struct Lora {
    /// For keys and for values: `A [rank, width]`, `B [width, rank]`, scale.
    changes: [(Tensor, Tensor, Tensor); 2],
}

impl Lora {
    pub(super) fn read(parameters: &Parameters, keys: BlockKeys) -> std::result::Result<Option<Self>, TrainError> {
        let [of_keys, of_values] = keys.lora();
        if !parameters.has(&of_keys.a) {
            return Ok(None);
        }
        let change = |LoraKeys { a, b, scale }: LoraKeys| {
            Ok::<_, TrainError>((parameters.get(&a)?, parameters.get(&b)?, parameters.get(&scale)?))
        };
        Ok(Some(Self { changes: [change(of_keys)?, change(of_values)?] }))
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
    pub(super) fn read(parameters: &Parameters, keys: BlockKeys) -> std::result::Result<Option<Self>, TrainError> {
        let keys = keys.prefix();
        if !parameters.has(&keys.key_tokens) {
            return Ok(None);
        }
        Ok(Some(Self {
            key_tokens: parameters.get(&keys.key_tokens)?,
            key_scale: parameters.get(&keys.key_scale)?,
            value_tokens: parameters.get(&keys.value_tokens)?,
            value_scale: parameters.get(&keys.value_scale)?,
            attention_scale: parameters.get(&keys.attention_scale)?,
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
    /// Reads an adapter and its factor; `None` where there is none.
    pub(super) fn read(parameters: &Parameters, keys: &AdapterKeys) -> std::result::Result<Option<Self>, TrainError> {
        let AdapterKeys { adapter, scale } = keys;
        if !parameters.has(scale) {
            return Ok(None);
        }
        Ok(Some(Self {
            down: Linear::read(parameters, &format!("{adapter}.down"))?,
            up: Linear::read(parameters, &format!("{adapter}.up"))?,
            scale: parameters.get(scale)?,
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
