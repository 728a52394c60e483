//! TBPS-CLIP's key names, and the inputs that its published code trains with.

use super::model_config::PixelSettings;
use super::run_settings::RunSettings;
use descry_model::method::clip::TOKEN_EMBEDDING;
use descry_model::method::tbps_clip::{PIXEL_MEAN, PIXEL_STD, TEXT_MODULE, caption_rules};
use descry_model::{Method, ResizeFilter};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Whether the text tower stands in TBPS-CLIP's module.
pub(super) fn has_its_names(tensors: &BTreeMap<String, ArrayD<f32>>) -> bool {
    tensors.contains_key(&format!("{TEXT_MODULE}{TOKEN_EMBEDDING}")) && !tensors.contains_key(TOKEN_EMBEDDING)
}

/// Takes the text tower's tensors out of their module.
pub(super) fn rename(tensors: BTreeMap<String, ArrayD<f32>>) -> BTreeMap<String, ArrayD<f32>> {
    let renamed = tensors.into_iter().map(|(key, tensor)| match key.strip_prefix(TEXT_MODULE) {
        Some(name) => (name.to_owned(), tensor),
        None => (key, tensor),
    });
    renamed.collect()
}

/// What its code fixes and no tensor says.
pub(super) fn published_settings() -> RunSettings {
    RunSettings {
        saved_by: Some(Method::TbpsClip),
        pixels: Some(PixelSettings {
            mean: Some(PIXEL_MEAN),
            std: Some(PIXEL_STD),
            resize_filter: Some(ResizeFilter::PillowBicubic),
        }),
        caption_rules: Some(caption_rules()),
        ..RunSettings::default()
    }
}
