//! `configs.yaml` as the published code writes it with PyYAML: it and `descry export` read it beside the weights.

use crate::{MatchingLoss, Recipe, SamplerSettings};
use descry_model::method::{Method, clip};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What the model's own tensors decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModelShape {
    /// Values of a patch.
    pub(crate) vision_width: usize,
    /// Blocks of the vision tower.
    pub(crate) vision_layers: usize,
    /// Blocks of the text tower.
    pub(crate) text_layers: usize,
    /// Rows of the token embedding.
    pub(crate) vocabulary_size: usize,
    /// Side of a patch in pixels.
    pub(crate) patch_px: usize,
    /// Step between patches in pixels.
    pub(crate) stride_px: usize,
}

/// A value in PyYAML's notation.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Bool(bool),
    Int(usize),
    Float(f64),
    Text(String),
    /// What Python's tuples of numbers become.
    Tuple([usize; 2]),
}

/// The content of `configs.yaml`. `base` and `root` are the run's, `run` is its folder.
pub(super) fn text(recipe: &Recipe, shape: &ModelShape, base: Option<&Path>, root: &Path, run: &Path) -> String {
    let mut items = constants();
    items.extend(of_recipe(recipe));
    items.extend(of_method(recipe, shape));
    items.extend([
        ("vocab_size", Scalar::Int(shape.vocabulary_size)),
        ("stride_size", Scalar::Int(shape.stride_px)),
        ("pretrain_choice", Scalar::Text(pretrain_choice(shape, base))),
        ("root_dir", path(root)),
        ("output_dir", path(run)),
        ("name", path(run.file_name().map_or(run, Path::new))),
    ]);
    let mut text = String::new();
    for (key, value) in items {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}: {}", value.to_yaml());
    }
    text
}

/// What the published code always writes and these runs do not have, at its defaults. Sorted by key, as PyYAML does.
fn constants() -> BTreeMap<&'static str, Scalar> {
    BTreeMap::from([
        ("cmt_depth", Scalar::Int(4)),
        ("distributed", Scalar::Bool(false)),
        ("gamma", Scalar::Float(0.1)),
        ("id_loss_weight", Scalar::Float(1.0)),
        ("local_rank", Scalar::Int(0)),
        ("log_period", Scalar::Int(100)),
        ("lr_factor", Scalar::Float(5.0)),
        ("lrscheduler", Scalar::Text("cosine".to_owned())),
        ("masked_token_rate", Scalar::Float(0.8)),
        ("masked_token_unchanged_rate", Scalar::Float(0.1)),
        ("milestones", Scalar::Tuple([20, 50])),
        ("mlm_loss_weight", Scalar::Float(1.0)),
        ("momentum", Scalar::Float(0.9)),
        ("optimizer", Scalar::Text("Adam".to_owned())),
        ("power", Scalar::Float(0.9)),
        ("resume", Scalar::Bool(false)),
        ("resume_ckpt_file", Scalar::Text(String::new())),
        ("training", Scalar::Bool(true)),
        ("warmup_method", Scalar::Text("linear".to_owned())),
    ])
}

fn of_recipe(recipe: &Recipe) -> Vec<(&'static str, Scalar)> {
    let Recipe { optimizer, schedule, augmentation, input, .. } = recipe;
    let (sampler, instances) = match recipe.sampler {
        // Unused with a random order; the published default.
        SamplerSettings::Random => ("random", 4),
        SamplerSettings::Identity { instances } => ("identity", instances),
    };
    let is_augmented =
        augmentation.flip_probability > 0.0 || augmentation.pad_px > 0 || augmentation.erase_probability > 0.0;
    vec![
        ("MLM", Scalar::Bool(augmentation.mask_probability > 0.0)),
        // Adam's means, not the router's factors of the same names.
        ("alpha", Scalar::Float(optimizer.beta1)),
        ("batch_size", Scalar::Int(recipe.batch_size)),
        ("beta", Scalar::Float(optimizer.beta2)),
        ("bias_lr_factor", Scalar::Float(optimizer.bias_learning_rate_factor)),
        ("dataset_name", Scalar::Text(recipe.dataset.published_folder().to_owned())),
        ("eval_period", Scalar::Int(recipe.evaluation.every_epochs)),
        ("img_aug", Scalar::Bool(is_augmented)),
        ("img_size", Scalar::Tuple([input.height_px, input.width_px])),
        ("loss_names", Scalar::Text(loss_names(recipe).to_owned())),
        ("lr", Scalar::Float(optimizer.learning_rate)),
        ("num_epoch", Scalar::Int(recipe.epochs)),
        ("num_instance", Scalar::Int(instances)),
        ("num_workers", Scalar::Int(recipe.loading.threads)),
        ("sampler", Scalar::Text(sampler.to_owned())),
        ("target_lr", whole_or_float(schedule.final_learning_rate)),
        ("temperature", Scalar::Float(recipe.loss.temperature)),
        ("test_batch_size", Scalar::Int(recipe.evaluation.batch_size)),
        ("text_length", Scalar::Int(input.context_length)),
        ("val_dataset", Scalar::Text(recipe.evaluation.split.clone())),
        ("warmup_epochs", whole_or_float(schedule.warmup_epochs)),
        ("warmup_factor", Scalar::Float(schedule.warmup_factor)),
        ("weight_decay", Scalar::Float(optimizer.weight_decay)),
        ("weight_decay_bias", Scalar::Float(optimizer.weight_decay_bias)),
    ]
}

fn of_method(recipe: &Recipe, shape: &ModelShape) -> Vec<(&'static str, Scalar)> {
    let layers = shape.vision_layers.max(shape.text_layers);
    match recipe.method {
        Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => Vec::new(),
        Method::DmAdapter => vec![
            ("num_experts", Scalar::Int(recipe.dm_adapter.experts)),
            ("reduction", Scalar::Int(recipe.dm_adapter.reduction)),
            ("topk", Scalar::Int(recipe.dm_adapter.top_k)),
        ],
        Method::UpPerson => {
            let settings = &recipe.up_person;
            vec![
                // Left from another method (MaPLe); the published code reads neither.
                ("depth", Scalar::Int(12)),
                ("n_ctx", Scalar::Int(4)),
                // The first block with adapters; beyond the last one: none.
                ("depth_adapter", Scalar::Int(settings.depth_adapter.unwrap_or(layers).min(layers))),
                ("depth_lora", Scalar::Int(settings.depth_lora.unwrap_or(layers).min(layers))),
                ("depth_prefix", Scalar::Int(settings.depth_prefix.unwrap_or(layers).min(layers))),
                ("prefix_length", Scalar::Int(settings.prefix_length)),
                ("rank", Scalar::Int(settings.rank)),
                ("reduction", Scalar::Int(settings.reduction)),
            ]
        }
    }
}

fn loss_names(recipe: &Recipe) -> &'static str {
    let is_balanced = recipe.method == Method::DmAdapter && recipe.loss.balancing_weight > 0.0;
    match (recipe.loss.matching, is_balanced) {
        (MatchingLoss::Sdm, false) => "sdm",
        (MatchingLoss::Sdm, true) => "sdm+aux",
        (MatchingLoss::Itc, false) => "itc",
        (MatchingLoss::Itc, true) => "itc+aux",
    }
}

/// OpenAI's name of a CLIP of this shape, else the base's file, which the published code opens as well.
fn pretrain_choice(shape: &ModelShape, base: Option<&Path>) -> String {
    let found = clip::PUBLISHED_SIZES.iter().find(|sizes| {
        (sizes.vision_width, sizes.vision_layers, sizes.patch_px)
            == (shape.vision_width, shape.vision_layers, shape.patch_px)
    });
    match found {
        Some(sizes) => sizes.name.to_owned(),
        None => base.map(|base| base.display().to_string()).unwrap_or_default(),
    }
}

fn path(path: &Path) -> Scalar {
    Scalar::Text(path.display().to_string())
}

/// Arguments that are whole numbers in the published code unless somebody gives a fraction.
fn whole_or_float(value: f64) -> Scalar {
    if value.fract() == 0.0 && (0.0..1e9).contains(&value) { Scalar::Int(value as usize) } else { Scalar::Float(value) }
}

impl Scalar {
    fn to_yaml(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => float(*value),
            Self::Text(value) => quoted(value),
            Self::Tuple([first, second]) => format!("!!python/tuple\n- {first}\n- {second}"),
        }
    }
}

/// As Python writes it, with the point that YAML 1.1 wants: `4.0e-05`.
fn float(value: f64) -> String {
    let text = format!("{value:?}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let point = if digits.contains('.') { "" } else { ".0" };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
    format!("{digits}{point}e{sign}{exponent:0>2}")
}

/// Plain where no reader takes it for anything but text.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/_-.+".contains(letter))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        return text.to_owned();
    }
    if text.chars().any(char::is_control) {
        // JSON's strings are YAML's double-quoted ones.
        return serde_json::Value::from(text).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests;
