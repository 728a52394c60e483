//! Both towers with the settings they are trained with.

use crate::TrainError;
use crate::operation::Arithmetic;
use crate::parameters::Parameters;
use crate::tower::{Encoded, TextBalance, TextTower, VisionInput, VisionTower};
use ndarray::{ArrayView2, ArrayView4};

/// What the towers need to know besides their tensors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelSettings {
    pub(crate) arithmetic: Arithmetic,
    /// Step between patches in pixels.
    pub(crate) stride_px: usize,
    /// Experts a token is sent to.
    pub(crate) top_k: usize,
    /// What counts for the load-balancing loss.
    pub(crate) balance: TextBalance,
}

/// A model that can be trained.
#[derive(Debug)]
pub(crate) struct Model {
    parameters: Parameters,
    settings: ModelSettings,
    trained: Towers,
}

/// Both towers over one set of tensors.
#[derive(Debug)]
struct Towers {
    vision: VisionTower,
    text: TextTower,
}

impl Towers {
    fn read(parameters: &Parameters, top_k: usize) -> Result<Self, TrainError> {
        Ok(Self { vision: VisionTower::read(parameters, top_k)?, text: TextTower::read(parameters, top_k)? })
    }
}

impl Model {
    /// # Errors
    /// [`TrainError::Tensor`] when a tensor is missing.
    pub(crate) fn new(parameters: Parameters, settings: ModelSettings) -> Result<Self, TrainError> {
        let trained = Towers::read(&parameters, settings.top_k)?;
        Ok(Self { parameters, settings, trained })
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Replaces the values of a trained tensor.
    ///
    /// # Errors
    /// [`TrainError::Tensor`] for a tensor that is not trained or of another shape.
    pub(crate) fn set_trained(&mut self, name: &str, values: &ndarray::ArrayD<f32>) -> Result<(), TrainError> {
        self.parameters.set_trained(name, values)
    }

    /// For training: the features carry what a gradient needs.
    pub(crate) fn encode_images(&self, pixels: ArrayView4<'_, f32>) -> Result<Encoded, TrainError> {
        let input = VisionInput {
            arithmetic: self.settings.arithmetic,
            stride_px: self.settings.stride_px,
            balances: self.settings.balance != TextBalance::None,
        };
        self.trained.vision.forward(pixels, input)
    }

    /// For training: the features carry what a gradient needs.
    pub(crate) fn encode_texts(&self, token_ids: ArrayView2<'_, i64>) -> Result<Encoded, TrainError> {
        self.trained.text.forward(self.settings.arithmetic, token_ids, self.settings.balance)
    }

    /// The same model with its present weights, for measuring only.
    pub(crate) fn fixed(&self) -> Result<FixedModel, TrainError> {
        let towers = Towers::read(&self.parameters.detached(), self.settings.top_k)?;
        Ok(FixedModel { towers, settings: self.settings })
    }
}

/// A model that is only asked.
#[derive(Debug)]
pub(crate) struct FixedModel {
    towers: Towers,
    settings: ModelSettings,
}

impl FixedModel {
    /// `[images, 3, height, width]` f32, normalised, to `[images, dimension]`, not of unit length.
    pub(crate) fn encode_images(&self, pixels: ArrayView4<'_, f32>) -> Result<candle_core::Tensor, TrainError> {
        let ModelSettings { arithmetic, stride_px, .. } = self.settings;
        let input = VisionInput { arithmetic, stride_px, balances: false };
        Ok(self.towers.vision.forward(pixels, input)?.features)
    }

    /// `[texts, tokens]`, right-padded with 0, to `[texts, dimension]`, not of unit length.
    pub(crate) fn encode_texts(&self, token_ids: ArrayView2<'_, i64>) -> Result<candle_core::Tensor, TrainError> {
        Ok(self.towers.text.forward(self.settings.arithmetic, token_ids, TextBalance::None)?.features)
    }
}
