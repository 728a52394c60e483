//! A state dict that is read tensor by tensor, each with the shape it must have.

use crate::ExportError;
use crate::tower::{LayerNorm, Linear};
use ndarray::{Array, Array1, Array2, ArrayD, Dimension};
use std::collections::{BTreeMap, BTreeSet};

/// What was read from a state dict, so that what was not can be reported.
pub(crate) struct Tensors<'a> {
    all: &'a BTreeMap<String, ArrayD<f32>>,
    read: BTreeSet<&'a str>,
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(all: &'a BTreeMap<String, ArrayD<f32>>) -> Self {
        Self { all, read: BTreeSet::new() }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.all.keys().map(String::as_str)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.all.contains_key(key)
    }

    /// The sizes of a tensor that must exist with a known number of dimensions.
    pub(crate) fn shape<const RANK: usize>(&self, key: &str, expected: &str) -> Result<[usize; RANK], ExportError> {
        let (_, tensor) = self.find(key, expected)?;
        tensor.shape().try_into().map_err(|_| wrong_shape(key, tensor, expected))
    }

    /// A tensor of exactly this shape.
    pub(crate) fn take<D: Dimension>(&mut self, key: &str, shape: D) -> Result<Array<f32, D>, ExportError> {
        let expected = format!("shape {:?}", shape.slice());
        let (stored_key, tensor) = self.find(key, &expected)?;
        self.read.insert(stored_key);
        if tensor.shape() != shape.slice() {
            return Err(wrong_shape(key, tensor, &expected));
        }
        tensor.clone().into_dimensionality::<D>().map_err(|_| wrong_shape(key, tensor, &expected))
    }

    pub(crate) fn vector(&mut self, key: &str, length: usize) -> Result<Array1<f32>, ExportError> {
        self.take(key, ndarray::Ix1(length))
    }

    pub(crate) fn matrix(&mut self, key: &str, rows: usize, columns: usize) -> Result<Array2<f32>, ExportError> {
        self.take(key, ndarray::Ix2(rows, columns))
    }

    /// One number, stored with any number of dimensions.
    pub(crate) fn scalar(&mut self, key: &str) -> Result<f32, ExportError> {
        let (stored_key, tensor) = self.find(key, "one number")?;
        self.read.insert(stored_key);
        match (tensor.len(), tensor.iter().next()) {
            (1, Some(&value)) => Ok(value),
            _ => Err(wrong_shape(key, tensor, "one number")),
        }
    }

    /// PyTorch's `Linear`: `{key}.weight` `[out, in]` and `{key}.bias` `[out]`.
    pub(crate) fn linear(&mut self, key: &str, inputs: usize, outputs: usize) -> Result<Linear, ExportError> {
        let weight = self.matrix(&format!("{key}.weight"), outputs, inputs)?.reversed_axes();
        let bias = self.vector(&format!("{key}.bias"), outputs)?;
        Ok(Linear { weight: weight.as_standard_layout().into_owned(), bias })
    }

    pub(crate) fn layer_norm(&mut self, key: &str, width: usize) -> Result<LayerNorm, ExportError> {
        let weight = self.vector(&format!("{key}.weight"), width)?;
        let bias = self.vector(&format!("{key}.bias"), width)?;
        Ok(LayerNorm { weight, bias })
    }

    /// Keys that nothing read and that `is_expected` does not know either.
    pub(crate) fn unread(&self, is_expected: impl Fn(&str) -> bool) -> Vec<String> {
        self.all.keys().filter(|key| !self.read.contains(key.as_str()) && !is_expected(key)).cloned().collect()
    }

    fn find(&self, key: &str, expected: &str) -> Result<(&'a str, &'a ArrayD<f32>), ExportError> {
        self.all
            .get_key_value(key)
            .map(|(key, tensor)| (key.as_str(), tensor))
            .ok_or_else(|| ExportError::MissingTensor { key: key.to_owned(), expected: expected.to_owned() })
    }
}

fn wrong_shape(key: &str, tensor: &ArrayD<f32>, expected: &str) -> ExportError {
    ExportError::WrongShape { key: key.to_owned(), found: tensor.shape().to_vec(), expected: expected.to_owned() }
}
