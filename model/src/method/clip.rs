//! CLIP (Radford et al., 2021): its sizes, its constants and OpenAI's key names.

use super::block_keys::{BlockKeys, Side};

/// Width of an attention head in every published CLIP.
pub const HEAD_WIDTH: usize = 64;
/// Steepness of the sigmoid with which CLIP approximates GELU: `x · sigmoid(1.702 x)`.
pub const QUICK_GELU_STEEPNESS: f32 = 1.702;
/// Added to the variance in layer norms: PyTorch's default.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;
/// Token ids of the published models.
pub const VOCABULARY_SIZE: usize = 49_408;
/// Most token ids in a text of the published models, start and end marks included.
pub const CONTEXT_LENGTH: usize = 77;

/// The sizes of a published model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedSizes {
    /// OpenAI's name, as `pretrain_choice` of the retrieval papers' code takes it.
    pub name: &'static str,
    /// Width of the vision tower.
    pub vision_width: usize,
    /// Blocks of the vision tower.
    pub vision_layers: usize,
    /// Side of a patch in pixels.
    pub patch_px: usize,
    /// Width of the text tower.
    pub text_width: usize,
    /// Blocks of the text tower.
    pub text_layers: usize,
    /// Values of an embedding.
    pub embedding_dimension: usize,
}

/// CLIP ViT-B/16.
pub const VIT_B_16: PublishedSizes = PublishedSizes {
    name: "ViT-B/16",
    vision_width: 768,
    vision_layers: 12,
    patch_px: 16,
    text_width: 512,
    text_layers: 12,
    embedding_dimension: 512,
};

/// CLIP ViT-B/32.
pub const VIT_B_32: PublishedSizes = PublishedSizes { name: "ViT-B/32", patch_px: 32, ..VIT_B_16 };

/// CLIP ViT-L/14.
pub const VIT_L_14: PublishedSizes = PublishedSizes {
    name: "ViT-L/14",
    vision_width: 1024,
    vision_layers: 24,
    patch_px: 14,
    text_width: 768,
    text_layers: 12,
    embedding_dimension: 768,
};

/// The models that the retrieval papers start from.
pub const PUBLISHED_SIZES: [PublishedSizes; 3] = [VIT_B_16, VIT_B_32, VIT_L_14];

/// The patch embedding's convolution, `[width, 3, patch, patch]`. A state dict with it is a vision transformer's.
pub const PATCH_KERNEL: &str = "visual.conv1.weight";
/// The class token before its position, `[width]`.
pub const CLASS_EMBEDDING: &str = "visual.class_embedding";
/// Position embeddings of class token and patches, `[1 + patches, width]`.
pub const IMAGE_POSITIONS: &str = "visual.positional_embedding";
/// The layer norm in front of the vision tower's blocks.
pub const IMAGE_NORM_BEFORE: &str = "visual.ln_pre";
/// The layer norm behind the vision tower's blocks.
pub const IMAGE_NORM_AFTER: &str = "visual.ln_post";
/// The vision tower's projection, `[width, dimension]`.
pub const IMAGE_PROJECTION: &str = "visual.proj";
/// Rows of the vocabulary, `[ids, width]`.
pub const TOKEN_EMBEDDING: &str = "token_embedding.weight";
/// Position embeddings of a text, `[context length, width]`.
pub const TEXT_POSITIONS: &str = "positional_embedding";
/// The layer norm behind the text tower's blocks.
pub const TEXT_NORM_AFTER: &str = "ln_final";
/// The text tower's projection, `[width, dimension]`.
pub const TEXT_PROJECTION: &str = "text_projection";
/// Present where the vision tower is one of CLIP's ResNets.
pub const RESNET_KERNEL: &str = "visual.layer1.0.conv1.weight";

/// Side in pixels of the square images that a model was trained with: one whole number, which only OpenAI's archives carry.
pub const IMAGE_SIDE: &str = "input_resolution";
/// Parameters of the training loss, and numbers that OpenAI's archives carry along: no tower reads them.
pub const NOT_IN_A_TOWER: [&str; 4] = ["logit_scale", IMAGE_SIDE, "context_length", "vocab_size"];

/// What the names of the towers' tensors start with.
const TOWERS: [&str; 6] = ["visual.", "transformer.", "token_embedding.", TEXT_POSITIONS, "ln_final.", TEXT_PROJECTION];

/// Whether a tensor stands under one of the towers' names: CLIP's own, and what a method hangs on its blocks.
pub fn is_of_a_tower(key: &str) -> bool {
    TOWERS.iter().any(|start| key.starts_with(start))
}

/// The block number in a key, for a key of one of this tower's blocks.
pub fn layer_of(side: Side, key: &str) -> Option<usize> {
    let rest = key.strip_prefix(side.blocks())?.strip_prefix('.')?;
    rest.split('.').next()?.parse().ok()
}

impl BlockKeys {
    /// The layer norm in front of the attention.
    pub fn attention_norm(&self) -> String {
        format!("{self}.ln_1")
    }

    /// The layer norm in front of the MLP.
    pub fn mlp_norm(&self) -> String {
        format!("{self}.ln_2")
    }

    /// Rows of queries, keys and values below each other, `[3 · width, width]`.
    pub fn in_projection_weight(&self) -> String {
        format!("{self}.attn.in_proj_weight")
    }

    /// Their biases, `[3 · width]`.
    pub fn in_projection_bias(&self) -> String {
        format!("{self}.attn.in_proj_bias")
    }

    /// The attention's output projection.
    pub fn out_projection(&self) -> String {
        format!("{self}.attn.out_proj")
    }

    /// The MLP's first linear layer.
    pub fn mlp_in(&self) -> String {
        format!("{self}.mlp.c_fc")
    }

    /// The MLP's second linear layer.
    pub fn mlp_out(&self) -> String {
        format!("{self}.mlp.c_proj")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_layer_and_only_its_own_towers() {
        let key = Side::Vision.block(11).mlp_in();
        assert_eq!((layer_of(Side::Vision, &key), layer_of(Side::Text, &key)), (Some(11), None));
        assert_eq!(layer_of(Side::Text, "transformer.resblocks.x.ln_1.weight"), None);
        assert_eq!(layer_of(Side::Text, TEXT_NORM_AFTER), None);
    }
}
