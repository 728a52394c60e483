//! DM-Adapter (AAAI 2025): a sparse mixture of adapters beside every MLP, with a domain-aware router.
//!
//! Per token: `logits = (1 - alpha) · W_input · u + alpha · W_task · prompt` with `u = ln_3(x)`; the top-k logits go
//! through a softmax of their own and weigh `up(relu(down(u)))` of their experts; the sum, times [`mixture_scale`], is
//! added beside the MLP.

use super::block_keys::{BlockKeys, Side};

/// Experts beside each MLP (the paper's implementation details; `num_experts` in the published code).
pub const EXPERTS: usize = 6;
/// Experts that a token is sent to (likewise; `topk`). No checkpoint tells it.
pub const TOP_K: usize = 2;
/// Width of a tower over the hidden width of its experts (likewise; `reduction`).
pub const REDUCTION: usize = 8;
/// Weight of the load-balancing loss (the published training script).
pub const BALANCING_WEIGHT: f64 = 0.5;

/// Weight of the mixture beside the MLP: constants in the published `forward`, different for each tower.
pub fn mixture_scale(side: Side) -> f64 {
    match side {
        Side::Vision => 0.1,
        Side::Text => 4.0,
    }
}

/// Parameters of training only: unused by the published code when it encodes.
pub const TRAINING_ONLY: [&str; 5] =
    ["vision_param", "text_param", "co_vision_param", "v2i_proj.weight", "v2i_proj.bias"];

/// Names that only the method's own tensors contain.
const ADDED: [&str; 3] = [".feed_forward.", ".ln_3.", ".task_param"];

/// Whether a tensor is one that the method adds to CLIP.
pub fn is_added(key: &str) -> bool {
    ADDED.iter().any(|mark| key.contains(mark))
}

/// Whether a tensor is an expert's: a state dict with one is this method's.
pub fn is_of_an_expert(key: &str) -> bool {
    key.contains(".feed_forward.experts.")
}

/// Whether a tensor only serves the router's domain prompt.
pub fn is_of_the_domain_prompt(key: &str) -> bool {
    [".task_param", ".task_gate.weight", ".feed_forward.alpha"].iter().any(|end| key.ends_with(end))
}

impl BlockKeys {
    /// The layer norm in front of router and experts.
    pub fn mixture_norm(&self) -> String {
        format!("{self}.ln_3")
    }

    /// The learned domain prompt, `[width]`.
    pub fn domain_prompt(&self) -> String {
        format!("{self}.task_param")
    }

    /// `alpha`, the prompt's share of the router's logits: one number.
    pub fn prompt_share(&self) -> String {
        format!("{self}.feed_forward.alpha")
    }

    /// The router's weights for the token, `[experts, width]`.
    pub fn input_gate(&self) -> String {
        format!("{self}.feed_forward.input_gate.weight")
    }

    /// The router's weights for the prompt, `[experts, width]`.
    pub fn prompt_gate(&self) -> String {
        format!("{self}.feed_forward.task_gate.weight")
    }

    /// The adapter of an expert, which counts from 0.
    pub fn expert(&self, expert: usize) -> String {
        format!("{self}.feed_forward.experts.{expert}")
    }

    /// How many experts the block has, asked of a state dict.
    pub fn expert_count(&self, has: impl Fn(&str) -> bool) -> usize {
        (0..).take_while(|&expert| has(&format!("{}.down.weight", self.expert(expert)))).count()
    }
}
