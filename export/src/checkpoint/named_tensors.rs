//! Tensors as a file holds them, converted to float32, and from the names in the file to those of the published models.

use super::wrapping::Wrapping;
use crate::ExportError;
use descry_model::method::clip::IMAGE_SIDE;
use half::{bf16, f16};
use ndarray::ArrayD;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// Last parts of names that are no weights: constants which some scripts register as buffers (masks hold -infinity).
const CONSTANTS: [&str; 3] = ["attn_mask", "position_ids", "num_batches_tracked"];

/// How a checkpoint stores the numbers of a tensor. All are converted to float32 when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// 8 bytes; rounded when read.
    Float64,
    /// 4 bytes.
    Float32,
    /// 2 bytes, IEEE half precision.
    Float16,
    /// 2 bytes, the upper half of a float32.
    BFloat16,
    /// 8 bytes, whole numbers: of the side of the images in OpenAI's archives alone. Other whole numbers are no weights.
    Int64,
}

/// Whether a tensor of whole numbers is read, by its name in the file.
pub(super) fn is_read_as_whole_number(key: &str) -> bool {
    key == IMAGE_SIDE
}

impl ElementType {
    /// Little-endian numbers to float32. Bytes after the last whole number are ignored.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Float64 => bytes.as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk) as f32).collect(),
            Self::Float32 => bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect(),
            Self::Float16 => bytes.as_chunks().0.iter().map(|&chunk| f16::from_le_bytes(chunk).to_f32()).collect(),
            Self::BFloat16 => bytes.as_chunks().0.iter().map(|&chunk| bf16::from_le_bytes(chunk).to_f32()).collect(),
            Self::Int64 => bytes.as_chunks().0.iter().map(|&chunk| i64::from_le_bytes(chunk) as f32).collect(),
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Float64 => "float64",
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
            Self::Int64 => "int64",
        })
    }
}

/// A tensor as its file holds it, converted to float32.
pub(super) struct StoredTensor {
    pub(super) element: ElementType,
    pub(super) values: ArrayD<f32>,
}

/// Tensors under the names the file gives them.
pub(super) type NamedTensors = BTreeMap<String, StoredTensor>;

/// Removes the wrappers' prefixes, drops constants and refuses values that are not finite.
///
/// # Errors
/// [`ExportError::DuplicateTensor`] when two names become one but their values differ; [`ExportError::SeveralModels`]; [`ExportError::NonFinite`].
pub(super) fn unwrap(tensors: NamedTensors) -> Result<NamedTensors, ExportError> {
    let wrapping = Wrapping::of(tensors.keys().map(String::as_str))?;
    let mut unwrapped = NamedTensors::new();
    let mut origins: BTreeMap<String, String> = BTreeMap::new();
    for (original, tensor) in tensors {
        let key = wrapping.remove(&original).to_owned();
        if key.rsplit('.').next().is_some_and(|last| CONSTANTS.contains(&last)) {
            continue;
        }
        check_finite(&key, &tensor)?;
        match unwrapped.entry(key) {
            Entry::Vacant(place) => {
                origins.insert(place.key().clone(), original);
                place.insert(tensor);
            }
            Entry::Occupied(place) if place.get().values == tensor.values => {}
            Entry::Occupied(place) => {
                let key = place.key().clone();
                let first = origins.get(&key).cloned().unwrap_or_default();
                return Err(ExportError::DuplicateTensor { key, first, second: original });
            }
        }
    }
    Ok(unwrapped)
}

fn check_finite(key: &str, tensor: &StoredTensor) -> Result<(), ExportError> {
    let count = tensor.values.iter().filter(|value| !value.is_finite()).count();
    if count > 0 {
        return Err(ExportError::NonFinite { key: key.to_owned(), count, total: tensor.values.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_decodes_the_same_numbers() {
        let numbers = [0.0f32, -1.5, 2.0, 0.15625];
        let cases: [(ElementType, Vec<u8>); 4] = [
            (ElementType::Float64, numbers.iter().flat_map(|&number| f64::from(number).to_le_bytes()).collect()),
            (ElementType::Float32, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
            (ElementType::Float16, numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect()),
            (ElementType::BFloat16, numbers.iter().flat_map(|&number| bf16::from_f32(number).to_le_bytes()).collect()),
        ];
        for (element, bytes) in cases {
            assert_eq!(element.decode(&bytes), numbers, "{element}");
        }
        assert_eq!(ElementType::Int64.decode(&224_i64.to_le_bytes()), [224.0]);
    }
}
