//! Products with weights.

use super::Arithmetic;
use super::exponential::vectorized;
use super::product::{Destination, Matrix, multiply};
use super::slices::{of_storage, output, tensor, with_values};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

/// `x * weight^T + bias`.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `weight`: `[outputs, inputs]`, `bias`: `[outputs]`
/// - returns: `[rows, outputs]`
pub(crate) fn linear(arithmetic: Arithmetic, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if x.dim(1)? != weight.dim(1)? {
        candle_core::bail!("a product of {:?} and {:?}", x.dims(), weight.dims());
    }
    match arithmetic {
        Arithmetic::Composed { products } => {
            let product = x.to_dtype(products)?.matmul(&weight.to_dtype(products)?.t()?)?.to_dtype(x.dtype())?;
            bias.map_or(Ok(product.clone()), |bias| product.broadcast_add(bias))
        }
        Arithmetic::Fused => {
            let is_trained = weight.track_op() || bias.is_some_and(Tensor::track_op);
            let input_is_tracked = x.track_op();
            match bias {
                Some(bias) if is_trained => x.apply_op3(weight, bias, Trained { input_is_tracked }),
                None if is_trained => x.apply_op2(weight, Trained { input_is_tracked }),
                _ => x.apply_op1(Frozen { weight: weight.clone(), bias: bias.cloned() }),
            }
        }
    }
}

/// A product with weights that do not change: no gradient is computed for them.
struct Frozen {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = of_storage(storage, layout)?;
        let (rows, _) = layout.shape().dims2()?;
        let (outputs, inputs) = self.weight.dims2()?;
        let values = with_values(&self.weight, |weight| match &self.bias {
            Some(bias) => with_values(bias, |bias| Ok(forward(x, weight, Some(bias), (rows, inputs, outputs)))),
            None => Ok(forward(x, weight, None, (rows, inputs, outputs))),
        })?;
        output(values, (rows, outputs))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        input_gradient(gradient, &self.weight).map(Some)
    }
}

/// A product with weights that are trained.
struct Trained {
    input_is_tracked: bool,
}

impl Trained {
    fn gradients(&self, x: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = x.dim(0)?;
        let input = self.input_is_tracked.then(|| input_gradient(gradient, weight)).transpose()?;
        let values = with_values(x, |x| {
            with_values(gradient, |gradient| {
                let mut values = vec![0.0; outputs * inputs];
                let gradient = Matrix::new(gradient, rows, outputs).transposed();
                multiply(gradient, Matrix::new(x, rows, inputs), 1.0, Destination::new(&mut values, inputs));
                Ok(values)
            })
        })?;
        Ok((input, tensor(values, (outputs, inputs))?))
    }
}

impl CustomOp2 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, weight: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = lx.shape().dims2()?;
        let (outputs, inputs) = lw.shape().dims2()?;
        let values = forward(of_storage(x, lx)?, of_storage(weight, lw)?, None, (rows, inputs, outputs));
        output(values, (rows, outputs))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (input, weight) = self.gradients(x, weight, gradient)?;
        Ok((input, Some(weight)))
    }
}

impl CustomOp3 for Trained {
    fn name(&self) -> &'static str {
        "linear"
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
        let (rows, _) = x_layout.shape().dims2()?;
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let weight = of_storage(weight, weight_layout)?;
        let bias = of_storage(bias, bias_layout)?;
        let values = forward(of_storage(x, x_layout)?, weight, Some(bias), (rows, inputs, outputs));
        output(values, (rows, outputs))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (input, weight) = self.gradients(x, weight, gradient)?;
        let (_, outputs) = gradient.dims2()?;
        let bias = with_values(gradient, |gradient| Ok(column_sums(gradient, outputs)))?;
        Ok((input, Some(weight), Some(tensor(bias, outputs)?)))
    }
}

/// `sizes`: rows, inputs, outputs.
fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, sizes: (usize, usize, usize)) -> Vec<f32> {
    let (rows, inputs, outputs) = sizes;
    // The product is added to the bias that is already there.
    let mut values = bias.map_or_else(|| vec![0.0; rows * outputs], |bias| bias.repeat(rows));
    let adds = bias.is_some();
    let weight = Matrix::new(weight, outputs, inputs).transposed();
    let out = Destination { values: &mut values, row_stride: outputs, adds };
    multiply(Matrix::new(x, rows, inputs), weight, 1.0, out);
    values
}

fn input_gradient(gradient: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, outputs) = gradient.dims2()?;
    let (_, inputs) = weight.dims2()?;
    let values = with_values(gradient, |gradient| {
        with_values(weight, |weight| {
            let mut values = vec![0.0; rows * inputs];
            let weight = Matrix::new(weight, outputs, inputs);
            multiply(Matrix::new(gradient, rows, outputs), weight, 1.0, Destination::new(&mut values, inputs));
            Ok(values)
        })
    })?;
    tensor(values, (rows, inputs))
}

/// Sums over the rows.
pub(super) fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    vectorized(|| {
        for row in values.chunks_exact(columns) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    });
    sums
}
