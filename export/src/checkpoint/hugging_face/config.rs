//! `config.json` of a `CLIPModel`. Absent fields have the values that the `transformers` library gives them.

use super::super::model_config::LibraryDefaults;
use super::super::run_settings::RunSettings;
use crate::ExportError;
use crate::activation::Activation;
use descry_model::method::clip::LAYER_NORM_EPSILON;
use descry_model::text_input::{decode_text, plain_json, read_limited};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// Published files have a few kilobytes; an index of shards has some hundred.
const MAX_BYTES: u64 = 4 << 20;
/// In summaries.
const LIBRARY: &str = "transformers";
/// What `transformers` takes where the file says nothing.
const ACTIVATION: &str = "quick_gelu";
/// Published files give this id, which was never the tokenizer's; `transformers` then takes the highest id, as CLIP
/// does.
const LEGACY_END_OF_TEXT_ID: usize = 2;

#[derive(Deserialize)]
#[serde(default)]
struct VisionConfig {
    hidden_size: usize,
    num_attention_heads: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    image_size: usize,
    patch_size: usize,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_attention_heads: 12,
            hidden_act: ACTIVATION.to_owned(),
            layer_norm_eps: LAYER_NORM_EPSILON,
            image_size: 224,
            patch_size: 32,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct TextConfig {
    hidden_size: usize,
    num_attention_heads: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    max_position_embeddings: usize,
    vocab_size: usize,
    bos_token_id: Option<usize>,
    eos_token_id: Option<usize>,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            hidden_size: 512,
            num_attention_heads: 8,
            hidden_act: ACTIVATION.to_owned(),
            layer_norm_eps: LAYER_NORM_EPSILON,
            max_position_embeddings: 77,
            vocab_size: 49_408,
            bos_token_id: None,
            eos_token_id: None,
        }
    }
}

/// Reads `config.json` beside the weights. Without one nothing is known, and what is assumed is told with the bundle.
///
/// # Errors
/// [`ExportError::SettingsFile`] when it is not JSON of the right types; [`ExportError::Setting`] when it describes a
/// model that computes something else.
pub(crate) fn read_config(weights: &Path) -> Result<RunSettings, ExportError> {
    let path = weights.with_file_name("config.json");
    if !path.is_file() {
        return Ok(RunSettings::default());
    }
    parse(&path, &read_text(&path)?)
}

/// A JSON file, without what only Python writes into one.
pub(crate) fn read_text(path: &Path) -> Result<String, ExportError> {
    let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
    let unusable = |reason| ExportError::SettingsFile { path: path.to_owned(), reason };
    let text = decode_text(read_limited(path, MAX_BYTES).map_err(unreadable)?).map_err(unusable)?;
    Ok(plain_json(&text).into_owned())
}

fn parse(path: &Path, text: &str) -> Result<RunSettings, ExportError> {
    let unusable = |reason: String| ExportError::SettingsFile { path: path.to_owned(), reason };
    let config: Map<String, Value> = serde_json::from_str(text).map_err(|error| unusable(error.to_string()))?;
    if let Some(model_type) = config.get("model_type").filter(|&model_type| model_type != "clip") {
        return Err(setting("model_type", format!("is {model_type}, only models of type \"clip\" are exported")));
    }
    let towers = ["vision_config", "text_config"].map(|name| tower(&config, name));
    let is_unwritten = |field: &str| towers.iter().any(|fields| !fields.contains_key(field));
    let defaults = LibraryDefaults {
        library: LIBRARY,
        activation: is_unwritten("hidden_act"),
        heads: is_unwritten("num_attention_heads"),
        resize_filter: None,
    };
    let [vision, text] = towers.map(Value::Object);
    let vision: VisionConfig =
        serde_json::from_value(vision).map_err(|error| unusable(format!("vision_config: {error}")))?;
    let text: TextConfig = serde_json::from_value(text).map_err(|error| unusable(format!("text_config: {error}")))?;
    check_heads("vision_config", vision.hidden_size, vision.num_attention_heads)?;
    check_heads("text_config", text.hidden_size, text.num_attention_heads)?;
    check_epsilon("vision_config", vision.layer_norm_eps)?;
    check_epsilon("text_config", text.layer_norm_eps)?;
    let has_real_ids = text.eos_token_id != Some(LEGACY_END_OF_TEXT_ID);
    let image_size_px = Some((vision.image_size, vision.image_size));
    Ok(RunSettings {
        image_size_px,
        trained_size_px: image_size_px,
        stride: Some(vision.patch_size),
        context_length: Some(text.max_position_embeddings),
        vocab_size: Some(text.vocab_size),
        vision_activation: Some(activation("vision_config", &vision.hidden_act)?),
        text_activation: Some(activation("text_config", &text.hidden_act)?),
        vision_heads: Some(vision.num_attention_heads),
        text_heads: Some(text.num_attention_heads),
        defaults: Some(defaults),
        start_of_text_id: text.bos_token_id.filter(|_| has_real_ids),
        end_of_text_id: text.eos_token_id.filter(|_| has_real_ids),
        ..RunSettings::default()
    })
}

/// The fields of one tower. Old files repeat them under `<name>_dict`, which then counts.
fn tower(config: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let fields = |name: &str| config.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut merged = fields(name);
    merged.extend(fields(&format!("{name}_dict")));
    merged.retain(|_, value| !value.is_null());
    merged
}

/// The activation by the name that `transformers` has for it.
fn activation(tower: &str, name: &str) -> Result<Activation, ExportError> {
    match name {
        ACTIVATION => Ok(Activation::QuickGelu),
        "gelu" => Ok(Activation::Gelu),
        _ => {
            let reason = format!("is \"{name}\", only \"{ACTIVATION}\" and \"gelu\" are exported");
            Err(setting(&format!("{tower}.hidden_act"), reason))
        }
    }
}

fn check_heads(tower: &str, width: usize, heads: usize) -> Result<(), ExportError> {
    if heads == 0 || !width.is_multiple_of(heads) {
        let reason = format!("is {heads} for a width of {width}, which so many heads do not share equally");
        return Err(setting(&format!("{tower}.num_attention_heads"), reason));
    }
    Ok(())
}

fn check_epsilon(tower: &str, epsilon: f64) -> Result<(), ExportError> {
    if (epsilon - LAYER_NORM_EPSILON).abs() > LAYER_NORM_EPSILON * 1e-3 {
        let reason = format!("is {epsilon}, expected {LAYER_NORM_EPSILON}");
        return Err(setting(&format!("{tower}.layer_norm_eps"), reason));
    }
    Ok(())
}

fn setting(name: &str, reason: String) -> ExportError {
    ExportError::Setting { name: format!("{name} in config.json"), reason }
}
