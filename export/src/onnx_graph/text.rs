//! The text tower's graph.

use super::block::{MaskOf, Surroundings, write_behind_norm, write_block, write_norm_and_row};
use super::builder::{Attribute, GraphBuilder, Size, Value};
use super::experts::output_routing;
use super::graph_form::GraphForm;
use super::proto::tensor_proto::DataType;
use super::token_selection::{
    Candidates, Projection, pick_places, write_both_embeddings, write_places, write_text_positions, write_words,
};
use crate::ExportError;
use crate::tower::TextTower;
use descry_model::method::Side;
use ndarray::Array2;
use std::collections::BTreeSet;

/// Added to a score that must not count. The adapters of UP-Person act on unnormalised activations, so scores of tens of
/// thousands occur: the customary -10,000 would let hidden tokens shine through.
const HIDDEN: f32 = f32::NEG_INFINITY;

/// Writes `token_ids` i64 `[batch, tokens]` → `features` f32 `[batch, dimension]`, not L2-normalised. `tokens` may be
/// anything from 2 to `context_length`; the causal mask makes right-padding irrelevant.
pub(crate) fn write_text(
    tower: &TextTower,
    context_length: usize,
    form: GraphForm<'_>,
) -> Result<Vec<u8>, ExportError> {
    let mut graph = GraphBuilder::new(form);
    let token_ids = graph.input("token_ids", DataType::Int64, &[Size::Dynamic("batch"), Size::Dynamic("tokens")]);
    let batch = graph.size_of(&token_ids, 0);
    let tokens = graph.size_of(&token_ids, 1);
    let zero = graph.ints("zero", &[0]);
    let one = graph.ints("one", &[1]);

    let positions = graph.floats("positional_embedding", &tower.positional_embedding);
    let positions = graph.node("Slice", &[&positions, &zero, &tokens, &zero]);
    let embedded = graph.table_rows("token_embedding.weight", &tower.token_embedding, &token_ids);
    let mut x = graph.node("Add", &[&embedded, &positions]);

    // The end-of-text token has the highest id; the first one counts.
    let end =
        graph.node_with("ArgMax", &[&token_ids], vec![("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(1))]);
    let end_index = graph.node("Unsqueeze", &[&end, &one]);
    let masks = CausalMasks::new(&mut graph, tower, context_length, &tokens, &end);
    let mask = |graph: &mut GraphBuilder<'_>, of: MaskOf| masks.write(graph, of);
    let pick = |graph: &mut GraphBuilder<'_>, x: &Value| {
        graph.node_with("GatherND", &[x, &end_index], vec![("batch_dims", Attribute::Int(1))])
    };
    let counted = up_to_end(&mut graph, tower, context_length, &tokens, &end);
    let around = Surroundings { batch, mask: Some(&mask), counted, pick: &pick };
    let last = tower.blocks.len().saturating_sub(1);
    for (layer, block) in tower.blocks.iter().enumerate() {
        let name = Side::Text.block(layer).to_string();
        if layer == last
            && let Some(selection) = &tower.selection
        {
            let [normed, row] = write_norm_and_row(&mut graph, &name, block, &x, &around);
            let x = write_behind_norm(&mut graph, &name, block, [&x, &normed], false, &around);
            output_routing(&mut graph);
            let positions = write_text_positions(&mut graph, context_length, &tokens);
            let [scores, words] = write_words(&mut graph, [&token_ids, &row, &positions, &end]);
            // A batch may be shorter than what is selected at most; then all its words are.
            let most = graph.ints("selection.count", &[selection.count as i64]);
            let count = graph.node("Min", &[&most, &tokens]);
            let candidates = Candidates { asking: &end, positions: &positions, scores: &scores, count: &count };
            let places = write_places(&mut graph, &candidates);
            let x = pick_places(&mut graph, &x, &places);
            let (norm, matrix) = (&tower.ln_final, &tower.projection);
            let projection = Projection { norm_name: "ln_final", norm, name: "text_projection", matrix };
            let limit = Some([&words, &count]);
            let features = write_both_embeddings(&mut graph, Side::Text, &x, limit, &projection, selection);
            graph.output(&features, &[Size::Dynamic("batch"), Size::Fixed(tower.dimension())]);
            return graph.finish("text");
        }
        x = write_block(&mut graph, &name, block, &x, layer == last && !form.plain, &around);
    }
    if form.plain {
        x = pick(&mut graph, &x);
    }
    output_routing(&mut graph);
    let x = graph.layer_norm("ln_final", &x, &tower.ln_final);
    let projection = graph.floats("text_projection", &tower.projection);
    let x = graph.node("MatMul", &[&x, &projection]);
    let features = graph.named("features", "Squeeze", &[&x, &one], Vec::new());
    graph.output(&features, &[Size::Dynamic("batch"), Size::Fixed(tower.projection.ncols())]);
    graph.finish("text")
}

/// 1 for every position up to the end mark, 0 behind it, `[batch, tokens, 1]`: padding must not count in routing shares.
fn up_to_end(
    graph: &mut GraphBuilder<'_>,
    tower: &TextTower,
    context_length: usize,
    tokens: &Value,
    end: &Value,
) -> Option<Value> {
    if graph.form().plain || tower.blocks.iter().all(|block| block.experts.is_none()) {
        return None;
    }
    let positions: Vec<i64> = (0..context_length as i64).collect();
    let positions = graph.ints("positions", &positions);
    let zero = graph.shared_ints("positions.start", &[0]);
    let positions = graph.node("Slice", &[&positions, &zero, tokens, &zero]);
    let counted = graph.node("LessOrEqual", &[&positions, end]);
    let counted = graph.cast(&counted, DataType::Float);
    let last_axis = graph.shared_ints("positions.last_axis", &[-1]);
    Some(graph.node("Unsqueeze", &[&counted, &last_axis]))
}

/// The causal masks of a tower, one for each length of prefix that its blocks have, cut to the batch's text length.
struct CausalMasks {
    /// By prefix length: `[tokens, prefix + tokens]`.
    masks: Vec<(usize, Value)>,
    /// The asking token of each text, `[batch, 1]`.
    end: Value,
}

impl CausalMasks {
    fn new(
        graph: &mut GraphBuilder<'_>,
        tower: &TextTower,
        context_length: usize,
        tokens: &Value,
        end: &Value,
    ) -> Self {
        let lengths: BTreeSet<usize> = tower
            .blocks
            .iter()
            .map(|block| block.attention.prefix.as_ref().map_or(0, |prefix| prefix.keys.nrows()))
            .collect();
        let starts = graph.ints("mask.starts", &[0, 0]);
        let axes = graph.ints("mask.axes", &[0, 1]);
        let masks = lengths
            .into_iter()
            .map(|length| {
                let whole = graph.floats(&format!("mask.prefix_{length}"), &causal_mask(context_length, length));
                let length_value = graph.ints(&format!("mask.prefix_{length}.length"), &[length as i64]);
                let keys = graph.node("Add", &[tokens, &length_value]);
                let ends = graph.node_with("Concat", &[tokens, &keys], vec![("axis", Attribute::Int(0))]);
                (length, graph.node("Slice", &[&whole, &starts, &ends, &axes]))
            })
            .collect();
        Self { masks, end: end.clone() }
    }

    fn write(&self, graph: &mut GraphBuilder<'_>, of: MaskOf) -> Value {
        let found = self.masks.iter().find(|(length, _)| *length == of.prefix_length);
        let Some((_, mask)) = found else { unreachable!("masks are made for every prefix length of the tower") };
        if of.asking_only {
            // [batch, 1, keys] → [batch, 1, 1, keys]
            let rows = graph.node_with("Gather", &[mask, &self.end], vec![("axis", Attribute::Int(0))]);
            let head_axis = graph.shared_ints("mask.head_axis", &[1]);
            graph.node("Unsqueeze", &[&rows, &head_axis])
        } else {
            // [queries, keys] → [1, 1, queries, keys]
            let leading_axes = graph.shared_ints("mask.leading_axes", &[0, 1]);
            graph.node("Unsqueeze", &[mask, &leading_axes])
        }
    }
}

/// `[context length, prefix + context length]`: token `i` sees the prefix and the tokens up to itself.
fn causal_mask(context_length: usize, prefix_length: usize) -> Array2<f32> {
    Array2::from_shape_fn((context_length, prefix_length + context_length), |(query, key)| {
        if key <= prefix_length + query { 0.0 } else { HIDDEN }
    })
}
