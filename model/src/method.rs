//! The published methods: what their papers and code fix, said once.
//!
//! Every number and every checkpoint key that export and training share stands here, each with its source. One place
//! repeats them on purpose: `export/src/eager.rs` evaluates a checkpoint with literals of its own, because a second
//! opinion that reads the first one's notes is none.
//!
//! A key is the name of a tensor in a state dict, as the published code saves it, without the wrappers' prefixes
//! ([`WRAPPER_PREFIXES`]).

mod block_keys;
pub mod clip;
pub mod dm_adapter;
pub mod irra;
pub mod rde;
pub mod tbps_clip;
pub mod up_person;

pub use block_keys::{BlockKeys, Side};

use crate::ModelError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Image height and width in pixels with which both retrieval papers train, as IRRA (CVPR 2023) does.
pub const IMAGE_SIZE_PX: (usize, usize) = (384, 128);

/// What the retrieval papers' model class puts before the names of its CLIP.
pub const MODEL_PREFIX: &str = "base_model.";

/// What wrappers put before the model's own names, wherever they occur: `DataParallel` and the retrieval papers' model class.
pub const WRAPPER_PREFIXES: [&str; 2] = ["module.", MODEL_PREFIX];

/// What wrappers put before the names of a CLIP, in any order and as often as they were nested: besides the above
/// `torch.compile`, Lightning and the attributes under which training scripts keep their CLIP. As these may be the names of
/// other parts as well, they count only where a tower's tensors stand behind them.
pub const TOWER_WRAPPER_PREFIXES: [&str; 6] = ["_orig_mod.", "module.", "model.", "clip_model.", "clip.", MODEL_PREFIX];

/// A published method: what a checkpoint was trained with, and what a bundle was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Plain CLIP (Radford et al., 2021), all of whose weights are trained.
    Clip,
    /// IRRA (CVPR 2023) and what was built on its code without parts of its own: CLIP fine-tuned as a whole.
    Irra,
    /// DM-Adapter (AAAI 2025): a sparse mixture of adapters beside every MLP, with a domain-aware router.
    DmAdapter,
    /// UP-Person (TCSVT 2025): prefix, LoRA and adapter in one.
    UpPerson,
    /// RDE (CVPR 2024): a second embedding, of the tokens that matter most.
    Rde,
    /// TBPS-CLIP (AAAI 2024): CLIP fine-tuned as a whole, with a resize, numbers and caption rules of its own.
    TbpsClip,
}

impl Method {
    /// Every method, for help texts.
    pub const ALL: [Self; 6] = [Self::Clip, Self::DmAdapter, Self::UpPerson, Self::Irra, Self::Rde, Self::TbpsClip];

    /// Those that the trainer can train.
    pub const TRAINABLE: [Self; 3] = [Self::Clip, Self::DmAdapter, Self::UpPerson];

    /// Name on the command line, in settings files and in manifests; [`FromStr`] reads it back.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Irra => "irra",
            Self::DmAdapter => "dm-adapter",
            Self::UpPerson => "up-person",
            Self::Rde => "rde",
            Self::TbpsClip => "tbps-clip",
        }
    }

    /// The names of all, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether a tensor is one that the method adds to CLIP. DM-Adapter and UP-Person train no others.
    pub fn adds(self, key: &str) -> bool {
        match self {
            Self::Clip | Self::Irra | Self::TbpsClip => false,
            Self::DmAdapter => dm_adapter::is_added(key),
            Self::UpPerson => up_person::is_added(key),
            Self::Rde => rde::is_added(key),
        }
    }

    /// Whether a tensor is one that is saved with the method's models and never used to encode.
    pub fn leaves_out(self, key: &str) -> bool {
        // All published code here but CLIP's own was built on IRRA's or took its losses over.
        let is_a_head = self != Self::Clip && irra::is_training_only(key);
        let is_its_own = match self {
            Self::Clip | Self::Irra => false,
            Self::DmAdapter => dm_adapter::TRAINING_ONLY.contains(&key),
            Self::UpPerson => up_person::is_training_only(key) || up_person::is_prefix_alias(key),
            Self::Rde => rde::is_unused(key),
            Self::TbpsClip => key.starts_with(tbps_clip::TRAINING_ONLY),
        };
        is_a_head || is_its_own || clip::NOT_IN_A_TOWER.contains(&key)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| ModelError::UnknownMethod { text: text.chars().take(40).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for method in Method::ALL {
            assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
            assert_eq!(serde_json::to_string(&method).unwrap(), format!("\"{method}\""));
        }
        let message = "DM-Adapter".parse::<Method>().unwrap_err().to_string();
        for method in Method::ALL {
            assert!(message.contains(method.name()), "{message}");
        }
    }

    /// A tensor belongs to at most one method, and CLIP's own to none.
    #[test]
    fn what_a_method_adds_is_no_other_methods() {
        for side in Side::ALL {
            let block = side.block(11);
            let clips = [block.attention_norm(), block.mlp_norm(), block.in_projection_weight(), block.mlp_out()];
            let mixtures = [block.mixture_norm(), block.domain_prompt(), block.prompt_share(), block.expert(5)];
            let [lora, _] = block.lora();
            let adapter = block.mlp_adapter();
            let parts = [lora.a, lora.scale, block.prefix().value_scale, block.prefix().attention_scale, adapter.scale];
            let owner = |key: &String| {
                let key = format!("{key}.weight");
                Method::ALL.into_iter().filter(|method| method.adds(&key)).collect::<Vec<_>>()
            };
            for key in &clips {
                assert_eq!(owner(key), [], "{key}");
                assert!(clip::is_of_a_tower(key), "{key}");
            }
            for key in &mixtures {
                assert_eq!(owner(key), [Method::DmAdapter], "{key}");
            }
            for key in &parts {
                assert_eq!(owner(key), [Method::UpPerson], "{key}");
            }
            let alias = block.prefix_alias("key.tokens");
            assert!(up_person::is_prefix_alias(&alias) && !Method::UpPerson.adds(&alias), "{alias}");
        }
    }

    /// What is saved beside the towers belongs to a family, and plain CLIP has none of it.
    #[test]
    fn what_is_left_out_is_left_out_by_its_own_families() {
        let by = |key: &str| Method::ALL.into_iter().filter(|method| method.leaves_out(key)).collect::<Vec<_>>();
        let built_on_irra = [Method::DmAdapter, Method::UpPerson, Method::Irra, Method::Rde, Method::TbpsClip];
        for head in
            ["classifier", "cross_attn", "cross_modal_transformer", "ln_pre_t", "ln_pre_i", "ln_post", "mlm_head"]
        {
            assert_eq!(by(&format!("{head}.weight")), built_on_irra, "{head}");
        }
        assert_eq!(by("simclr_mlp.0.weight"), [Method::TbpsClip]);
        assert_eq!(by("vision_param"), [Method::DmAdapter]);
        assert_eq!(by("prompt_learner.ctx"), [Method::UpPerson]);
        for unused in ["visul_emb_layer.linear.bias", "texual_emb_layer.mlp.bns.1.running_var"] {
            assert_eq!(by(unused), [Method::Rde], "{unused}");
        }
        assert_eq!(by("logit_scale"), Method::ALL);
        for used in ["visual.ln_post.weight", "visul_emb_layer.fc.weight", "texual_emb_layer.linear.weight"] {
            assert_eq!(by(used), [], "{used}");
        }
    }
}
