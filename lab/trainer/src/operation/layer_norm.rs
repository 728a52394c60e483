//! Layer normalisation.

use super::Arithmetic;
use super::exponential::{sum, vectorized};
use super::slices::{of_storage, output, tensor, with_values};
use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, Layout, Result, Shape, Tensor};
use descry_model::method::clip::LAYER_NORM_EPSILON;

const EPSILON: f32 = LAYER_NORM_EPSILON as f32;

/// Each row to mean 0 and variance 1, times `weight`, plus `bias`.
///
/// # Shapes
/// - `x`: `[rows, width]`; `weight`, `bias`: `[width]`
/// - returns: `[rows, width]`
pub(crate) fn layer_norm(arithmetic: Arithmetic, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    match arithmetic {
        Arithmetic::Composed { .. } => {
            let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
            let normed = centered.broadcast_div(&(variance + f64::from(EPSILON))?.sqrt()?)?;
            normed.broadcast_mul(weight)?.broadcast_add(bias)
        }
        Arithmetic::Fused if weight.track_op() || bias.track_op() => {
            x.apply_op3(weight, bias, Trained { input_is_tracked: x.track_op() })
        }
        Arithmetic::Fused => x.apply_op1(Frozen { weight: weight.clone(), bias: bias.clone() }),
    }
}

struct Frozen {
    weight: Tensor,
    bias: Tensor,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = of_storage(storage, layout)?;
        let values = with_values(&self.weight, |weight| with_values(&self.bias, |bias| Ok(forward(x, weight, bias))))?;
        output(values, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        input_gradient(x, &self.weight, gradient).map(Some)
    }
}

struct Trained {
    input_is_tracked: bool,
}

impl CustomOp3 for Trained {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = of_storage(x, x_layout)?;
        let values = forward(x, of_storage(weight, weight_layout)?, of_storage(bias, bias_layout)?);
        output(values, x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let input = self.input_is_tracked.then(|| input_gradient(x, weight, gradient)).transpose()?;
        let (_, width) = x.dims2()?;
        let (weight, bias) =
            with_values(x, |x| with_values(gradient, |gradient| Ok(parameter_gradients(x, gradient, width))))?;
        Ok((input, Some(tensor(weight, width)?), Some(tensor(bias, width)?)))
    }
}

/// Mean, and one over the standard deviation.
#[inline(always)]
fn moments(row: &[f32]) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = sum(row.len(), |index| row[index]) / count;
    let variance = sum(row.len(), |index| (row[index] - mean) * (row[index] - mean)) / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

fn forward(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let width = weight.len();
    let mut values = vec![0.0; x.len()];
    vectorized(|| {
        for (row, out) in x.chunks_exact(width).zip(values.chunks_exact_mut(width)) {
            let (mean, scale) = moments(row);
            for (((out, &value), &weight), &bias) in out.iter_mut().zip(row).zip(weight).zip(bias) {
                *out = (value - mean) * scale * weight + bias;
            }
        }
    });
    values
}

fn input_gradient(x: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let values = with_values(x, |x| {
        with_values(weight, |weight| {
            with_values(gradient, |gradient| {
                let width = weight.len();
                let mut values = vec![0.0; x.len()];
                vectorized(|| {
                    let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
                    for ((row, gradient), out) in rows.zip(values.chunks_exact_mut(width)) {
                        input_gradient_row(row, weight, gradient, out);
                    }
                });
                Ok(values)
            })
        })
    })?;
    tensor(values, x.shape())
}

#[inline(always)]
fn input_gradient_row(row: &[f32], weight: &[f32], gradient: &[f32], out: &mut [f32]) {
    let width = out.len();
    let (row, weight, gradient) = (&row[..width], &weight[..width], &gradient[..width]);
    let (mean, scale) = moments(row);
    let count = width as f32;
    let mean_gradient = sum(width, |index| gradient[index] * weight[index]) / count;
    let mean_product = sum(width, |index| gradient[index] * weight[index] * (row[index] - mean) * scale) / count;
    for (index, out) in out.iter_mut().enumerate() {
        let normed = (row[index] - mean) * scale;
        *out = scale * (gradient[index] * weight[index] - mean_gradient - normed * mean_product);
    }
}

/// Gradients of weight and bias.
fn parameter_gradients(x: &[f32], gradient: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let mut weight = vec![0.0; width];
    let mut bias = vec![0.0; width];
    vectorized(|| {
        for (row, gradient) in x.chunks_exact(width).zip(gradient.chunks_exact(width)) {
            let (mean, scale) = moments(row);
            let sums = weight.iter_mut().zip(bias.iter_mut());
            for (((weight, bias), &value), &gradient) in sums.zip(row).zip(gradient) {
                *weight += gradient * (value - mean) * scale;
                *bias += gradient;
            }
        }
    });
    (weight, bias)
}
