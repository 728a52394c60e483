//! `.safetensors` files.

use super::named_tensors::{ElementType, NamedTensors, StoredTensor, is_read_as_whole_number};
use crate::ExportError;
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// The types that are read.
const FLOATS: &[(Dtype, ElementType)] = &[
    (Dtype::F64, ElementType::Float64),
    (Dtype::F32, ElementType::Float32),
    (Dtype::F16, ElementType::Float16),
    (Dtype::BF16, ElementType::BFloat16),
];
/// The one kind of whole numbers that is read.
const WHOLE_NUMBERS: (Dtype, ElementType) = (Dtype::I64, ElementType::Int64);
/// Types of counters, indices and masks, which are no weights.
const INTEGERS: &[Dtype] =
    &[Dtype::BOOL, Dtype::U8, Dtype::I8, Dtype::I16, Dtype::U16, Dtype::I32, Dtype::U32, Dtype::I64, Dtype::U64];

/// Reads the floating-point tensors of one file.
pub(super) fn read(path: &Path) -> Result<NamedTensors, ExportError> {
    let bytes = std::fs::read(path).map_err(|source| ExportError::Unreadable { path: path.to_owned(), source })?;
    let damaged =
        |entry: &str, reason: String| ExportError::Damaged { path: path.to_owned(), entry: entry.to_owned(), reason };
    // The crate holds every tensor's range against its shape and the file before giving out a slice.
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged("its header", error.to_string()))?;
    let mut named = NamedTensors::new();
    for (key, tensor) in file.iter() {
        let dtype = tensor.dtype();
        let whole_numbers = Some(&WHOLE_NUMBERS).filter(|_| is_read_as_whole_number(key));
        let known = FLOATS.iter().chain(whole_numbers).find(|&&(known, _)| known == dtype);
        if known.is_none() && INTEGERS.contains(&dtype) {
            continue;
        }
        let Some(&(_, element)) = known else {
            let reason = format!("tensor `{key}` is stored as {dtype:?}; convert it with .float() before saving");
            return Err(ExportError::Unsupported { path: path.to_owned(), reason });
        };
        let values = ArrayD::from_shape_vec(IxDyn(tensor.shape()), element.decode(tensor.data()))
            .map_err(|error| damaged(&format!("tensor `{key}`"), error.to_string()))?;
        named.insert(key.to_owned(), StoredTensor { element, values });
    }
    Ok(named)
}
