//! RDE's second embedding: the tokens to which the asking token attends most, and both embeddings as one unit vector.

use super::builder::{Attribute, GraphBuilder, Value};
use super::proto::tensor_proto::DataType;
use crate::tower::{Attention, LayerNorm, TokenSelection};
use descry_model::method::Side;
use descry_model::method::rde::{LENGTH_EPSILON, direct, selection};
use ndarray::{Array2, s};
use std::f32::consts::FRAC_1_SQRT_2;

/// Writes how much the asking token attends to each token, averaged over heads: `[batch, 1, width]` and
/// `[batch, tokens, width]` to `[batch, tokens]`.
///
/// In float32 in every form, as routers are: a rounded score would select other tokens for nothing. The query is brought to
/// the tokens' own space, so that no second set of keys is computed; the keys' bias moves all scores of a head alike.
///
/// - `mask`: added to the scores, `[batch, 1, 1, tokens]`
pub(super) fn write_attention_row(
    graph: &mut GraphBuilder<'_>,
    name: &str,
    attention: &Attention,
    asking: &Value,
    all: &Value,
    mask: Option<&Value>,
) -> Value {
    let width = attention.query.weight.ncols();
    let (heads, head_width) = (attention.heads, width / attention.heads);
    let factor = (head_width as f32).sqrt().recip();
    let weight = graph.floats(&format!("{name}.query.weight"), &(&attention.query.weight * factor));
    let bias = graph.floats(&format!("{name}.query.bias"), &(&attention.query.bias * factor));
    let query = graph.node("MatMul", &[asking, &weight]);
    let query = graph.node("Add", &[&query, &bias]);
    let split = graph.ints(&format!("{name}.split"), &[0, 0, heads as i64, head_width as i64]);
    let query = graph.node("Reshape", &[&query, &split]);
    let query = graph.node_with("Transpose", &[&query], vec![("perm", Attribute::Ints(vec![0, 2, 1, 3]))]);
    // [heads, head width, width]
    let keys = ndarray::Array3::from_shape_fn((heads, head_width, width), |(head, column, row)| {
        attention.key.weight[[row, head * head_width + column]]
    });
    let keys = graph.floats(&format!("{name}.key.weight"), &keys);
    let query = graph.node("MatMul", &[&query, &keys]);
    let head_axis = graph.ints(&format!("{name}.head_axis"), &[1]);
    let all = graph.node_with("Transpose", &[all], vec![("perm", Attribute::Ints(vec![0, 2, 1]))]);
    let all = graph.node("Unsqueeze", &[&all, &head_axis]);
    let mut scores = graph.node("MatMul", &[&query, &all]);
    if let Some(mask) = mask {
        scores = graph.node("Add", &[&scores, mask]);
    }
    let row = graph.node_with("Softmax", &[&scores], vec![("axis", Attribute::Int(-1))]);
    let attributes = vec![("axes", Attribute::Ints(vec![1, 2])), ("keepdims", Attribute::Int(0))];
    graph.node_with("ReduceMean", &[&row], attributes)
}

/// Which tokens may be selected.
pub(super) struct Candidates<'a> {
    /// The position of the asking token, `[batch, 1]` i64.
    pub(super) asking: &'a Value,
    /// All positions, `[tokens]` i64.
    pub(super) positions: &'a Value,
    /// By what tokens are ranked, `[batch, tokens]` f32.
    pub(super) scores: &'a Value,
    /// How many are selected, a vector of one number.
    pub(super) count: &'a Value,
}

/// Writes where the asking token and behind it the selected ones stand, the highest score first: `[batch, 1 + count, 1]` i64.
///
/// Of equal scores the first token's ranks higher. Runtimes settle that as they like, and not the same for every number of
/// tokens; so tokens are selected by their ranks, of which no two are equal.
pub(super) fn write_places(graph: &mut GraphBuilder<'_>, candidates: &Candidates<'_>) -> Value {
    let Candidates { asking, positions, scores, count } = *candidates;
    let [column, line] = [("selection.column", 2), ("selection.line", 1)].map(|(name, axis)| {
        let axis = graph.ints(name, &[axis]);
        graph.node("Unsqueeze", &[scores, &axis])
    });
    let [first_axis, second_axis] =
        [("selection.own", 1), ("selection.other", 0)].map(|(name, axis)| graph.ints(name, &[axis]));
    let own = graph.node("Unsqueeze", &[positions, &first_axis]);
    let other = graph.node("Unsqueeze", &[positions, &second_axis]);
    // [batch, tokens, tokens]: whether the token of the last axis ranks before that of the one in front of it.
    let is_higher = graph.node("Greater", &[&line, &column]);
    let is_equal = graph.node("Equal", &[&line, &column]);
    let is_earlier = graph.node("Less", &[&other, &own]);
    let is_first_of_equals = graph.node("And", &[&is_equal, &is_earlier]);
    let is_before = graph.node("Or", &[&is_higher, &is_first_of_equals]);
    let is_before = graph.cast(&is_before, DataType::Float);
    let last_axis = graph.ints("selection.last_axis", &[-1]);
    let ranks = graph.node_with("ReduceSum", &[&is_before, &last_axis], vec![("keepdims", Attribute::Int(0))]);
    let order = graph.node("Neg", &[&ranks]);
    let [_, chosen] = graph.top_k(&order, count);
    let places = graph.node_with("Concat", &[asking, &chosen], vec![("axis", Attribute::Int(1))]);
    graph.node("Unsqueeze", &[&places, &last_axis])
}

/// Picks the tokens at `places` out of `[batch, tokens, width]`: `[batch, 1 + count, width]`.
pub(super) fn pick_places(graph: &mut GraphBuilder<'_>, x: &Value, places: &Value) -> Value {
    graph.node_with("GatherND", &[x, places], vec![("batch_dims", Attribute::Int(1))])
}

/// What stands behind a tower's blocks.
pub(super) struct Projection<'a> {
    pub(super) norm_name: &'a str,
    pub(super) norm: &'a LayerNorm,
    pub(super) name: &'a str,
    pub(super) matrix: &'a Array2<f32>,
}

/// Writes `features`, `[batch, dimension + selection's dimension]` of unit length.
///
/// - `tokens`: the asking token and the selected ones behind the last block, `[batch, 1 + count, width]`
/// - `limit`: how many of the selected count, `[batch, 1]` i64, and of how many, a vector of one number; `None`: all
pub(super) fn write_both_embeddings(
    graph: &mut GraphBuilder<'_>,
    side: Side,
    tokens: &Value,
    limit: Option<[&Value; 2]>,
    projection: &Projection<'_>,
    weights: &TokenSelection,
) -> Value {
    let module = selection(side);
    let tokens = graph.layer_norm(projection.norm_name, tokens, projection.norm);
    let matrix = graph.floats(projection.name, projection.matrix);
    let tokens = graph.node("MatMul", &[&tokens, &matrix]);
    let [first, second, end, axis] = [("first", 0), ("second", 1), ("end", i64::MAX), ("axis", 1)]
        .map(|(name, value)| graph.ints(&format!("selection.{name}"), &[value]));
    let whole = graph.node("Slice", &[&tokens, &first, &second, &axis]);
    let whole = graph.node("Squeeze", &[&whole, &axis]);
    let parts = graph.node("Slice", &[&tokens, &second, &end, &axis]);
    let parts = divide_by_length(graph, &parts);
    let inner = graph.linear(&format!("{module}.mlp.layers.0"), &parts, &weights.inner);
    let inner = graph.node("Relu", &[&inner]);
    let outer = graph.linear(&format!("{module}.mlp.layers.1"), &inner, &weights.outer);
    let straight = graph.linear(&direct(side), &parts, &weights.direct);
    let mut parts = graph.node("Add", &[&straight, &outer]);
    if let Some([limit, count]) = limit {
        let ranks: Vec<i64> = (0..weights.count as i64).collect();
        let ranks = graph.ints("selection.ranks", &ranks);
        let ranks = graph.node("Slice", &[&ranks, &first, count, &first]);
        let counts = graph.node("Less", &[&ranks, limit]);
        let last_axis = graph.shared_ints("selection.last_axis", &[-1]);
        let counts = graph.node("Unsqueeze", &[&counts, &last_axis]);
        let none = graph.scalar("selection.none", f32::NEG_INFINITY);
        parts = graph.node("Where", &[&counts, &parts, &none]);
    }
    let attributes = vec![("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
    let selected = graph.node_with("ReduceMax", &[&parts], attributes);
    let [whole, selected] = [whole, selected].map(|embedding| divide_by_length(graph, &embedding));
    let joined = graph.node_with("Concat", &[&whole, &selected], vec![("axis", Attribute::Int(-1))]);
    let share = graph.scalar("selection.share", FRAC_1_SQRT_2);
    graph.named("features", "Mul", &[&joined, &share], Vec::new())
}

/// The words of texts for [`Candidates`]: their scores, and how many there are.
///
/// Padding, start and end mark are no words. The end mark ranks behind the last word and counts where there is no word, so that
/// an empty text has an embedding, too; the published code has none for it.
///
/// # Shapes
/// - `token_ids`, `row`: `[batch, tokens]`; `positions`: `[tokens]`; `end`: `[batch, 1]`
/// - returns: `[batch, tokens]` f32, `[batch, 1]` i64
pub(super) fn write_words(graph: &mut GraphBuilder<'_>, [token_ids, row, positions, end]: [&Value; 4]) -> [Value; 2] {
    let zero = graph.shared_ints("selection.zero", &[0]);
    let is_inside = graph.node("Greater", &[positions, &zero]);
    let is_before = graph.node("Less", &[positions, end]);
    let is_filled = graph.node("Greater", &[token_ids, &zero]);
    let is_word = graph.node("And", &[&is_inside, &is_before]);
    let is_word = graph.node("And", &[&is_word, &is_filled]);
    let is_end = graph.node("Equal", &[positions, end]);
    let behind = graph.scalar("selection.behind", -0.5);
    let never = graph.scalar("selection.never", -1.0);
    let others = graph.node("Where", &[&is_end, &behind, &never]);
    let scores = graph.node("Where", &[&is_word, row, &others]);
    let words = graph.cast(&is_word, DataType::Int64);
    let axis = graph.ints("selection.token_axis", &[1]);
    let words = graph.node("ReduceSum", &[&words, &axis]);
    let one = graph.ints("selection.one", &[1]);
    let words = graph.node("Max", &[&words, &one]);
    [scores, words]
}

/// The positions of texts of a batch's length, `[tokens]` i64.
///
/// - `tokens`: the length, a vector of one number
pub(super) fn write_text_positions(graph: &mut GraphBuilder<'_>, context_length: usize, tokens: &Value) -> Value {
    let positions: Vec<i64> = (0..context_length as i64).collect();
    let positions = graph.ints("selection.positions", &positions);
    let zero = graph.shared_ints("selection.zero", &[0]);
    graph.node("Slice", &[&positions, &zero, tokens, &zero])
}

/// The patches of images for [`Candidates`]: the class token's own column never counts.
pub(super) fn write_patch_scores(graph: &mut GraphBuilder<'_>, row: &Value, tokens: usize) -> Value {
    let mut offset = ndarray::Array1::<f32>::zeros(tokens);
    // Probabilities are at most 1.
    offset.slice_mut(s![..1]).fill(-2.0);
    let offset = graph.floats("selection.offset", &offset);
    graph.node("Add", &[row, &offset])
}

fn divide_by_length(graph: &mut GraphBuilder<'_>, x: &Value) -> Value {
    let attributes = vec![("axes", Attribute::Ints(vec![-1])), ("keepdims", Attribute::Int(1))];
    let length = graph.node_with("ReduceL2", &[x], attributes);
    let least = graph.scalar("selection.epsilon", LENGTH_EPSILON);
    let length = graph.node("Add", &[&length, &least]);
    graph.node("Div", &[x, &length])
}
