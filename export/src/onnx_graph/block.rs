//! One transformer block.

use super::attention::write_attention;
use super::builder::{Attribute, GraphBuilder, Value};
use super::experts::write_experts;
use super::graph_form::Dialect;
use super::token_selection::write_attention_row;
use crate::activation::Activation;
use crate::tower::{Adapter, Block, Prefix};
use descry_model::method::clip::QUICK_GELU_STEEPNESS;
use std::f32::consts::FRAC_1_SQRT_2;

/// What a block needs to know of the graph around it.
pub(super) struct Surroundings<'a> {
    /// The batch size as a vector of one number.
    pub(super) batch: Value,
    /// Writes the causal mask of a text tower; `None` where every token sees every other.
    pub(super) mask: Option<MaskWriter<'a>>,
    /// Which positions hold an input's own tokens rather than padding, `[batch, tokens, 1]`; `None` where all do.
    pub(super) counted: Option<Value>,
    /// Picks what asks out of `[batch, tokens, width]`: the one token, `[batch, 1, width]`, or it and the selected ones.
    pub(super) pick: &'a dyn Fn(&mut GraphBuilder<'_>, &Value) -> Value,
}

/// Writes the mask for one block.
pub(super) type MaskWriter<'a> = &'a dyn Fn(&mut GraphBuilder<'_>, MaskOf) -> Value;

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
    graph: &mut GraphBuilder<'_>,
    name: &str,
    block: &Block,
    x: &Value,
    asking_only: bool,
    around: &Surroundings<'_>,
) -> Value {
    let normed = write_normed(graph, name, block, x);
    write_behind_norm(graph, name, block, [x, &normed], asking_only, around)
}

/// Writes a block's first half where its attention selects tokens: what the attention reads, `[batch, tokens, width]`, for
/// [`write_behind_norm`], and how much the asking token attends to each token, averaged over heads, `[batch, tokens]`.
pub(super) fn write_norm_and_row(
    graph: &mut GraphBuilder<'_>,
    name: &str,
    block: &Block,
    x: &Value,
    around: &Surroundings<'_>,
) -> [Value; 2] {
    let normed = write_normed(graph, name, block, x);
    let asking = (around.pick)(graph, &normed);
    let mask = around.mask.map(|write| write(graph, MaskOf { prefix_length: 0, asking_only: true }));
    let row_name = format!("{name}.attn.row");
    let row = write_attention_row(graph, &row_name, &block.attention, &asking, &normed, mask.as_ref());
    [normed, row]
}

fn write_normed(graph: &mut GraphBuilder<'_>, name: &str, block: &Block, x: &Value) -> Value {
    let normed = graph.layer_norm(&format!("{name}.ln_1"), x, &block.ln_1);
    let Some(adapter) = &block.attention_adapter else { return normed };
    let change = write_adapter(graph, &format!("{name}.adapter_ln_msa"), x, adapter);
    graph.node("Add", &[&normed, &change])
}

/// Writes what follows a block's first normalisation, for all tokens or (`asking_only`) for those that are picked:
/// `[batch, tokens, width]` to the same or less. Keys and values come from all tokens either way.
pub(super) fn write_behind_norm(
    graph: &mut GraphBuilder<'_>,
    name: &str,
    block: &Block,
    [x, normed]: [&Value; 2],
    asking_only: bool,
    around: &Surroundings<'_>,
) -> Value {
    let (x, asking) =
        if asking_only { ((around.pick)(graph, x), (around.pick)(graph, normed)) } else { (x.clone(), normed.clone()) };
    let mask = MaskOf { prefix_length: block.attention.prefix.as_ref().map_or(0, prefix_length), asking_only };
    let mask = around.mask.map(|write| write(graph, mask));
    let attended = write_attention(
        graph,
        &format!("{name}.attn"),
        &block.attention,
        &asking,
        normed,
        mask.as_ref(),
        &around.batch,
    );
    let x = graph.node("Add", &[&x, &attended]);
    let counted = if asking_only { None } else { around.counted.as_ref() };
    let change = write_mlp(graph, name, block, &x, counted);
    graph.node("Add", &[&x, &change])
}

fn prefix_length(prefix: &Prefix) -> usize {
    prefix.keys.nrows()
}

fn write_mlp(graph: &mut GraphBuilder<'_>, name: &str, block: &Block, x: &Value, counted: Option<&Value>) -> Value {
    let mut normed = graph.layer_norm(&format!("{name}.ln_2"), x, &block.ln_2);
    if let Some(adapter) = &block.mlp_adapter {
        let change = write_adapter(graph, &format!("{name}.adapter_ln_mlp"), x, adapter);
        normed = graph.node("Add", &[&normed, &change]);
    }
    let hidden = graph.linear(&format!("{name}.mlp.c_fc"), &normed, &block.mlp_in);
    let hidden = match block.activation {
        Activation::QuickGelu => quick_gelu(graph, &hidden),
        Activation::Gelu => gelu(graph, &hidden),
    };
    let change = graph.linear(&format!("{name}.mlp.c_proj"), &hidden, &block.mlp_out);
    match &block.experts {
        Some(experts) => {
            let mixed = write_experts(graph, &format!("{name}.experts"), x, experts, counted);
            graph.node("Add", &[&change, &mixed])
        }
        None => change,
    }
}

fn write_adapter(graph: &mut GraphBuilder<'_>, name: &str, x: &Value, adapter: &Adapter) -> Value {
    let hidden = graph.linear(&format!("{name}.down"), x, &adapter.down);
    let hidden = graph.node("Relu", &[&hidden]);
    graph.linear(&format!("{name}.up"), &hidden, &adapter.up)
}

/// `x · sigmoid(1.702 x)`, CLIP's activation.
fn quick_gelu(graph: &mut GraphBuilder<'_>, x: &Value) -> Value {
    if graph.form().dialect == Dialect::Standard {
        let steepness = graph.scalar("quick_gelu.steepness", QUICK_GELU_STEEPNESS);
        let scaled = graph.node("Mul", &[x, &steepness]);
        let gate = graph.node("Sigmoid", &[&scaled]);
        return graph.node("Mul", &[x, &gate]);
    }
    graph.contrib("QuickGelu", &[Some(x)], vec![("alpha", Attribute::Float(QUICK_GELU_STEEPNESS))])
}

/// `x · (1 + erf(x / √2)) / 2`, most of OpenCLIP's activation.
fn gelu(graph: &mut GraphBuilder<'_>, x: &Value) -> Value {
    if graph.form().dialect == Dialect::Standard {
        let shrink = graph.scalar("gelu.shrink", FRAC_1_SQRT_2);
        let one = graph.scalar("gelu.one", 1.0);
        let half = graph.scalar("gelu.half", 0.5);
        let scaled = graph.node("Mul", &[x, &shrink]);
        let error = graph.node("Erf", &[&scaled]);
        let doubled = graph.node("Add", &[&error, &one]);
        let product = graph.node("Mul", &[x, &doubled]);
        return graph.node("Mul", &[&product, &half]);
    }
    graph.contrib("Gelu", &[Some(x)], Vec::new())
}
