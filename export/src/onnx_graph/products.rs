//! Products of activations with constant matrices, in the form's number format.

use super::builder::{Attribute, GraphBuilder, Size, Value};
use super::graph_form::{ActivationRanges, Dialect, GraphForm, Products};
use super::proto::tensor_proto::DataType;
use crate::ExportError;
use crate::quantization::{ActivationScale, quantize_columns, quantize_rows};
use crate::tower::Linear;
use half::f16;
use ndarray::{Array1, Array2};

/// Name of a graph output that tells the range of a product's input.
pub const RANGE_PREFIX: &str = "range.";

impl GraphBuilder<'_> {
    /// `x · weight + bias` in the form's number format, both constants named after `name`.
    pub(super) fn linear(&mut self, name: &str, x: &Value, linear: &Linear) -> Value {
        let product = self.product(name, x, &linear.weight);
        self.add_bias(name, &product, &linear.bias)
    }

    /// `x · weight + bias` in float32, whatever the form: for routers, whose top-k must not flip.
    pub(super) fn linear_float32(&mut self, name: &str, x: &Value, linear: &Linear) -> Value {
        let weight = self.floats(&format!("{name}.weight"), &linear.weight);
        let product = self.node("MatMul", &[x, &weight]);
        self.add_bias(name, &product, &linear.bias)
    }

    fn add_bias(&mut self, name: &str, product: &Value, bias: &Array1<f32>) -> Value {
        let bias = self.floats(&format!("{name}.bias"), bias);
        self.node("Add", &[product, &bias])
    }

    /// `x · weight` in the form's number format; float32 in, float32 out.
    pub(super) fn product(&mut self, name: &str, x: &Value, weight: &Array2<f32>) -> Value {
        if self.form().observe {
            self.observe(name, x);
        }
        let weight_name = format!("{name}.weight");
        match self.form().products {
            Products::Float32 => {
                let weight = self.floats(&weight_name, weight);
                self.node("MatMul", &[x, &weight])
            }
            Products::Float16 => {
                let x = self.once("half", x, |graph| graph.cast(x, DataType::Float16));
                let weight = self.halves(&weight_name, weight);
                let product = self.node("MatMul", &[&x, &weight]);
                self.cast(&product, DataType::Float)
            }
            Products::Int8Static(ranges) => {
                let x = self.once("quantized", x, |graph| graph.quantize_static(name, x, ranges));
                let columns = quantize_columns(weight.view());
                let whole = self.bytes(&weight_name, &columns.values);
                let scale = self.floats(&format!("{weight_name}.scale"), &columns.scales);
                let attributes = vec![("axis", Attribute::Int(1))];
                let weight = self.node_with("DequantizeLinear", &[&whole, &scale], attributes);
                self.node("MatMul", &[&x, &weight])
            }
            Products::Int8PerRow => self.product_per_row(&weight_name, x, weight),
        }
    }

    fn quantize_static(&mut self, name: &str, x: &Value, ranges: &ActivationRanges) -> Value {
        let range = ranges.get(name).copied().filter(|range| range.is_finite()).unwrap_or_else(|| {
            self.miss_range(name);
            0.0
        });
        let scale = self.scalar(&format!("{name}.input.scale"), ActivationScale::of_range(range).0);
        let zero = self.byte_scalar("zero_point.i8", 0);
        let whole = self.node("QuantizeLinear", &[x, &scale, &zero]);
        self.node("DequantizeLinear", &[&whole, &scale, &zero])
    }

    /// Unsigned activations around 128 and signed weights: the pair of types whose product is fast in ONNX Runtime. CPUs
    /// without VNNI instructions may saturate in it; the start-up self-test tells.
    fn product_per_row(&mut self, weight_name: &str, x: &Value, weight: &Array2<f32>) -> Value {
        let zero = self.unsigned_byte_scalar("zero_point.u8", 128);
        let scale = self.once("row_scale", x, |graph| {
            let magnitudes = graph.node("Abs", &[x]);
            let attributes = vec![("axes", Attribute::Ints(vec![-1])), ("keepdims", Attribute::Int(1))];
            let range = graph.node_with("ReduceMax", &[&magnitudes], attributes);
            let step = graph.scalar("row_scale.step", 1.0 / ActivationScale::STEPS);
            let scale = graph.node("Mul", &[&range, &step]);
            // A row of zeros, as after ReLU, must not divide by zero.
            let least = graph.scalar("row_scale.least", ActivationScale::LEAST);
            graph.node("Max", &[&scale, &least])
        });
        let whole = self.once("row_quantized", x, |graph| {
            let steps = graph.node("Div", &[x, &scale]);
            let one = graph.scalar("row_scale.one", 1.0);
            graph.node("QuantizeLinear", &[&steps, &one, &zero])
        });
        let columns = quantize_columns(weight.view());
        let weight = self.bytes(weight_name, &columns.values);
        let column_scales = self.floats(&format!("{weight_name}.scale"), &columns.scales);
        let product = self.node("MatMulInteger", &[&whole, &weight, &zero]);
        let product = self.cast(&product, DataType::Float);
        let product = self.node("Mul", &[&product, &scale]);
        self.node("Mul", &[&product, &column_scales])
    }

    /// Rows of a table, chosen by `indices`. Below float32 the table is kept in 8 bits with one scale a row.
    pub(super) fn table_rows(&mut self, name: &str, table: &Array2<f32>, indices: &Value) -> Value {
        match self.form().products {
            Products::Float32 => {
                let table = self.floats(name, table);
                self.node("Gather", &[&table, indices])
            }
            Products::Float16 => {
                let table = self.halves(name, table);
                let rows = self.node("Gather", &[&table, indices]);
                self.cast(&rows, DataType::Float)
            }
            Products::Int8Static(_) | Products::Int8PerRow => {
                let rows = quantize_rows(table.view());
                let whole = self.bytes(name, &rows.values);
                let scales = self.floats(&format!("{name}.scale"), &rows.scales.insert_axis(ndarray::Axis(1)));
                let whole = self.node("Gather", &[&whole, indices]);
                let whole = self.cast(&whole, DataType::Float);
                let scales = self.node("Gather", &[&scales, indices]);
                self.node("Mul", &[&whole, &scales])
            }
        }
    }

    /// A conversion to another number format.
    pub(super) fn cast(&mut self, x: &Value, element: DataType) -> Value {
        self.node_with("Cast", &[x], vec![("to", Attribute::Int(i64::from(i32::from(element))))])
    }

    /// The largest magnitude of a product's input as a graph output; inputs shared by products are told once.
    fn observe(&mut self, name: &str, x: &Value) {
        self.once("observed", x, |graph| {
            let magnitudes = graph.node("Abs", &[x]);
            let attributes = vec![("keepdims", Attribute::Int(0))];
            let output = format!("{RANGE_PREFIX}{name}");
            let range = graph.named(&output, "ReduceMax", &[&magnitudes], attributes);
            graph.output(&range, &[] as &[Size]);
            range
        });
    }

    fn halves(&mut self, name: &str, array: &Array2<f32>) -> Value {
        let bytes = array.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
        self.constant(name, DataType::Float16, array.shape(), bytes)
    }

    fn bytes(&mut self, name: &str, array: &Array2<i8>) -> Value {
        let bytes = array.iter().map(|value| value.cast_unsigned()).collect();
        self.constant(name, DataType::Int8, array.shape(), bytes)
    }

    fn byte_scalar(&mut self, name: &str, value: i8) -> Value {
        self.shared_constant(name, DataType::Int8, vec![value.cast_unsigned()])
    }

    fn unsigned_byte_scalar(&mut self, name: &str, value: u8) -> Value {
        self.shared_constant(name, DataType::Uint8, vec![value])
    }

    /// A float32 scalar; the same name may be asked for again.
    pub(super) fn scalar(&mut self, name: &str, value: f32) -> Value {
        self.shared_constant(name, DataType::Float, value.to_le_bytes().to_vec())
    }
}

/// Writes a single product, to measure what a machine can do: `x` f32 `[rows, inner]` times a constant `[inner, columns]` → `y` f32 `[rows, columns]`.
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
