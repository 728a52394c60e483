//! OpenCLIP: its `open_clip_config.json`, and the names of its models whose text tower is a module of its own.
//!
//! Otherwise its key names are OpenAI's.

use super::hugging_face::read_text;
use super::model_config::{LibraryDefaults, PixelSettings};
use super::run_settings::RunSettings;
use crate::activation::Activation;
use crate::{ExportError, geometry};
use descry_model::ResizeFilter;
use descry_model::method::clip::{IMAGE_POSITIONS, PATCH_KERNEL, TOKEN_EMBEDDING};
use ndarray::ArrayD;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// In summaries.
const LIBRARY: &str = "OpenCLIP";
/// The file's name, beside the weights.
const CONFIG_FILE: &str = "open_clip_config.json";
/// What the names of a text tower start with that is a module of its own (`CustomTextCLIP`).
const TEXT_MODULE: &str = "text.";

#[derive(Deserialize)]
struct Config {
    model_cfg: ModelConfig,
    #[serde(default)]
    preprocess_cfg: PreprocessConfig,
}

#[derive(Deserialize)]
struct ModelConfig {
    /// OpenCLIP's own default is GELU.
    quick_gelu: Option<bool>,
    vision_cfg: VisionConfig,
    text_cfg: TextConfig,
}

#[derive(Deserialize)]
struct VisionConfig {
    width: usize,
    image_size: Size,
    patch_size: usize,
    head_width: Option<usize>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
struct TextConfig {
    context_length: usize,
    vocab_size: usize,
    heads: usize,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A side of a square, or height and width.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Size {
    Side(usize),
    Sides([usize; 2]),
}

#[derive(Deserialize, Default)]
struct PreprocessConfig {
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    interpolation: Option<String>,
}

/// `head_width` where the configuration has none.
const HEAD_WIDTH: usize = 64;

/// Fields that change nothing that is computed when a model encodes.
const HARMLESS: [&str; 7] =
    ["layers", "width", "mlp_ratio", "patch_dropout", "output_tokens", "pad_id", "hf_tokenizer_name"];
/// What OpenCLIP takes where a field is absent, and what is computed here.
const USUAL_NAMES: [&str; 4] = ["tok", "learnable", "argmax", "linear"];

/// Reads `open_clip_config.json` beside the weights; nothing is known where there is none.
///
/// # Errors
/// [`ExportError::SettingsFile`] when it is not JSON of the right types; [`ExportError::Setting`] when it describes a model
/// that computes something else.
pub(super) fn read_config(weights: &Path) -> Result<RunSettings, ExportError> {
    let path = weights.with_file_name(CONFIG_FILE);
    if !path.is_file() {
        return Ok(RunSettings::default());
    }
    let unusable = |reason: String| ExportError::SettingsFile { path: path.clone(), reason };
    let config: Config = serde_json::from_str(&read_text(&path)?).map_err(|error| unusable(error.to_string()))?;
    let Config { model_cfg: ModelConfig { quick_gelu, vision_cfg: vision, text_cfg: text }, preprocess_cfg } = config;
    refuse_others("vision_cfg", &vision.others)?;
    refuse_others("text_cfg", &text.others)?;
    let head_width = vision.head_width.unwrap_or(HEAD_WIDTH);
    if head_width == 0 || !vision.width.is_multiple_of(head_width) {
        let reason = format!("is {head_width}, which does not divide the width of {}", vision.width);
        return Err(setting("vision_cfg.head_width", reason));
    }
    let activation = if quick_gelu.unwrap_or(false) { Activation::QuickGelu } else { Activation::Gelu };
    let image_size_px = Some(match vision.image_size {
        Size::Side(side) => (side, side),
        Size::Sides([height, width]) => (height, width),
    });
    let pixels = pixels(&preprocess_cfg)?;
    let names_a_filter = pixels.is_some_and(|pixels| pixels.resize_filter.is_some());
    Ok(RunSettings {
        image_size_px,
        trained_size_px: image_size_px,
        stride: Some(vision.patch_size),
        context_length: Some(text.context_length),
        vocab_size: Some(text.vocab_size),
        vision_activation: Some(activation),
        text_activation: Some(activation),
        vision_heads: Some(vision.width / head_width),
        text_heads: Some(text.heads),
        pixels,
        defaults: Some(LibraryDefaults {
            library: LIBRARY,
            activation: quick_gelu.is_none(),
            heads: vision.head_width.is_none(),
            resize_filter: (!names_a_filter).then_some(ResizeFilter::PillowBicubic),
        }),
        ..RunSettings::default()
    })
}

/// [`read_config`] for weights that were trained further with a paper's code: the configuration is that of the model that
/// they started from. Its image size counts where the position embeddings are as many.
///
/// - `tensors`: under OpenAI's names, those of the vision tower at least
///
/// # Errors
/// As [`read_config`].
pub(super) fn read_config_of_base(
    weights: &Path,
    tensors: &BTreeMap<String, ArrayD<f32>>,
) -> Result<RunSettings, ExportError> {
    let config = read_config(weights)?;
    let size = |key: &str, axis: usize| tensors.get(key).and_then(|tensor| tensor.shape().get(axis).copied());
    let grid = size(PATCH_KERNEL, 3)
        .zip(size(IMAGE_POSITIONS, 0))
        .and_then(|(patch, positions)| geometry::stated_grid(&config, patch, positions));
    let image_size_px = grid.map(|grid| (grid.height_px, grid.width_px));
    Ok(RunSettings { image_size_px, pixels: config.pixels, ..config.of_blocks() })
}

fn pixels(config: &PreprocessConfig) -> Result<Option<PixelSettings>, ExportError> {
    let resize_filter = match config.interpolation.as_deref() {
        None => None,
        // For training it means any filter; to encode, OpenCLIP takes its default then.
        Some("random") => None,
        Some("bicubic") => Some(ResizeFilter::PillowBicubic),
        Some("bilinear") => Some(ResizeFilter::PillowBilinear),
        Some(other) => {
            let reason = format!("is {other:.40?}, expected \"bicubic\", \"bilinear\" or \"random\"");
            return Err(setting("preprocess_cfg.interpolation", reason));
        }
    };
    let pixels = PixelSettings { mean: config.mean, std: config.std, resize_filter };
    Ok((pixels != PixelSettings::default()).then_some(pixels))
}

/// Refuses fields of which nothing is known but that they ask for something.
fn refuse_others(tower: &str, fields: &Map<String, Value>) -> Result<(), ExportError> {
    let asks_for_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(is_wanted) => !is_wanted,
        Value::String(name) => USUAL_NAMES.contains(&name.as_str()),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) | Value::Array(_) => false,
    };
    let is_unknown = |(name, value): &(&String, &Value)| !HARMLESS.contains(&name.as_str()) && !asks_for_nothing(value);
    match fields.iter().find(is_unknown) {
        Some((name, value)) => {
            let reason = format!("is {value:.60}, which changes what is computed in a way that is not exported");
            Err(setting(&format!("{tower}.{name}"), reason))
        }
        None => Ok(()),
    }
}

/// Takes the text tower's tensors out of their module where they have one.
pub(super) fn rename(tensors: BTreeMap<String, ArrayD<f32>>) -> BTreeMap<String, ArrayD<f32>> {
    let is_module =
        tensors.contains_key(&format!("{TEXT_MODULE}{TOKEN_EMBEDDING}")) && !tensors.contains_key(TOKEN_EMBEDDING);
    if !is_module {
        return tensors;
    }
    let renamed = tensors.into_iter().map(|(key, tensor)| match key.strip_prefix(TEXT_MODULE) {
        Some(name) => (name.to_owned(), tensor),
        None => (key, tensor),
    });
    renamed.collect()
}

fn setting(name: &str, reason: String) -> ExportError {
    ExportError::Setting { name: format!("{name} in {CONFIG_FILE}"), reason }
}
