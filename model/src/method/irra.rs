//! IRRA (CVPR 2023): a plain CLIP whose weights are all trained, with the heads of its losses beside it.
//!
//! MLLM4Text-ReID, HAM, GA-DMS and FMFA were built on its code and save the same names; DM-Adapter, UP-Person and RDE were,
//! too, and save parts of their own besides.
//!
//! Source: `model/build.py` of its published code.

use super::MODEL_PREFIX;
use super::clip::PATCH_KERNEL;

/// Heads of its training losses (identities, masked words), which its code saves and never uses when it encodes.
pub const TRAINING_ONLY: [&str; 7] =
    ["classifier.", "cross_attn.", "cross_modal_transformer.", "ln_pre_t.", "ln_pre_i.", "ln_post.", "mlm_head."];

/// Whether a tensor belongs to the head of a training loss.
pub fn is_training_only(key: &str) -> bool {
    TRAINING_ONLY.iter().any(|start| key.starts_with(start))
}

/// Whether a tensor's name, as a file has it, is that of the patch embedding in IRRA's model class: the class tells the
/// method where a run had no heads.
pub fn is_its_patch_kernel(name: &str) -> bool {
    name.strip_suffix(PATCH_KERNEL).is_some_and(|before| before.ends_with(MODEL_PREFIX))
}
