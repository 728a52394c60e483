//! UP-Person (TCSVT 2025): S-Prefix, LoRA and L-Adapter in one, each on a range of layers.
//!
//! Prefix and LoRA stand in modules of their own, the learners; the adapters stand in CLIP's blocks.

use super::block_keys::{BlockKeys, Side};

/// Width of a tower over the hidden width of its adapters (the paper's implementation details).
pub const REDUCTION: usize = 8;
/// Initial factor of the prefix' attention: `scale_to_grad = nn.Parameter(torch.tensor(100.0))`.
pub const PREFIX_ATTENTION_SCALE: f64 = 100.0;

/// Sizes that the paper chooses by data set (its implementation details).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedSizes {
    /// Rank of the changes of keys and values.
    pub lora_rank: usize,
    /// Learned keys and values before those of the tokens.
    pub prefix_length: usize,
}

/// For CUHK-PEDES.
pub const CUHK_PEDES: PublishedSizes = PublishedSizes { lora_rank: 32, prefix_length: 10 };
/// For ICFG-PEDES.
pub const ICFG_PEDES: PublishedSizes = PublishedSizes { lora_rank: 32, prefix_length: 14 };
/// For RSTPReid.
pub const RSTPREID: PublishedSizes = PublishedSizes { lora_rank: 16, prefix_length: 2 };

/// What the names of the modules start with that do not belong to the wrapped CLIP.
const LEARNERS: [&str; 3] = ["LORA_learner.", "vit_prefix_learner.", "text_prefix_learner."];

/// Names that only the method's own tensors in CLIP's blocks contain.
const ADDED: [&str; 3] = [".adapter_ln_", ".scale_1", ".scale_2"];

/// What the published code may have saved beside the towers besides IRRA's heads.
const TRAINING_ONLY: &str = "prompt_learner.";

/// Whether a tensor serves training only.
pub fn is_training_only(key: &str) -> bool {
    key.starts_with(TRAINING_ONLY)
}

/// Whether a tensor belongs to a learner, which the published code saves beside the wrapped CLIP.
pub fn is_of_a_learner(key: &str) -> bool {
    LEARNERS.iter().any(|start| key.starts_with(start))
}

/// Whether a tensor is one that the method adds to CLIP. The second copy of a prefix is none.
pub fn is_added(key: &str) -> bool {
    !is_prefix_alias(key) && (is_of_a_learner(key) || ADDED.iter().any(|mark| key.contains(mark)))
}

/// Whether a key is the copy of a prefix that the published code registers a second time inside its attention.
pub fn is_prefix_alias(key: &str) -> bool {
    key.contains(".attn.prefix.")
}

/// The names of one low-rank change, `scale · (B · A)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraKeys {
    /// `[rank, width]`
    pub a: String,
    /// `[width, rank]`
    pub b: String,
    /// One number.
    pub scale: String,
}

/// The names of one block's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixKeys {
    /// `[length, width]`
    pub key_tokens: String,
    /// One number.
    pub key_scale: String,
    /// `[length, width]`
    pub value_tokens: String,
    /// One number.
    pub value_scale: String,
    /// One number, with which the published code multiplies the prefix' probabilities after the softmax.
    pub attention_scale: String,
}

/// The names of an adapter in parallel with a layer norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterKeys {
    /// The adapter.
    pub adapter: String,
    /// The factor of what it adds: one number.
    pub scale: String,
}

impl BlockKeys {
    /// The low-rank changes of keys and of values.
    pub fn lora(&self) -> [LoraKeys; 2] {
        let learner = match self.side {
            Side::Vision => "LORA_learner.lora_image",
            Side::Text => "LORA_learner.lora_text",
        };
        let learner = format!("{learner}.{}", self.layer);
        [0, 1].map(|projection| LoraKeys {
            a: format!("{learner}.lora_A.{projection}"),
            b: format!("{learner}.lora_B.{projection}"),
            scale: format!("{learner}.scale.{projection}.scale"),
        })
    }

    /// The learned keys and values.
    pub fn prefix(&self) -> PrefixKeys {
        let prefix = self.prefix_module();
        PrefixKeys {
            key_tokens: format!("{prefix}.key.tokens"),
            key_scale: format!("{prefix}.key.scaler.scale"),
            value_tokens: format!("{prefix}.val.tokens"),
            value_scale: format!("{prefix}.val.scaler.scale"),
            attention_scale: format!("{prefix}.scale_to_grad"),
        }
    }

    /// What the keys of the block's prefix start with, without the dot.
    pub fn prefix_module(&self) -> String {
        let learner = match self.side {
            Side::Vision => "vit_prefix_learner.vit_prefix",
            Side::Text => "text_prefix_learner.text_prefix",
        };
        format!("{learner}.{}", self.layer)
    }

    /// The second name of a tensor of the prefix, `rest` behind [`BlockKeys::prefix_module`], inside the attention that it
    /// precedes.
    pub fn prefix_alias(&self, rest: &str) -> String {
        format!("{self}.attn.prefix.{rest}")
    }

    /// The adapter beside the layer norm in front of the attention.
    pub fn attention_adapter(&self) -> AdapterKeys {
        AdapterKeys { adapter: format!("{self}.adapter_ln_msa"), scale: format!("{self}.scale_1") }
    }

    /// The adapter beside the layer norm in front of the MLP.
    pub fn mlp_adapter(&self) -> AdapterKeys {
        AdapterKeys { adapter: format!("{self}.adapter_ln_mlp"), scale: format!("{self}.scale_2") }
    }
}
