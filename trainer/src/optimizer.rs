//! Adam, step by step as in PyTorch.

use crate::TrainError;
use crate::parameters::Parameters;
use crate::recipe::OptimizerSettings;
use candle_core::Tensor;
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Means of gradients of one tensor.
#[derive(Debug, Clone, Default)]
struct Moments {
    mean: Vec<f32>,
    mean_square: Vec<f32>,
}

/// Adam with weight decay added to the gradient, and other rates for biases. Its state is in main memory whatever the
/// device: what the methods train is small beside the towers.
#[derive(Debug)]
pub(crate) struct Adam {
    settings: OptimizerSettings,
    moments: BTreeMap<String, Moments>,
    steps: u64,
}

/// Names of the two moments in a saved state.
const MEAN: &str = "adam.mean.";
const MEAN_SQUARE: &str = "adam.mean_square.";

impl Adam {
    pub(crate) fn new(settings: OptimizerSettings) -> Self {
        Self { settings, moments: BTreeMap::new(), steps: 0 }
    }

    /// Moves every trained tensor that has a gradient.
    ///
    /// - `learning_rate`: of this step, before the factor of biases
    /// - `scale`: every gradient is multiplied by it first (clipping)
    pub(crate) fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &BTreeMap<String, Tensor>,
        learning_rate: f64,
        scale: f32,
    ) -> Result<(), TrainError> {
        self.steps += 1;
        let settings = &self.settings;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let mean_correction = 1.0 - settings.beta1.powi(steps);
        let square_correction = (1.0 - settings.beta2.powi(steps)).sqrt();
        for (name, variable) in parameters.trained() {
            let Some(gradient) = gradients.get(name) else { continue };
            let is_bias = name.contains("bias");
            let rate = learning_rate * if is_bias { settings.bias_learning_rate_factor } else { 1.0 };
            let decay = if is_bias { settings.weight_decay_bias } else { settings.weight_decay } as f32;
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            let mut values = variable.flatten_all()?.to_vec1::<f32>()?;
            let moments = self.moments.entry(name.clone()).or_default();
            moments.mean.resize(values.len(), 0.0);
            moments.mean_square.resize(values.len(), 0.0);
            let (beta1, beta2) = (settings.beta1 as f32, settings.beta2 as f32);
            let step_size = (rate / mean_correction) as f32;
            let (square_correction, epsilon) = (square_correction as f32, settings.epsilon as f32);
            let state = moments.mean.iter_mut().zip(&mut moments.mean_square);
            for ((value, gradient), (mean, mean_square)) in values.iter_mut().zip(gradient).zip(state) {
                let gradient = gradient * scale + decay * *value;
                *mean = beta1 * *mean + (1.0 - beta1) * gradient;
                *mean_square = beta2 * *mean_square + (1.0 - beta2) * gradient * gradient;
                *value -= step_size * *mean / (mean_square.sqrt() / square_correction + epsilon);
            }
            variable.set(&Tensor::from_vec(values, variable.dims(), parameters.device())?)?;
        }
        Ok(())
    }

    /// How many steps were made.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The moments as named tensors, for saving.
    pub(crate) fn state(&self) -> BTreeMap<String, ArrayD<f32>> {
        let mut state = BTreeMap::new();
        for (name, moments) in &self.moments {
            let array = |values: &Vec<f32>| ndarray::Array1::from(values.clone()).into_dyn();
            state.insert(format!("{MEAN}{name}"), array(&moments.mean));
            state.insert(format!("{MEAN_SQUARE}{name}"), array(&moments.mean_square));
        }
        state
    }

    /// Takes back what [`Adam::state`] gave; other tensors are ignored.
    pub(crate) fn restore(&mut self, steps: u64, state: &BTreeMap<String, ArrayD<f32>>) {
        self.steps = steps;
        self.moments.clear();
        for (key, values) in state {
            let values = || values.iter().copied().collect();
            if let Some(name) = key.strip_prefix(MEAN_SQUARE) {
                self.moments.entry(name.to_owned()).or_default().mean_square = values();
            } else if let Some(name) = key.strip_prefix(MEAN) {
                self.moments.entry(name.to_owned()).or_default().mean = values();
            }
        }
    }
}

/// Length of all gradients together.
pub(crate) fn gradient_norm(gradients: &BTreeMap<String, Tensor>) -> Result<f64, TrainError> {
    let mut squares = 0.0;
    for gradient in gradients.values() {
        let values = gradient.flatten_all()?.to_vec1::<f32>()?;
        squares += values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
    }
    Ok(squares.sqrt())
}
