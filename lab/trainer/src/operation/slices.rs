//! Tensors on the processor as plain slices, and back.

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor};

/// The values of an argument of an operator.
pub(super) fn of_storage<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg("an operator was given a tensor that is not contiguous".to_owned()))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Calls `read` with the values of a contiguous tensor on the processor.
pub(super) fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => read(of_storage(storage, layout)?),
        Storage::Cuda(_) | Storage::Metal(_) => {
            Err(candle_core::Error::Msg("a fused operation was given a tensor that is not on the processor".to_owned()))
        }
    }
}

/// What an operator's forward pass returns.
pub(super) fn output(values: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(values), shape.into()))
}

/// A tensor on the processor.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    let shape: Shape = shape.into();
    Tensor::from_vec(values, shape, &Device::Cpu)
}
