//! Adam, step by step as in PyTorch.

use crate::TrainError;
use crate::parameters::{Parameters, saved};
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
            // Of tensors without a gradient as well: a saved state has the means of all, so a missing one is noticed.
            let moments = self.moments.entry(name.clone()).or_default();
            moments.mean.resize(variable.elem_count(), 0.0);
            moments.mean_square.resize(variable.elem_count(), 0.0);
            let Some(gradient) = gradients.get(name) else { continue };
            let is_bias = name.contains("bias");
            let rate = learning_rate * if is_bias { settings.bias_learning_rate_factor } else { 1.0 };
            let decay = if is_bias { settings.weight_decay_bias } else { settings.weight_decay } as f32;
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            let mut values = variable.flatten_all()?.to_vec1::<f32>()?;
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

    /// Takes back what [`Adam::state`] gave after so many steps; other tensors are ignored. The error is the reason,
    /// for the caller to say what to do: with means that begin anew, Adam would go another way.
    pub(crate) fn restore(
        &mut self,
        steps: u64,
        state: &BTreeMap<String, ArrayD<f32>>,
        parameters: &Parameters,
    ) -> Result<(), String> {
        self.steps = steps;
        self.moments.clear();
        if steps == 0 {
            // The first step makes them.
            return Ok(());
        }
        for (name, variable) in parameters.trained() {
            let read = |start: &str| -> Result<Vec<f32>, String> {
                let values = saved(state, &format!("{start}{name}"), variable.elem_count())?;
                Ok(values.iter().copied().collect())
            };
            let moments = Moments { mean: read(MEAN)?, mean_square: read(MEAN_SQUARE)? };
            self.moments.insert(name.clone(), moments);
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn adam() -> Adam {
        Adam::new(OptimizerSettings {
            learning_rate: 0.1,
            bias_learning_rate_factor: 1.0,
            weight_decay: 0.0,
            weight_decay_bias: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            gradient_clip_norm: None,
        })
    }

    #[test]
    fn a_state_without_a_mean_is_refused() {
        let mut parameters = Parameters::new(Device::Cpu);
        parameters.add_trained("moved".to_owned(), &ArrayD::zeros(vec![2, 3])).unwrap();
        parameters.add_trained("still".to_owned(), &ArrayD::zeros(vec![4])).unwrap();
        let gradient = Tensor::ones((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let gradients = BTreeMap::from([("moved".to_owned(), gradient)]);
        let mut before = adam();
        before.step(&parameters, &gradients, 0.1, 1.0).unwrap();
        let state = before.state();
        assert_eq!(state.len(), 4);
        let mut after = adam();
        after.restore(1, &state, &parameters).unwrap();
        assert_eq!((after.steps(), after.state()), (1, state.clone()));
        for name in state.keys() {
            let mut damaged = state.clone();
            damaged.remove(name);
            assert!(adam().restore(1, &damaged, &parameters).unwrap_err().contains(name));
            damaged.insert(name.clone(), ArrayD::zeros(vec![5]));
            assert!(adam().restore(1, &damaged, &parameters).unwrap_err().contains("5 values"));
        }
        // Before the first step there are none.
        adam().restore(0, &BTreeMap::new(), &parameters).unwrap();
    }
}
