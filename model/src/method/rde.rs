//! RDE (CVPR 2024): CLIP's two towers, and beside each embedding of a whole image or text (BGE) one of selected tokens (TSE).
//!
//! TSE takes the tokens to which the last block's class or end-of-text token attends most, averaged over heads; each is divided
//! by its length and goes through `direct(x) + mlp(x)`; the largest value of each column is kept. The similarity is the mean of
//! both embeddings' cosines, so `[bge/|bge| ; tse/|tse|] / √2` is one unit vector with the same ranking.
//!
//! Source: `model/build.py` and `model/CrossEmbeddingLayer_tse.py` of its published code, whose spelling the names keep.

use super::block_keys::Side;

/// Share of the tokens that is selected, where a run's settings do not say it (`select_ratio` in the published code).
pub const SELECT_RATIO: f64 = 0.3;
/// Added to a token's length before it divides the token.
pub const LENGTH_EPSILON: f32 = 1e-8;
/// Added to the variance in the batch norm: PyTorch's default.
pub const BATCH_NORM_EPSILON: f32 = 1e-5;

/// What the names of a tower's selection start with, without the dot.
pub fn selection(side: Side) -> &'static str {
    match side {
        Side::Vision => "visul_emb_layer",
        Side::Text => "texual_emb_layer",
    }
}

/// The linear layer beside the MLP: each tower's module calls its own by another name.
pub fn direct(side: Side) -> String {
    let name = match side {
        Side::Vision => "fc",
        Side::Text => "linear",
    };
    format!("{}.{name}", selection(side))
}

/// Whether a tensor is one that the method adds to CLIP.
pub fn is_added(key: &str) -> bool {
    Side::ALL.iter().any(|side| key.strip_prefix(selection(*side)).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether a tensor is one that the published code saves and never uses when it encodes.
pub fn is_unused(key: &str) -> bool {
    is_added(key)
        && (key.starts_with("visul_emb_layer.linear.")
            || key.contains(".mlp.bns.1.")
            || key.ends_with(".num_batches_tracked"))
}
