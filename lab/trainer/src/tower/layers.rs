//! The layers that every part of a tower is built of.

use crate::TrainError;
use crate::operation::{Arithmetic, layer_norm, linear};
use crate::parameters::Parameters;
use candle_core::Tensor;

/// Weight and bias of a product.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[outputs, inputs]`
    pub(crate) weight: Tensor,
    /// `[outputs]`
    pub(crate) bias: Tensor,
}

impl Linear {
    pub(crate) fn read(parameters: &Parameters, key: &str) -> Result<Self, TrainError> {
        Ok(Self { weight: parameters.get(&format!("{key}.weight"))?, bias: parameters.get(&format!("{key}.bias"))? })
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn forward(&self, arithmetic: Arithmetic, x: &Tensor) -> candle_core::Result<Tensor> {
        linear(arithmetic, x, &self.weight, Some(&self.bias))
    }
}

/// Weight and bias of a layer norm.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    pub(crate) fn read(parameters: &Parameters, key: &str) -> Result<Self, TrainError> {
        Ok(Self { weight: parameters.get(&format!("{key}.weight"))?, bias: parameters.get(&format!("{key}.bias"))? })
    }

    /// `[rows, width]` to the same.
    pub(crate) fn forward(&self, arithmetic: Arithmetic, x: &Tensor) -> candle_core::Result<Tensor> {
        layer_norm(arithmetic, x, &self.weight, &self.bias)
    }
}
