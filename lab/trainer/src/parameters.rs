//! All tensors of a model under their published names, and which of them are trained.

use crate::TrainError;
use candle_core::{Device, Tensor, Var};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// The tensors of a model. Names are the published ones without the wrapper's `base_model.`.
#[derive(Debug)]
pub(crate) struct Parameters {
    device: Device,
    frozen: BTreeMap<String, Tensor>,
    trained: BTreeMap<String, Var>,
}

impl Parameters {
    pub(crate) fn new(device: Device) -> Self {
        Self { device, frozen: BTreeMap::new(), trained: BTreeMap::new() }
    }

    /// Where they are.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Adds a tensor that stays as it is.
    pub(crate) fn add_frozen(&mut self, name: String, values: &ArrayD<f32>) -> Result<(), TrainError> {
        let tensor = self.tensor(values)?;
        self.frozen.insert(name, tensor);
        Ok(())
    }

    /// Adds a tensor that is trained.
    pub(crate) fn add_trained(&mut self, name: String, values: &ArrayD<f32>) -> Result<(), TrainError> {
        let variable = Var::from_tensor(&self.tensor(values)?)?;
        self.trained.insert(name, variable);
        Ok(())
    }

    /// Replaces the values of a trained tensor where it is, so that towers that were read before see them.
    pub(crate) fn set_trained(&self, name: &str, values: &ArrayD<f32>) -> Result<(), TrainError> {
        let fault = |reason: String| TrainError::Tensor { key: name.to_owned(), reason };
        let variable = self.trained.get(name).ok_or_else(|| fault("it is not trained".to_owned()))?;
        if variable.elem_count() != values.len() {
            return Err(fault(format!("it has {} values, not {}", variable.elem_count(), values.len())));
        }
        Ok(variable.set(&self.tensor(values)?.reshape(variable.shape())?)?)
    }

    fn tensor(&self, values: &ArrayD<f32>) -> Result<Tensor, TrainError> {
        let flat: Vec<f32> = values.iter().copied().collect();
        Ok(Tensor::from_vec(flat, values.shape(), &self.device)?)
    }

    /// The tensor of that name; a trained one is part of the gradient's graph.
    ///
    /// # Errors
    /// [`TrainError::Tensor`] when there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Tensor, TrainError> {
        let trained = self.trained.get(name).map(|variable| variable.as_tensor().clone());
        trained
            .or_else(|| self.frozen.get(name).cloned())
            .ok_or_else(|| TrainError::Tensor { key: name.to_owned(), reason: "it is missing".to_owned() })
    }

    /// Whether there is a tensor of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.trained.contains_key(name) || self.frozen.contains_key(name)
    }

    /// What is trained, in the order of the names.
    pub(crate) fn trained(&self) -> &BTreeMap<String, Var> {
        &self.trained
    }

    /// The same values without anything trained: nothing computed from them keeps what a gradient would need.
    pub(crate) fn detached(&self) -> Self {
        let trained = self.trained.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().detach()));
        let frozen = self.frozen.clone().into_iter().chain(trained).collect();
        Self { device: self.device.clone(), frozen, trained: BTreeMap::new() }
    }

    /// How many values are trained, and how many there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let trained: usize = self.trained.values().map(|variable| variable.elem_count()).sum();
        let frozen: usize = self.frozen.values().map(Tensor::elem_count).sum();
        (trained, trained + frozen)
    }

    /// Values of all tensors.
    pub(crate) fn values(&self) -> Result<BTreeMap<String, ArrayD<f32>>, TrainError> {
        let frozen = self.frozen.iter().map(|(name, tensor)| Ok((name.clone(), array(tensor)?)));
        frozen.chain(self.trained.iter().map(|(name, variable)| Ok((name.clone(), array(variable)?)))).collect()
    }

    /// Values of what is trained.
    pub(crate) fn trained_values(&self) -> Result<BTreeMap<String, ArrayD<f32>>, TrainError> {
        self.trained.iter().map(|(name, variable)| Ok((name.clone(), array(variable)?))).collect()
    }
}

/// The tensor of a saved state that has this name and number of values. The error is the reason, for the caller to say
/// what to do.
pub(crate) fn saved<'a>(
    state: &'a BTreeMap<String, ArrayD<f32>>,
    name: &str,
    values: usize,
) -> Result<&'a ArrayD<f32>, String> {
    match state.get(name) {
        Some(tensor) if tensor.len() == values => Ok(tensor),
        Some(tensor) => Err(format!("`{name}` has {} values, expected {values}", tensor.len())),
        None => Err(format!("it has no `{name}`")),
    }
}

/// The values of a tensor, wherever it is.
fn array(tensor: &Tensor) -> Result<ArrayD<f32>, TrainError> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    ArrayD::from_shape_vec(tensor.dims(), values)
        .map_err(|error| TrainError::Computation(candle_core::Error::Msg(error.to_string())))
}
