//! One transformer block.

use super::builder::{Attribute, GraphBuilder, Value};
use crate::tower::{Adapter, Attention, Block, Experts, Prefix};

/// What a block needs to know of the graph around it.
pub(super) struct Surroundings<'a> {
    /// The batch size as a vector of one number.
    pub(super) batch: Value,
    /// Writes the causal mask of a text tower; `None` where every token sees every other.
    pub(super) mask: Option<MaskWriter<'a>>,
    /// Picks the asking token out of `[batch, tokens, width]`, leaving `[batch, 1, width]`.
    pub(super) pick: &'a dyn Fn(&mut GraphBuilder, &Value) -> Value,
}

/// Writes the mask for one block.
pub(super) type MaskWriter<'a> = &'a dyn Fn(&mut GraphBuilder, MaskOf) -> Value;

/// Which rows and columns of a causal mask are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaskOf {
    /// Columns in front that every row sees.
    pub(super) prefix_length: usize,
    /// Only the asking token's row.
    pub(super) asking_only: bool,
}

/// Writes a block for all tokens, `[batch, tokens, width]` to the same, or (`asking_only`) for the asking token alone,
/// `[batch, tokens, width]` to `[batch, 1, width]`. Keys and values come from all tokens either way.
pub(super) fn write_block(
    graph: &mut GraphBuilder,
    name: &str,
    block: &Block,
    x: &Value,
    asking_only: bool,
    around: &Surroundings<'_>,
) -> Value {
    let mut normed = graph.layer_norm(&format!("{name}.ln_1"), x, &block.ln_1);
    if let Some(adapter) = &block.attention_adapter {
        let change = write_adapter(graph, &format!("{name}.adapter_ln_msa"), x, adapter);
        normed = graph.node("Add", &[&normed, &change]);
    }
    let (x, asking) = if asking_only {
        ((around.pick)(graph, x), (around.pick)(graph, &normed))
    } else {
        (x.clone(), normed.clone())
    };
    let mask = MaskOf { prefix_length: block.attention.prefix.as_ref().map_or(0, prefix_length), asking_only };
    let mask = around.mask.map(|write| write(graph, mask));
    let attended =
        write_attention(graph, &format!("{name}.attn"), &block.attention, &asking, &normed, mask.as_ref(), around);
    let x = graph.node("Add", &[&x, &attended]);
    let change = write_mlp(graph, name, block, &x);
    graph.node("Add", &[&x, &change])
}

fn prefix_length(prefix: &Prefix) -> usize {
    prefix.keys.nrows()
}

fn write_mlp(graph: &mut GraphBuilder, name: &str, block: &Block, x: &Value) -> Value {
    let mut normed = graph.layer_norm(&format!("{name}.ln_2"), x, &block.ln_2);
    if let Some(adapter) = &block.mlp_adapter {
        let change = write_adapter(graph, &format!("{name}.adapter_ln_mlp"), x, adapter);
        normed = graph.node("Add", &[&normed, &change]);
    }
    let hidden = graph.linear(&format!("{name}.mlp.c_fc"), &normed, &block.mlp_in);
    let hidden = quick_gelu(graph, &hidden);
    let change = graph.linear(&format!("{name}.mlp.c_proj"), &hidden, &block.mlp_out);
    match &block.experts {
        Some(experts) => {
            let mixed = write_experts(graph, &format!("{name}.experts"), x, experts);
            graph.node("Add", &[&change, &mixed])
        }
        None => change,
    }
}

fn write_adapter(graph: &mut GraphBuilder, name: &str, x: &Value, adapter: &Adapter) -> Value {
    let hidden = graph.linear(&format!("{name}.down"), x, &adapter.down);
    let hidden = graph.node("Relu", &[&hidden]);
    graph.linear(&format!("{name}.up"), &hidden, &adapter.up)
}

fn write_attention(
    graph: &mut GraphBuilder,
    name: &str,
    attention: &Attention,
    asking: &Value,
    all: &Value,
    mask: Option<&Value>,
    around: &Surroundings<'_>,
) -> Value {
    let query = graph.linear(&format!("{name}.query"), asking, &attention.query);
    let mut keys = graph.linear(&format!("{name}.key"), all, &attention.key);
    let mut values = graph.linear(&format!("{name}.value"), all, &attention.value);
    if let Some(prefix) = &attention.prefix {
        let (length, width) = prefix.keys.dim();
        let shape = graph.ints(&format!("{name}.prefix.shape"), &[length as i64, width as i64]);
        let shape = graph.node_with("Concat", &[&around.batch, &shape], vec![("axis", Attribute::Int(0))]);
        let mut prepend = |part: &str, learned, own: &Value| {
            let learned = graph.floats(&format!("{name}.prefix.{part}"), learned);
            let learned = graph.node("Expand", &[&learned, &shape]);
            graph.node_with("Concat", &[&learned, own], vec![("axis", Attribute::Int(1))])
        };
        keys = prepend("keys", &prefix.keys, &keys);
        values = prepend("values", &prefix.values, &values);
    }
    let attended = fused_attention(graph, attention.heads, [&query, &keys, &values], mask);
    graph.linear(&format!("{name}.out_proj"), &attended, &attention.output)
}

/// DM-Adapter's experts as two plain products: all experts' hidden units side by side, each multiplied by its expert's
/// gate, which is 0 for experts that were not chosen. Equal to running the chosen experts alone, for any batch.
fn write_experts(graph: &mut GraphBuilder, name: &str, x: &Value, experts: &Experts) -> Value {
    let (count, hidden_units) = (experts.count(), experts.hidden());
    let u = graph.layer_norm(&format!("{name}.ln_3"), x, &experts.norm);
    let logits = graph.linear(&format!("{name}.router"), &u, &experts.router);
    let gates = write_gates(graph, name, &logits, experts);
    let hidden = graph.linear(&format!("{name}.down"), &u, &experts.down);
    let hidden = graph.node("Relu", &[&hidden]);
    let split = graph.ints(&format!("{name}.split"), &[0, 0, count as i64, hidden_units as i64]);
    let joined = graph.ints(&format!("{name}.joined"), &[0, 0, (count * hidden_units) as i64]);
    let last_axis = graph.ints(&format!("{name}.last_axis"), &[-1]);
    let hidden = graph.node("Reshape", &[&hidden, &split]);
    let gate_each = graph.node("Unsqueeze", &[&gates, &last_axis]);
    let hidden = graph.node("Mul", &[&hidden, &gate_each]);
    let hidden = graph.node("Reshape", &[&hidden, &joined]);
    let up = graph.floats(&format!("{name}.up"), &experts.up);
    let up_bias = graph.floats(&format!("{name}.up_bias"), &experts.up_bias);
    let mixed = graph.node("MatMul", &[&hidden, &up]);
    let bias = graph.node("MatMul", &[&gates, &up_bias]);
    graph.node("Add", &[&mixed, &bias])
}

/// `[batch, tokens, experts]`: the softmax over the chosen logits, 0 elsewhere.
fn write_gates(graph: &mut GraphBuilder, name: &str, logits: &Value, experts: &Experts) -> Value {
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

/// `x · sigmoid(1.702 x)`, CLIP's activation.
fn quick_gelu(graph: &mut GraphBuilder, x: &Value) -> Value {
    graph.contrib("QuickGelu", &[Some(x)], vec![("alpha", Attribute::Float(1.702))])
}

/// Scaled dot-product attention over heads; `mask` is added to the scores.
fn fused_attention(
    graph: &mut GraphBuilder,
    heads: usize,
    [query, keys, values]: [&Value; 3],
    mask: Option<&Value>,
) -> Value {
    let inputs = [Some(query), Some(keys), Some(values), None, None, mask];
    let given = if mask.is_some() { &inputs[..] } else { &inputs[..3] };
    graph.contrib("MultiHeadAttention", given, vec![("num_heads", Attribute::Int(heads as i64))])
}
