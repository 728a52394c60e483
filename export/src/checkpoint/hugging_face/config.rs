//! `config.json` of a `CLIPModel`. Absent fields have the values that the `transformers` library gives them.

use super::super::run_settings::RunSettings;
use crate::ExportError;
use descry_model::method::clip::{HEAD_WIDTH, LAYER_NORM_EPSILON};
use descry_model::text_input::{decode_text, plain_json, read_limited};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// Published files have a few kilobytes; an index of shards has some hundred.
const MAX_BYTES: u64 = 4 << 20;
/// What the exported towers compute, whatever the file says.
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

/// Reads `config.json` beside the weights. Without one the weights are taken to be of a model that Descry exports.
///
/// # Errors
/// [`ExportError::SettingsFile`] when it is not JSON of the right types; [`ExportError::Setting`] when it describes a
/// model that computes something else.
pub(crate) fn read_config(weights: &Path) -> Result<RunSettings, ExportError> {
    let path = weights.with_file_name("config.json");
    if !path.is_file() {
        tracing::warn!(weights = %weights.display(), "no config.json beside the weights, assuming {ACTIVATION}");
        return Ok(RunSettings::default());
    }
    parse(&path, &read_text(&path)?)
}

/// A JSON file, without what only Python writes into one.
pub(super) fn read_text(path: &Path) -> Result<String, ExportError> {
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
    let vision: VisionConfig = serde_json::from_value(tower(&config, "vision_config"))
        .map_err(|error| unusable(format!("vision_config: {error}")))?;
    let text: TextConfig = serde_json::from_value(tower(&config, "text_config"))
        .map_err(|error| unusable(format!("text_config: {error}")))?;
    check_tower(
        "vision_config",
        vision.hidden_size,
        vision.num_attention_heads,
        &vision.hidden_act,
        vision.layer_norm_eps,
    )?;
    check_tower("text_config", text.hidden_size, text.num_attention_heads, &text.hidden_act, text.layer_norm_eps)?;
    let has_real_ids = text.eos_token_id != Some(LEGACY_END_OF_TEXT_ID);
    Ok(RunSettings {
        image_size_px: Some((vision.image_size, vision.image_size)),
        stride: Some(vision.patch_size),
        context_length: Some(text.max_position_embeddings),
        vocab_size: Some(text.vocab_size),
        start_of_text_id: text.bos_token_id.filter(|_| has_real_ids),
        end_of_text_id: text.eos_token_id.filter(|_| has_real_ids),
        ..RunSettings::default()
    })
}

/// The fields of one tower. Old files repeat them under `<name>_dict`, which then counts.
fn tower(config: &Map<String, Value>, name: &str) -> Value {
    let fields = |name: &str| config.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut merged = fields(name);
    merged.extend(fields(&format!("{name}_dict")));
    merged.retain(|_, value| !value.is_null());
    Value::Object(merged)
}

fn check_tower(tower: &str, width: usize, heads: usize, activation: &str, epsilon: f64) -> Result<(), ExportError> {
    if activation != ACTIVATION {
        let reason =
            format!("is \"{activation}\", only \"{ACTIVATION}\" is exported: another would give wrong embeddings");
        return Err(setting(&format!("{tower}.hidden_act"), reason));
    }
    if heads.checked_mul(HEAD_WIDTH) != Some(width) {
        let reason = format!("is {heads} for a width of {width}; CLIP has one head per {HEAD_WIDTH} of width");
        return Err(setting(&format!("{tower}.num_attention_heads"), reason));
    }
    if (epsilon - LAYER_NORM_EPSILON).abs() > LAYER_NORM_EPSILON * 1e-3 {
        return Err(setting(
            &format!("{tower}.layer_norm_eps"),
            format!("is {epsilon}, expected {LAYER_NORM_EPSILON}"),
        ));
    }
    Ok(())
}

fn setting(name: &str, reason: String) -> ExportError {
    ExportError::Setting { name: format!("{name} in config.json"), reason }
}
