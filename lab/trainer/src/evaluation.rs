//! How good a model is on a split.

use crate::TrainError;
use crate::batch_parts::{cut, on_threads};
use crate::data::EvaluationInputs;
use crate::model::{FixedModel, Model};
use candle_core::Tensor;
use descry_evaluation::{RetrievalMetrics, retrieval_metrics};
use ndarray::{Array2, ArrayView4, Axis, s};
use std::ops::Range;

/// Encodes all images and captions of a split and scores their ranking; `None` when it was cancelled, which is asked
/// before each batch.
///
/// # Errors
/// [`TrainError::Dataset`] for what cannot be scored, [`TrainError::Unreadable`] for an image, [`TrainError::Computation`].
pub(crate) fn evaluate(
    model: &Model,
    inputs: &EvaluationInputs,
    batch_size: usize,
    threads: usize,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Option<RetrievalMetrics>, TrainError> {
    let model = model.fixed()?;
    let mut images = Vec::new();
    for pixels in inputs.pixel_batches(batch_size)? {
        if is_cancelled() {
            return Ok(None);
        }
        images.extend(encode_images(&model, pixels?.view(), threads)?);
    }
    let token_ids = inputs.token_ids();
    let mut captions = Vec::new();
    for part in token_ids.axis_chunks_iter(Axis(0), batch_size) {
        if is_cancelled() {
            return Ok(None);
        }
        let texts = |range: &Range<usize>| model.encode_texts(part.slice(s![range.clone(), ..]));
        captions.extend(on_threads(threads, &cut(part.nrows(), part.nrows().div_ceil(threads)), texts)?);
    }
    let (captions, images) = (unit_rows(&captions)?, unit_rows(&images)?);
    let (described, shown) = (inputs.caption_identities(), inputs.image_identities());
    Ok(Some(retrieval_metrics(captions.view(), described, images.view(), shown)?))
}

fn encode_images(model: &FixedModel, pixels: ArrayView4<'_, f32>, threads: usize) -> Result<Vec<Tensor>, TrainError> {
    let images = |range: &Range<usize>| model.encode_images(pixels.slice(s![range.clone(), .., .., ..]));
    on_threads(threads, &cut(pixels.dim().0, pixels.dim().0.div_ceil(threads)), images)
}

/// Rows of all parts, of unit length.
fn unit_rows(parts: &[Tensor]) -> Result<Array2<f32>, TrainError> {
    let mut values = Vec::new();
    let mut dimension = 0;
    for part in parts {
        dimension = part.dim(1)?;
        values.extend(part.flatten_all()?.to_vec1::<f32>()?);
    }
    let rows = values.len() / dimension.max(1);
    let mut rows = Array2::from_shape_vec((rows, dimension), values)
        .map_err(|error| TrainError::Computation(candle_core::Error::Msg(error.to_string())))?;
    for mut row in rows.outer_iter_mut() {
        let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.mapv_inplace(|value| value / norm);
    }
    Ok(rows)
}
