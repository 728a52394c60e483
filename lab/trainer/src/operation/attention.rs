//! Multi-head attention with an optional learned prefix.

mod fused;
mod shape;

pub(crate) use shape::AttentionShape;

use super::Arithmetic;
use candle_core::{D, DType, Device, Result, Tensor};
use descry_model::method::clip::HEAD_WIDTH;
use fused::Attention;
use shape::score_scale;

/// Attention of all heads.
///
/// # Shapes
/// - `queries`: `[pairs * queries, width]`
/// - `keys_values`: `[pairs * tokens, 2 * width]`, keys before values
/// - `prefix`: `[length, 2 * width]`, keys and values that every query of every sequence sees besides
/// - returns: `[pairs * queries, width]`
pub(crate) fn attention(
    arithmetic: Arithmetic,
    queries: &Tensor,
    keys_values: &Tensor,
    prefix: Option<&Tensor>,
    shape: AttentionShape,
) -> Result<Tensor> {
    match (arithmetic, prefix) {
        (Arithmetic::Fused, None) => queries.apply_op2(keys_values, Attention::new(shape)),
        (Arithmetic::Fused, Some(prefix)) => queries.apply_op3(keys_values, prefix, Attention::new(shape)),
        (Arithmetic::Composed { products }, prefix) => composed(queries, keys_values, prefix, &shape, products),
    }
}

fn composed(
    queries: &Tensor,
    keys_values: &Tensor,
    prefix: Option<&Tensor>,
    shape: &AttentionShape,
    products: DType,
) -> Result<Tensor> {
    let (rows, width) = queries.dims2()?;
    let heads = width / HEAD_WIDTH;
    let count = shape.queries(rows);
    let by_head = |part: Tensor, tokens: usize| {
        part.reshape((shape.pairs, tokens, heads, HEAD_WIDTH))?.transpose(1, 2)?.contiguous()?.to_dtype(products)
    };
    let mut parts = keys_values.reshape((shape.pairs, shape.tokens, 2 * width))?;
    let mut length = 0;
    if let Some(prefix) = prefix {
        length = prefix.dim(0)?;
        let everyone = prefix.unsqueeze(0)?.broadcast_as((shape.pairs, length, 2 * width))?;
        parts = Tensor::cat(&[&everyone.contiguous()?, &parts], 1)?;
    }
    let tokens = length + shape.tokens;
    let keys = by_head(parts.narrow(2, 0, width)?.contiguous()?, tokens)?;
    let values = by_head(parts.narrow(2, width, width)?.contiguous()?, tokens)?;
    let queries = by_head(queries.clone(), count)?;
    let scores = (queries.matmul(&keys.t()?)?.to_dtype(DType::F32)? * f64::from(score_scale()))?;
    let scores = match mask(shape, count, length, scores.device())? {
        Some(mask) => scores.broadcast_add(&mask)?,
        None => scores,
    };
    let shifted = scores.broadcast_sub(&scores.detach().max_keepdim(D::Minus1)?)?.exp()?;
    let shares = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?;
    let out = shares.to_dtype(products)?.matmul(&values)?.to_dtype(DType::F32)?;
    out.transpose(1, 2)?.contiguous()?.reshape((rows, width))
}

/// What is added to the scores, `[pairs or 1, 1, queries, length + tokens]`: 0 where a query looks, else the lowest
/// number. Nothing where every query sees all.
///
/// Only the numbers of visible tokens cross to the device, not the mask.
fn mask(shape: &AttentionShape, count: usize, length: usize, device: &Device) -> Result<Option<Tensor>> {
    if shape.visible.iter().all(|&visible| visible >= shape.tokens) {
        return Ok(None);
    }
    let seen: Vec<f32> = shape.visible.iter().map(|&visible| (length + visible) as f32).collect();
    let seen = Tensor::from_vec(seen, (shape.visible.len() / count.max(1), 1, count, 1), device)?;
    let places = Tensor::arange(0.0, (length + shape.tokens) as f32, device)?.reshape((1, 1, 1, ()))?;
    let is_visible = places.broadcast_lt(&seen)?.to_dtype(DType::F32)?;
    let lowest = f64::from(f32::MAX);
    is_visible.affine(lowest, -lowest).map(Some)
}
