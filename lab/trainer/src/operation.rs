//! What the towers compute, each operation with its gradient.
//!
//! On the processor an operation is one pass over plain slices, fused so that no intermediate tensor is made, and its
//! gradient is computed for what is trained only: candle's own operators would also compute the gradients of frozen
//! weights, most of a step's work. On a GPU the same operation is composed of candle's operators, which differentiate
//! themselves. `tests.rs` holds one against the other.
//!
//! Activations are `[rows, width]` f32 throughout, a row a token; `rows` is `pairs * tokens`.

mod attention;
mod exponential;
mod layer_norm;
mod linear;
mod mixture;
mod pointwise;
mod product;
mod slices;
#[cfg(test)]
mod tests;

pub(crate) use attention::{AttentionShape, attention};
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::linear;
pub(crate) use mixture::{gate_hidden, probability_sums, route};
pub(crate) use pointwise::{quick_gelu, relu};

use candle_core::DType;

/// How operations are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// Fused passes on the processor, on the calling thread alone.
    Fused,
    /// Composed of candle's operators, on any device.
    Composed {
        /// Number format of the products; everything else is float32.
        products: DType,
    },
}
