//! `.safetensors` files, written tensor by tensor: a run's state has several times the bytes of its model.

use super::durable_file;
use crate::TrainError;
use half::f16;
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, ArrayD<f32>>;

/// Values converted at once.
const CHUNK: usize = 1 << 14;

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// As they are.
    Float32,
    /// Rounded, for weights that are only used.
    Float16,
}

impl Element {
    fn dtype(self) -> Dtype {
        match self {
            Self::Float32 => Dtype::F32,
            Self::Float16 => Dtype::F16,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 => 2,
        }
    }

    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::Float32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Float16 => bytes.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
        }
    }
}

/// Writes tensors, each of them row-major, with `metadata` in the header.
pub(super) fn write(
    path: &Path,
    tensors: &Tensors,
    element: Element,
    metadata: HashMap<String, String>,
) -> Result<(), TrainError> {
    let unusable = |reason: String| TrainError::Unwritable { path: path.to_owned(), source: io::Error::other(reason) };
    let header = header(tensors, element, metadata).map_err(|error| unusable(error.to_string()))?;
    durable_file::write(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        tensors.values().try_for_each(|tensor| write_values(writer, tensor, element))
    })
}

fn header(tensors: &Tensors, element: Element, metadata: HashMap<String, String>) -> Result<Vec<u8>, SafeTensorError> {
    let mut infos = Vec::with_capacity(tensors.len());
    let mut start = 0;
    for (name, tensor) in tensors {
        let end = start + tensor.len() * element.bytes();
        let shape = tensor.shape().to_vec();
        infos.push((name.clone(), TensorInfo { dtype: element.dtype(), shape, data_offsets: (start, end) }));
        start = end;
    }
    let mut header = serde_json::to_vec(&Metadata::new(Some(metadata), infos)?)?;
    // As the crate's own writer does, so that readers that map the file find tensors aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn write_values(writer: &mut impl Write, tensor: &ArrayD<f32>, element: Element) -> io::Result<()> {
    let row_major = tensor.as_standard_layout();
    let values = row_major.as_slice().ok_or_else(|| io::Error::other("a tensor is not contiguous"))?;
    let mut bytes = Vec::with_capacity(CHUNK * element.bytes());
    for chunk in values.chunks(CHUNK) {
        bytes.clear();
        element.encode(chunk, &mut bytes);
        writer.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads a file of float32 tensors with its metadata. The error is the reason, for the caller to say what to do.
pub(super) fn read(path: &Path) -> Result<(HashMap<String, String>, Tensors), String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| error.to_string())?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
    let mut tensors = Tensors::new();
    for (name, tensor) in file.iter() {
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("tensor `{name:.80}` is stored as {:?}, expected F32", tensor.dtype()));
        }
        let (values, _) = tensor.data().as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(format!("tensor `{name:.80}` has values that are no finite numbers"));
        }
        let values = ArrayD::from_shape_vec(IxDyn(tensor.shape()), values).map_err(|error| error.to_string())?;
        tensors.insert(name.to_owned(), values);
    }
    Ok((metadata, tensors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, arr0};
    use proptest::prelude::*;

    fn metadata() -> HashMap<String, String> {
        HashMap::from([("format".to_owned(), "pt".to_owned())])
    }

    proptest! {
        #[test]
        fn float32_comes_back_exactly(
            values in prop::collection::vec(any::<f32>().prop_filter("finite", |value| value.is_finite()), 0..200),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.safetensors");
            let count = values.len() / 2;
            let matrix = Array2::from_shape_vec((2, count), values[..2 * count].to_vec()).unwrap();
            // A transposed tensor is not row-major in memory.
            let tensors = Tensors::from([
                ("matrix".to_owned(), matrix.clone().into_dyn()),
                ("transposed".to_owned(), matrix.reversed_axes().into_dyn()),
                ("scalar".to_owned(), arr0(-0.0).into_dyn()),
            ]);
            write(&path, &tensors, Element::Float32, metadata()).unwrap();
            prop_assert_eq!(read(&path).unwrap(), (metadata(), tensors));
        }
    }

    #[test]
    fn float16_is_rounded_and_not_read_back_as_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let tensors = Tensors::from([("a".to_owned(), arr0(0.1_f32).into_dyn())]);
        write(&path, &tensors, Element::Float16, metadata()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor("a").unwrap();
        assert_eq!((tensor.dtype(), tensor.data()), (Dtype::F16, &f16::from_f32(0.1).to_le_bytes()[..]));
        assert!(read(&path).unwrap_err().contains("F16"));
    }

    #[test]
    fn torn_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let tensors = Tensors::from([("a".to_owned(), Array2::ones((3, 4)).into_dyn())]);
        write(&path, &tensors, Element::Float32, metadata()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for kept in 0..whole.len() {
            std::fs::write(&path, &whole[..kept]).unwrap();
            assert!(read(&path).is_err(), "{kept} bytes");
        }
    }
}
