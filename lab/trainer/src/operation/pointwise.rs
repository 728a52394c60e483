//! Activation functions.

use super::Arithmetic;
use super::exponential::{sigmoid, vectorized};
use super::slices::{of_storage, output, tensor, with_values};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use descry_model::method::clip::QUICK_GELU_STEEPNESS;

/// CLIP's approximation of GELU, `x * sigmoid(1.702 x)`.
pub(crate) fn quick_gelu(arithmetic: Arithmetic, x: &Tensor) -> Result<Tensor> {
    match arithmetic {
        Arithmetic::Fused => x.apply_op1(Activation::QuickGelu),
        Arithmetic::Composed { .. } => {
            // Without the bound the exponential of a very negative value is infinite, and its gradient no number.
            let negative = (x * -f64::from(QUICK_GELU_STEEPNESS))?.minimum(80.0)?;
            x.mul(&(negative.exp()? + 1.0)?.recip()?)
        }
    }
}

/// `max(x, 0)`.
pub(crate) fn relu(arithmetic: Arithmetic, x: &Tensor) -> Result<Tensor> {
    match arithmetic {
        Arithmetic::Fused => x.apply_op1(Activation::Relu),
        Arithmetic::Composed { .. } => x.relu(),
    }
}

#[derive(Debug, Clone, Copy)]
enum Activation {
    QuickGelu,
    Relu,
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::QuickGelu => "quick-gelu",
            Self::Relu => "relu",
        }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = of_storage(storage, layout)?;
        let mut y = vec![0.0; x.len()];
        match self {
            Self::QuickGelu => vectorized(|| {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x * sigmoid(QUICK_GELU_STEEPNESS * x);
                }
            }),
            Self::Relu => vectorized(|| {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = if x > 0.0 { x } else { 0.0 };
                }
            }),
        }
        output(y, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let values = with_values(x, |x| {
            with_values(gradient, |gradient| {
                let mut result = vec![0.0; x.len()];
                match self {
                    Self::QuickGelu => vectorized(|| {
                        for ((result, &x), &gradient) in result.iter_mut().zip(x).zip(gradient) {
                            let share = sigmoid(QUICK_GELU_STEEPNESS * x);
                            *result = gradient * (share + QUICK_GELU_STEEPNESS * x * share * (1.0 - share));
                        }
                    }),
                    Self::Relu => vectorized(|| {
                        for ((result, &x), &gradient) in result.iter_mut().zip(x).zip(gradient) {
                            *result = if x > 0.0 { gradient } else { 0.0 };
                        }
                    }),
                }
                Ok(result)
            })
        })?;
        tensor(values, x.shape()).map(Some)
    }
}
