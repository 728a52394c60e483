//! Nodes and constants, in the order they are added: same towers, same bytes.

use super::graph_form::GraphForm;
use super::proto::attribute_proto::AttributeType;
use super::proto::tensor_proto::DataType;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use crate::ExportError;
use crate::tower::LayerNorm;
use descry_model::method::clip::LAYER_NORM_EPSILON;
use ndarray::{ArrayBase, Data, Dimension as ArrayDimension};
use prost::Message as _;
use std::collections::BTreeMap;

/// Version 8 of the format goes with operator set 17, the first with `LayerNormalization`.
const IR_VERSION: i64 = 8;
const OPSET_VERSION: i64 = 17;
/// The form in which this crate writes graphs, stored as their `producer_version`: graphs are part of the fingerprint, so
/// the program's own version must not be in them. It reads like one because version 0.1.0 wrote its own there; graphs
/// that were made by it keep their fingerprints. Change it only where the same weights shall be another model.
const GRAPH_FORMAT: &str = "0.1.0";
/// ONNX Runtime's own operators.
const CONTRIB_DOMAIN: &str = "com.microsoft";

/// The name of a value in the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value(String);

/// An operator's attribute.
pub(super) enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
}

/// An input or output dimension.
pub(super) enum Size {
    Fixed(usize),
    Dynamic(&'static str),
}

/// A graph under construction.
pub(super) struct GraphBuilder<'a> {
    form: GraphForm<'a>,
    /// What was derived from a value once and is used again, such as its 8-bit form: by purpose and value.
    derived: BTreeMap<(&'static str, Value), Value>,
    /// Products without a calibrated range.
    missing_ranges: Vec<String>,
    /// How much each expert got to do, `[1, experts]` for each layer.
    routing: Vec<(Value, usize)>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
}

impl<'a> GraphBuilder<'a> {
    pub(super) fn new(form: GraphForm<'a>) -> Self {
        let (derived, nodes, constants) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self {
            form,
            derived,
            missing_ranges: Vec::new(),
            routing: Vec::new(),
            nodes,
            constants,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Remembers a product for which the calibration gave no range; the graph will not be finished.
    pub(super) fn miss_range(&mut self, name: &str) {
        self.missing_ranges.push(name.to_owned());
    }

    /// Keeps a layer's routing sums, `[1, experts]`, for [`GraphBuilder::take_routing`].
    pub(super) fn add_routing(&mut self, sums: Value, experts: usize) {
        self.routing.push((sums, experts));
    }

    /// All layers' routing sums.
    pub(super) fn take_routing(&mut self) -> Vec<(Value, usize)> {
        std::mem::take(&mut self.routing)
    }

    /// A vector of whole numbers that may be asked for by the same name again.
    pub(super) fn shared_ints(&mut self, name: &str, values: &[i64]) -> Value {
        if self.constants.iter().any(|constant| constant.name == name) {
            Value(name.to_owned())
        } else {
            self.ints(name, values)
        }
    }

    /// The form in which the graph is written.
    pub(super) fn form(&self) -> GraphForm<'a> {
        self.form
    }

    /// What `derive` makes of a value for a purpose, made at the first call only.
    pub(super) fn once(&mut self, purpose: &'static str, x: &Value, derive: impl FnOnce(&mut Self) -> Value) -> Value {
        let key = (purpose, x.clone());
        if let Some(known) = self.derived.get(&key) {
            return known.clone();
        }
        let value = derive(self);
        self.derived.insert(key, value.clone());
        value
    }

    pub(super) fn input(&mut self, name: &str, element: DataType, sizes: &[Size]) -> Value {
        self.inputs.push(value_info(name, element, sizes));
        Value(name.to_owned())
    }

    /// Declares a value, named by [`GraphBuilder::named`], as the graph's result.
    pub(super) fn output(&mut self, value: &Value, sizes: &[Size]) {
        self.outputs.push(value_info(&value.0, DataType::Float, sizes));
    }

    /// A float32 constant.
    pub(super) fn floats<S, D>(&mut self, name: &str, array: &ArrayBase<S, D>) -> Value
    where
        S: Data<Elem = f32>,
        D: ArrayDimension,
    {
        let shape: Vec<usize> = array.shape().to_vec();
        let bytes = array.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Float, &shape, bytes)
    }

    /// A vector of whole numbers: shapes, axes, positions.
    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, &[values.len()], bytes)
    }

    /// A scalar that may be asked for by the same name again.
    pub(super) fn shared_constant(&mut self, name: &str, element: DataType, raw_data: Vec<u8>) -> Value {
        if self.constants.iter().any(|constant| constant.name == name) {
            return Value(name.to_owned());
        }
        self.constant(name, element, &[], raw_data)
    }

    /// A constant of any number format, its values little-endian.
    pub(super) fn constant(&mut self, name: &str, element: DataType, shape: &[usize], raw_data: Vec<u8>) -> Value {
        self.constants.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: element.into(),
            name: name.to_owned(),
            raw_data,
        });
        Value(name.to_owned())
    }

    /// A standard operator with one output.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&Value]) -> Value {
        self.node_with(operator, inputs, Vec::new())
    }

    /// A standard operator with attributes and one output.
    pub(super) fn node_with(&mut self, operator: &str, inputs: &[&Value], attributes: Vec<(&str, Attribute)>) -> Value {
        let inputs = inputs.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        let [value] = self.add(operator, "", &inputs, attributes, None);
        value
    }

    /// One of ONNX Runtime's own operators; `None` leaves an optional input out.
    pub(super) fn contrib(
        &mut self,
        operator: &str,
        inputs: &[Option<&Value>],
        attributes: Vec<(&str, Attribute)>,
    ) -> Value {
        let [value] = self.add(operator, CONTRIB_DOMAIN, inputs, attributes, None);
        value
    }

    /// The `k` largest values of the last axis and their positions.
    pub(super) fn top_k(&mut self, input: &Value, k: &Value) -> [Value; 2] {
        self.add("TopK", "", &[Some(input), Some(k)], vec![("axis", Attribute::Int(-1))], None)
    }

    /// A standard operator whose output gets a name that the graph's users see.
    pub(super) fn named(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&Value],
        attributes: Vec<(&str, Attribute)>,
    ) -> Value {
        let inputs = inputs.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        let [value] = self.add(operator, "", &inputs, attributes, Some(name));
        value
    }

    fn add<const OUTPUTS: usize>(
        &mut self,
        operator: &str,
        domain: &str,
        inputs: &[Option<&Value>],
        attributes: Vec<(&str, Attribute)>,
        name: Option<&str>,
    ) -> [Value; OUTPUTS] {
        let node_name = format!("{operator}_{}", self.nodes.len());
        let outputs: [Value; OUTPUTS] = std::array::from_fn(|index| match name {
            Some(name) => Value(name.to_owned()),
            None if OUTPUTS == 1 => Value(format!("{node_name}_out")),
            None => Value(format!("{node_name}_out_{index}")),
        });
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|value| value.map(|value| value.0.clone()).unwrap_or_default()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            name: node_name,
            op_type: operator.to_owned(),
            attribute: attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: domain.to_owned(),
        });
        outputs
    }

    /// Layer normalisation of the last axis.
    pub(super) fn layer_norm(&mut self, name: &str, x: &Value, norm: &LayerNorm) -> Value {
        let weight = self.floats(&format!("{name}.weight"), &norm.weight);
        let bias = self.floats(&format!("{name}.bias"), &norm.bias);
        let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(LAYER_NORM_EPSILON as f32))];
        self.node_with("LayerNormalization", &[x, &weight, &bias], attributes)
    }

    /// One dimension of a value, as a vector of one number.
    pub(super) fn size_of(&mut self, x: &Value, axis: i64) -> Value {
        let attributes = vec![("start", Attribute::Int(axis)), ("end", Attribute::Int(axis + 1))];
        self.node_with("Shape", &[x], attributes)
    }

    /// The graph as the bytes of an `.onnx` file.
    ///
    /// # Errors
    /// [`ExportError::Setting`] naming a product without a calibrated range.
    pub(super) fn finish(self, graph_name: &str) -> Result<Vec<u8>, ExportError> {
        if let Some(name) = self.missing_ranges.first() {
            let reason = format!("no range for the input of {name}; calibrate on this very model");
            return Err(ExportError::Setting { name: "calibrate".to_owned(), reason });
        }
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "descry".to_owned(),
            producer_version: GRAPH_FORMAT.to_owned(),
            opset_import: vec![opset("", OPSET_VERSION), opset(CONTRIB_DOMAIN, 1)],
            graph: Some(GraphProto {
                name: graph_name.to_owned(),
                node: self.nodes,
                initializer: self.constants,
                input: self.inputs,
                output: self.outputs,
            }),
        };
        Ok(model.encode_to_vec())
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Float(number) => {
            attribute.f = number;
            attribute.set_type(AttributeType::Float);
        }
        Attribute::Int(number) => {
            attribute.i = number;
            attribute.set_type(AttributeType::Int);
        }
        Attribute::Ints(numbers) => {
            attribute.ints = numbers;
            attribute.set_type(AttributeType::Ints);
        }
    }
    attribute
}

fn value_info(name: &str, element: DataType, sizes: &[Size]) -> ValueInfoProto {
    let dimension = |size: &Size| Dimension {
        value: Some(match size {
            Size::Fixed(size) => dimension::Value::DimValue(*size as i64),
            Size::Dynamic(name) => dimension::Value::DimParam((*name).to_owned()),
        }),
    };
    let shape = TensorShapeProto { dim: sizes.iter().map(dimension).collect() };
    let tensor_type = type_proto::Tensor { elem_type: element.into(), shape: Some(shape) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
