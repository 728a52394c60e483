//! The towers after merging: one description from which graphs are written.
//!
//! All matrices stand ready for `input · matrix`, so `[in, out]`, the transpose of PyTorch's `Linear.weight`.

use crate::activation::Activation;
use ndarray::{Array1, Array2, Array4};

/// `x · weight + bias`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linear {
    /// `[in, out]`.
    pub(crate) weight: Array2<f32>,
    /// `[out]`.
    pub(crate) bias: Array1<f32>,
}

/// Layer normalisation over the width, epsilon 1e-5.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerNorm {
    /// `[width]`.
    pub(crate) weight: Array1<f32>,
    /// `[width]`.
    pub(crate) bias: Array1<f32>,
}

/// `up(relu(down(x)))`, the method's scale folded into `up`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adapter {
    /// `[width, hidden]`.
    pub(crate) down: Linear,
    /// `[hidden, width]`.
    pub(crate) up: Linear,
}

/// Keys and values that every query sees besides the tokens' own (UP-Person's S-Prefix).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prefix {
    /// `[length, width]`.
    pub(crate) keys: Array2<f32>,
    /// `[length, width]`, already multiplied by `scale_to_grad`.
    pub(crate) values: Array2<f32>,
}

/// Multi-head attention; the heads share the width equally.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attention {
    pub(crate) heads: usize,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    pub(crate) prefix: Option<Prefix>,
}

/// DM-Adapter's mixture of adapters, all experts in one pair of products.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Experts {
    /// The normalisation in front of them (`ln_3`).
    pub(crate) norm: LayerNorm,
    /// `[width, experts]`, with the domain prompt's constant as bias.
    pub(crate) router: Linear,
    /// How many experts a token is sent to.
    pub(crate) top_k: usize,
    /// `[width, experts · hidden]`: the experts' down projections side by side.
    pub(crate) down: Linear,
    /// `[experts · hidden, width]`: the experts' up projections below each other, the method's scale folded in.
    pub(crate) up: Array2<f32>,
    /// `[experts, width]`: the experts' up biases, scaled likewise; each counts as much as its expert's gate.
    pub(crate) up_bias: Array2<f32>,
}

impl Experts {
    pub(crate) fn count(&self) -> usize {
        self.up_bias.nrows()
    }

    pub(crate) fn hidden(&self) -> usize {
        self.up.nrows() / self.count()
    }
}

/// A pre-norm transformer block:
/// `x += attention(ln_1(x) + attention_adapter(x))`, then `x += mlp(ln_2(x) + mlp_adapter(x)) + experts(x)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Block {
    pub(crate) ln_1: LayerNorm,
    pub(crate) attention_adapter: Option<Adapter>,
    pub(crate) attention: Attention,
    pub(crate) ln_2: LayerNorm,
    pub(crate) mlp_adapter: Option<Adapter>,
    pub(crate) mlp_in: Linear,
    pub(crate) activation: Activation,
    pub(crate) mlp_out: Linear,
    pub(crate) experts: Option<Experts>,
}

/// RDE's choice of tokens and what becomes of them: the largest of `direct(x) + outer(relu(inner(x)))` in each column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenSelection {
    /// Tokens that are selected at most.
    pub(crate) count: usize,
    /// `[dimension, own dimension]`.
    pub(crate) direct: Linear,
    /// `[dimension, hidden]`, its batch norm folded in.
    pub(crate) inner: Linear,
    /// `[hidden, own dimension]`.
    pub(crate) outer: Linear,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VisionTower {
    /// `[width, 3, patch, patch]`: the patch embedding's convolution.
    pub(crate) patch_kernel: Array4<f32>,
    /// Step between patches in pixels; smaller than the patch when they overlap.
    pub(crate) stride: usize,
    /// `[width]`.
    pub(crate) class_embedding: Array1<f32>,
    /// `[1 + rows · columns, width]`.
    pub(crate) positional_embedding: Array2<f32>,
    pub(crate) ln_pre: LayerNorm,
    pub(crate) blocks: Vec<Block>,
    pub(crate) ln_post: LayerNorm,
    /// `[width, dimension]`.
    pub(crate) projection: Array2<f32>,
    /// A second embedding, of selected tokens, where the method has one.
    pub(crate) selection: Option<TokenSelection>,
}

/// The text tower.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextTower {
    /// `[vocabulary, width]`.
    pub(crate) token_embedding: Array2<f32>,
    /// `[context length, width]`.
    pub(crate) positional_embedding: Array2<f32>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) ln_final: LayerNorm,
    /// `[width, dimension]`.
    pub(crate) projection: Array2<f32>,
    /// A second embedding, of selected tokens, where the method has one.
    pub(crate) selection: Option<TokenSelection>,
}

impl VisionTower {
    /// Values of an embedding.
    pub(crate) fn dimension(&self) -> usize {
        dimension(&self.projection, self.selection.as_ref())
    }

    /// Additions and multiplications of one image in 10⁹, so that a measurement can be held against what a machine can do.
    /// Products only; softmax, normalisations and activations come on top. The last block is computed for the class token
    /// and the selected tokens, in `plain` graphs for all positions.
    pub(crate) fn image_gflop(&self, plain: bool) -> f64 {
        let positions = self.positional_embedding.nrows();
        let last = self.blocks.len().saturating_sub(1);
        let blocks = self.blocks.iter().enumerate().map(|(layer, block)| {
            let selected = self.selection.as_ref().map_or(0, |selection| selection.count);
            let asking = if layer == last && !plain { 1 + selected } else { positions };
            block_products(block, positions, asking)
        });
        let patches = (positions - 1) * self.patch_kernel.len();
        let selected = self.selection.as_ref().map_or(0, |selection| {
            let width = self.projection.nrows();
            // The class token's attention a second time: its query, which meets the keys' weights instead of the keys.
            let row = 2 * width * width + width * positions * self.blocks.last().map_or(0, |last| last.attention.heads);
            let token = self.projection.len()
                + selection.direct.weight.len()
                + selection.inner.weight.len()
                + selection.outer.weight.len();
            row + selection.count * token
        });
        let products = blocks.sum::<usize>() + patches + self.projection.len() + selected;
        // One multiplication and one addition each.
        2.0 * products as f64 / 1e9
    }
}

impl TextTower {
    /// Values of an embedding.
    pub(crate) fn dimension(&self) -> usize {
        dimension(&self.projection, self.selection.as_ref())
    }
}

fn dimension(projection: &Array2<f32>, selection: Option<&TokenSelection>) -> usize {
    projection.ncols() + selection.map_or(0, |selection| selection.direct.bias.len())
}

/// Multiplications of a block that all positions of an image enter and `asking` positions leave.
fn block_products(block: &Block, positions: usize, asking: usize) -> usize {
    let attention = &block.attention;
    let width = attention.query.weight.nrows();
    let prefix = attention.prefix.as_ref().map_or(0, |prefix| prefix.keys.nrows());
    let projections = positions * (attention.key.weight.len() + attention.value.weight.len())
        + asking * (attention.query.weight.len() + attention.output.weight.len());
    let scores = 2 * asking * (positions + prefix) * width;
    let mlp = asking * (block.mlp_in.weight.len() + block.mlp_out.weight.len());
    let adapter = |adapter: &Option<Adapter>, tokens: usize| {
        adapter.as_ref().map_or(0, |adapter| tokens * (adapter.down.weight.len() + adapter.up.weight.len()))
    };
    let adapters = adapter(&block.attention_adapter, positions) + adapter(&block.mlp_adapter, asking);
    let experts = block.experts.as_ref().map_or(0, |experts| {
        asking * (experts.router.weight.len() + experts.down.weight.len() + experts.up.len() + experts.up_bias.len())
    });
    projections + scores + mlp + adapters + experts
}
