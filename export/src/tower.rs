//! The towers after merging: one description from which graphs are written.
//!
//! All matrices stand ready for `input · matrix`, so `[in, out]`, the transpose of PyTorch's `Linear.weight`.

use ndarray::{Array1, Array2, Array4};

/// CLIP's heads are always this wide.
pub(crate) const HEAD_WIDTH: usize = 64;

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

/// Multi-head attention; each head is 64 wide.
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
    pub(crate) mlp_out: Linear,
    pub(crate) experts: Option<Experts>,
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
}
