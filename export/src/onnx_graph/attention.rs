//! Multi-head attention over all positions, or of the asking token alone.

use super::builder::{Attribute, GraphBuilder, Value};
use super::graph_form::{Dialect, Products};
use super::proto::tensor_proto::DataType;
use crate::tower::{Attention, Linear};

/// Writes `[batch, queries, width]` from the asking positions and `[batch, tokens, width]` of all positions to
/// `[batch, queries, width]`. `batch` is the batch size as a vector of one number.
pub(super) fn write_attention(
    graph: &mut GraphBuilder<'_>,
    name: &str,
    attention: &Attention,
    asking: &Value,
    all: &Value,
    mask: Option<&Value>,
    batch: &Value,
) -> Value {
    let head_width = attention.query.weight.ncols() / attention.heads;
    // For heads of 64 a power of two, so folding it into the query's weights changes no bit; ONNX Runtime's operator scales by
    // itself.
    let scaled;
    let query = if graph.form().dialect == Dialect::Standard {
        let factor = (head_width as f32).sqrt().recip();
        scaled = Linear { weight: &attention.query.weight * factor, bias: &attention.query.bias * factor };
        &scaled
    } else {
        &attention.query
    };
    let query = graph.linear(&format!("{name}.query"), asking, query);
    let mut keys = graph.linear(&format!("{name}.key"), all, &attention.key);
    let mut values = graph.linear(&format!("{name}.value"), all, &attention.value);
    if let Some(prefix) = &attention.prefix {
        let (length, width) = prefix.keys.dim();
        let shape = graph.ints(&format!("{name}.prefix.shape"), &[length as i64, width as i64]);
        let shape = graph.node_with("Concat", &[batch, &shape], vec![("axis", Attribute::Int(0))]);
        let mut prepend = |part: &str, learned, own: &Value| {
            let learned = graph.floats(&format!("{name}.prefix.{part}"), learned);
            let learned = graph.node("Expand", &[&learned, &shape]);
            graph.node_with("Concat", &[&learned, own], vec![("axis", Attribute::Int(1))])
        };
        keys = prepend("keys", &prefix.keys, &keys);
        values = prepend("values", &prefix.values, &values);
    }
    let heads = attention.heads;
    let attended = match graph.form().dialect {
        Dialect::Contrib => fused_attention(graph, heads, [&query, &keys, &values], mask),
        Dialect::Standard => spelled_attention(graph, heads, head_width, [&query, &keys, &values], mask),
    };
    graph.linear(&format!("{name}.out_proj"), &attended, &attention.output)
}

/// ONNX Runtime's operator; `mask` is added to the scores.
fn fused_attention(
    graph: &mut GraphBuilder<'_>,
    heads: usize,
    [query, keys, values]: [&Value; 3],
    mask: Option<&Value>,
) -> Value {
    let attributes = vec![("num_heads", Attribute::Int(heads as i64))];
    // With a mask, CUDA may take a kernel that keeps scores in the inputs' format: scores of tens of thousands, as
    // UP-Person's adapters make them, would leave the range of 16 bits. Masked attention therefore stays float32.
    if matches!(graph.form().products, Products::Float16) && mask.is_none() {
        let [query, keys, values] = [query, keys, values].map(|value| graph.cast(value, DataType::Float16));
        let attended = attend(graph, [&query, &keys, &values], None, attributes);
        return graph.cast(&attended, DataType::Float);
    }
    attend(graph, [query, keys, values], mask, attributes)
}

fn attend(
    graph: &mut GraphBuilder<'_>,
    [query, keys, values]: [&Value; 3],
    mask: Option<&Value>,
    attributes: Vec<(&str, Attribute)>,
) -> Value {
    let inputs = [Some(query), Some(keys), Some(values), None, None, mask];
    let given = if mask.is_some() { &inputs[..] } else { &inputs[..3] };
    graph.contrib("MultiHeadAttention", given, attributes)
}

/// The same in standard operators, for queries that are scaled already.
fn spelled_attention(
    graph: &mut GraphBuilder<'_>,
    heads: usize,
    head_width: usize,
    [query, keys, values]: [&Value; 3],
    mask: Option<&Value>,
) -> Value {
    let split = graph.shared_ints(&format!("heads.{heads}.split"), &[0, 0, heads as i64, head_width as i64]);
    let joined = graph.shared_ints(&format!("heads.{heads}.joined"), &[0, 0, (heads * head_width) as i64]);
    let mut by_head = |x: &Value| {
        let x = graph.node("Reshape", &[x, &split]);
        graph.node_with("Transpose", &[&x], vec![("perm", Attribute::Ints(vec![0, 2, 1, 3]))])
    };
    let [query, keys, values] = [by_head(query), by_head(keys), by_head(values)];
    // A second step of its own, which compilers take into the product; in one step with the first it is a copy.
    let keys = graph.node_with("Transpose", &[&keys], vec![("perm", Attribute::Ints(vec![0, 1, 3, 2]))]);
    let mut scores = graph.node("MatMul", &[&query, &keys]);
    if let Some(mask) = mask {
        scores = graph.node("Add", &[&scores, mask]);
    }
    let weights = graph.node_with("Softmax", &[&scores], vec![("axis", Attribute::Int(-1))]);
    let attended = graph.node("MatMul", &[&weights, &values]);
    let attended = graph.node_with("Transpose", &[&attended], vec![("perm", Attribute::Ints(vec![0, 2, 1, 3]))]);
    graph.node("Reshape", &[&attended, &joined])
}
