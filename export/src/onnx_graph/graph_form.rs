//! In which form a tower is written: one description of the tower, several graphs.

use std::collections::BTreeMap;

pub(crate) use descry_model::Dialect;

/// The largest magnitude that each product's input took on a calibration set, by the product's name.
pub type ActivationRanges = BTreeMap<String, f32>;

/// How the products of activations with constant matrices are computed.
///
/// Routers, gates, layer norms and the products inside attention are float32 in every form: they are cheap, and a
/// quantised router sends tokens to other experts for nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Products<'a> {
    /// 32-bit floating point.
    Float32,
    /// 16-bit floating point; what comes in and goes out is float32.
    Float16,
    /// 8-bit whole numbers, as quantise-dequantise pairs around float products, which the runtime fuses. One scale a
    /// column for weights, one a tensor for activations, fixed in the graph: a row cannot feel its neighbours.
    Int8Static(&'a ActivationRanges),
    /// 8-bit whole numbers with one scale a column for weights and one a row for activations, found at run time.
    Int8PerRow,
}

/// The form of a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GraphForm<'a> {
    /// Which operators may be used.
    pub(crate) dialect: Dialect,
    /// How products with constant matrices are computed.
    pub(crate) products: Products<'a>,
    /// Leaves out everything that makes a tower cheap: all positions in the last block, experts one by one and masked.
    /// The baseline of measurements, and a second opinion.
    pub(crate) plain: bool,
    /// Adds an output for the range of each product's input, for calibration.
    pub(crate) observe: bool,
}

impl GraphForm<'_> {
    /// Float32 in a dialect.
    pub(crate) fn float32(dialect: Dialect) -> Self {
        Self { dialect, products: Products::Float32, plain: false, observe: false }
    }
}
