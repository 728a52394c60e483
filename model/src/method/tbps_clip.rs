//! TBPS-CLIP (AAAI 2024): a plain CLIP whose weights are all trained, with inputs of its own.
//!
//! Source: `model/tbps_model.py`, `misc/data.py` and `config/config.yaml` of its published code.

use crate::CaptionRules;

/// What the names of its text tower start with: a module of its own.
pub const TEXT_MODULE: &str = "encode_text.";

/// The head of its self-supervised loss, saved beside the towers. Those of its other losses have IRRA's names.
pub const TRAINING_ONLY: &str = "simclr_mlp.";

/// Image height and width in pixels with which it trains.
pub const IMAGE_SIZE_PX: (usize, usize) = (224, 224);

/// Subtracted from each channel after division by 255: ImageNet's mean.
pub const PIXEL_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Each channel is divided by this then: ImageNet's standard deviation.
pub const PIXEL_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// What `pre_caption` replaces with spaces, and the number of words that it keeps.
pub fn caption_rules() -> CaptionRules {
    CaptionRules { characters_to_spaces: ".!\"()*#:;~".to_owned(), max_words: 77 }
}
