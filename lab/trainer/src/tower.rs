//! The two towers: batches to features.

mod block;
mod mixture;
mod parallel;
mod text;
mod vision;

pub(crate) use block::{FinalRows, Pass};
pub(crate) use mixture::RoutingLoad;
pub(crate) use text::{TextBalance, TextTower};
pub(crate) use vision::{VisionInput, VisionTower};

use crate::TrainError;
use crate::operation::{Arithmetic, layer_norm, linear};
use crate::parameters::Parameters;
use candle_core::Tensor;

/// Which tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Images.
    Vision,
    /// Captions.
    Text,
}

impl Side {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Vision, Self::Text];

    /// Published name of a block.
    pub(crate) fn block(self, layer: usize) -> String {
        match self {
            Self::Vision => format!("visual.transformer.resblocks.{layer}"),
            Self::Text => format!("transformer.resblocks.{layer}"),
        }
    }

    /// Published name of a block's LoRA.
    pub(crate) fn lora(self, layer: usize) -> String {
        match self {
            Self::Vision => format!("LORA_learner.lora_image.{layer}"),
            Self::Text => format!("LORA_learner.lora_text.{layer}"),
        }
    }

    /// Published name of a block's prefix.
    pub(crate) fn prefix(self, layer: usize) -> String {
        match self {
            Self::Vision => format!("vit_prefix_learner.vit_prefix.{layer}"),
            Self::Text => format!("text_prefix_learner.text_prefix.{layer}"),
        }
    }
}

/// What a tower makes of a part of a batch.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// `[pairs, dimension]`, not of unit length.
    pub(crate) features: Tensor,
    /// How evenly each block's experts were used; empty where no balance is asked for.
    pub(crate) loads: Vec<RoutingLoad>,
}

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
