//! A single matrix product, to measure what a machine can do.

use super::builder::{GraphBuilder, Size};
use super::form::{Dialect, GraphForm};
use super::proto::tensor_proto::DataType;
use crate::ExportError;
use ndarray::Array2;

/// Writes `x` f32 `[rows, inner]` times a constant `[inner, columns]` → `y` f32 `[rows, columns]`.
///
/// # Errors
/// None: only calibrated graphs can lack something.
pub fn matrix_product_graph(rows: usize, inner: usize, columns: usize) -> Result<Vec<u8>, ExportError> {
    let mut graph = GraphBuilder::new(GraphForm::float32(Dialect::Standard));
    let x = graph.input("x", DataType::Float, &[Size::Fixed(rows), Size::Fixed(inner)]);
    // Any values, but not equal ones: zeros are faster on some machines.
    let weight = Array2::from_shape_fn((inner, columns), |(row, column)| ((row * 7 + column * 3) % 11) as f32 - 5.0);
    let weight = graph.floats("weight", &weight);
    let y = graph.named("y", "MatMul", &[&x, &weight], Vec::new());
    graph.output(&y, &[Size::Fixed(rows), Size::Fixed(columns)]);
    graph.finish("matrix_product")
}
