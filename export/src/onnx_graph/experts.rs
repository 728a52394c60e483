//! DM-Adapter's mixture of experts, without gathering or scattering tokens.

use super::builder::{Attribute, GraphBuilder, Size, Value};
use crate::tower::Experts;
use ndarray::{Axis, s};

/// Name of the output that tells how much each expert got to do.
const ROUTING: &str = "routing";

/// Writes the gated sum of the experts for `[batch, tokens, width]`, to the same.
///
/// `counted` tells which positions count in the routing shares, `[batch, tokens, 1]`; `None`: all do.
pub(super) fn write_experts(
    graph: &mut GraphBuilder<'_>,
    name: &str,
    x: &Value,
    experts: &Experts,
    counted: Option<&Value>,
) -> Value {
    let u = graph.layer_norm(&format!("{name}.ln_3"), x, &experts.norm);
    let logits = graph.linear_float32(&format!("{name}.router"), &u, &experts.router);
    let gates = write_gates(graph, name, &logits, experts);
    if graph.form().plain {
        return one_by_one(graph, name, &u, &gates, experts);
    }
    graph.note_routing(&gates, counted, experts.count());
    together(graph, name, &u, &gates, experts)
}

/// All experts' hidden units side by side, each multiplied by its expert's gate, which is 0 for experts that were not
/// chosen: two plain products, equal to running the chosen experts alone, for any batch.
fn together(graph: &mut GraphBuilder<'_>, name: &str, u: &Value, gates: &Value, experts: &Experts) -> Value {
    let (count, hidden_units) = (experts.count(), experts.hidden());
    let hidden = graph.linear(&format!("{name}.down"), u, &experts.down);
    let hidden = graph.node("Relu", &[&hidden]);
    let split =
        graph.shared_ints(&format!("experts.{count}.{hidden_units}.split"), &[0, 0, count as i64, hidden_units as i64]);
    let joined =
        graph.shared_ints(&format!("experts.{count}.{hidden_units}.joined"), &[0, 0, (count * hidden_units) as i64]);
    let last_axis = graph.shared_ints("experts.last_axis", &[-1]);
    let hidden = graph.node("Reshape", &[&hidden, &split]);
    let gate_each = graph.node("Unsqueeze", &[gates, &last_axis]);
    let hidden = graph.node("Mul", &[&hidden, &gate_each]);
    let hidden = graph.node("Reshape", &[&hidden, &joined]);
    let mixed = graph.product(&format!("{name}.up"), &hidden, &experts.up);
    let up_bias = graph.floats(&format!("{name}.up_bias"), &experts.up_bias);
    let bias = graph.node("MatMul", &[gates, &up_bias]);
    graph.node("Add", &[&mixed, &bias])
}

/// Each expert for all tokens, multiplied by its gate, and the sum of all.
fn one_by_one(graph: &mut GraphBuilder<'_>, name: &str, u: &Value, gates: &Value, experts: &Experts) -> Value {
    let hidden_units = experts.hidden();
    let mut sum: Option<Value> = None;
    for expert in 0..experts.count() {
        let name = format!("{name}.{expert}");
        let units = expert * hidden_units..(expert + 1) * hidden_units;
        let down = graph.floats(&format!("{name}.down.weight"), &experts.down.weight.slice(s![.., units.clone()]));
        let down_bias = graph.floats(&format!("{name}.down.bias"), &experts.down.bias.slice(s![units.clone()]));
        let up = graph.floats(&format!("{name}.up.weight"), &experts.up.slice(s![units, ..]));
        let up_bias = graph.floats(&format!("{name}.up.bias"), &experts.up_bias.index_axis(Axis(0), expert));
        let hidden = graph.node("MatMul", &[u, &down]);
        let hidden = graph.node("Add", &[&hidden, &down_bias]);
        let hidden = graph.node("Relu", &[&hidden]);
        let output = graph.node("MatMul", &[&hidden, &up]);
        let output = graph.node("Add", &[&output, &up_bias]);
        let index = graph.ints(&format!("{name}.index"), &[expert as i64]);
        let gate = graph.node_with("Gather", &[gates, &index], vec![("axis", Attribute::Int(-1))]);
        let output = graph.node("Mul", &[&output, &gate]);
        sum = Some(match sum {
            Some(sum) => graph.node("Add", &[&sum, &output]),
            None => output,
        });
    }
    let Some(sum) = sum else { unreachable!("a mixture has at least one expert") };
    sum
}

/// `[batch, tokens, experts]`: the softmax over the chosen logits, 0 elsewhere.
fn write_gates(graph: &mut GraphBuilder<'_>, name: &str, logits: &Value, experts: &Experts) -> Value {
    let over_experts = || vec![("axis", Attribute::Int(-1))];
    if experts.top_k == experts.count() {
        return graph.node_with("Softmax", &[logits], over_experts());
    }
    let k = graph.ints(&format!("{name}.top_k"), &[experts.top_k as i64]);
    let [chosen, positions] = graph.top_k(logits, &k);
    let chosen = graph.node_with("Softmax", &[&chosen], over_experts());
    let shape = graph.node("Shape", &[logits]);
    let zeros = graph.node("ConstantOfShape", &[&shape]);
    graph.node_with("ScatterElements", &[&zeros, &positions, &chosen], over_experts())
}

impl GraphBuilder<'_> {
    /// Sums a layer's gates over all counted positions.
    fn note_routing(&mut self, gates: &Value, counted: Option<&Value>, count: usize) {
        let gates = match counted {
            Some(counted) => self.node("Mul", &[gates, counted]),
            None => gates.clone(),
        };
        let axes = self.shared_ints("routing.axes", &[0, 1]);
        let sums = self.node_with("ReduceSum", &[&gates, &axes], vec![("keepdims", Attribute::Int(0))]);
        let first_axis = self.shared_ints("routing.first_axis", &[0]);
        let sums = self.node("Unsqueeze", &[&sums, &first_axis]);
        self.add_routing(sums, count);
    }
}

/// Makes the layers' sums an output, `routing` f32 `[layers, experts]`, where there are experts and as many in each
/// layer.
pub(super) fn output_routing(graph: &mut GraphBuilder<'_>) {
    let layers = graph.take_routing();
    let Some(&(_, count)) = layers.first() else { return };
    if layers.iter().any(|(_, other)| *other != count) {
        return;
    }
    let sums: Vec<&Value> = layers.iter().map(|(sums, _)| sums).collect();
    let routing = graph.named(ROUTING, "Concat", &sums, vec![("axis", Attribute::Int(0))]);
    graph.output(&routing, &[Size::Fixed(layers.len()), Size::Fixed(count)]);
}
