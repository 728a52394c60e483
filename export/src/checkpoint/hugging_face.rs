//! Hugging Face `CLIPModel`: its key names as a table of OpenAI's, its folder of shards and its `config.json`.

mod config;
#[cfg(test)]
mod tests;

pub(super) use config::read_config;

use crate::ExportError;
use ndarray::{ArrayD, Axis, concatenate};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How a tensor lies in the other model's tensor.
#[derive(Debug, Clone, Copy)]
enum Packing {
    /// As it is.
    Same,
    /// A linear layer's weight there, a matrix that features are multiplied with here.
    Transposed,
    /// Queries, keys and values (0, 1, 2) stacked into one tensor here.
    Rows(usize),
}
use Packing::{Rows, Same, Transposed};

/// Names outside the blocks: theirs, ours, packing.
const RENAMES: &[(&str, &str, Packing)] = &[
    ("vision_model.embeddings.class_embedding", "visual.class_embedding", Same),
    ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight", Same),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding", Same),
    ("vision_model.pre_layrnorm.weight", "visual.ln_pre.weight", Same),
    ("vision_model.pre_layrnorm.bias", "visual.ln_pre.bias", Same),
    ("vision_model.post_layernorm.weight", "visual.ln_post.weight", Same),
    ("vision_model.post_layernorm.bias", "visual.ln_post.bias", Same),
    ("visual_projection.weight", "visual.proj", Transposed),
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight", Same),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding", Same),
    ("text_model.final_layer_norm.weight", "ln_final.weight", Same),
    ("text_model.final_layer_norm.bias", "ln_final.bias", Same),
    ("text_projection.weight", "text_projection", Transposed),
];

/// What stands before the number of a block: theirs, ours.
const BLOCKS: &[(&str, &str)] = &[
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
];

/// Names within a block: theirs, ours, packing.
const BLOCK_RENAMES: &[(&str, &str, Packing)] = &[
    ("self_attn.q_proj.weight", "attn.in_proj_weight", Rows(0)),
    ("self_attn.k_proj.weight", "attn.in_proj_weight", Rows(1)),
    ("self_attn.v_proj.weight", "attn.in_proj_weight", Rows(2)),
    ("self_attn.q_proj.bias", "attn.in_proj_bias", Rows(0)),
    ("self_attn.k_proj.bias", "attn.in_proj_bias", Rows(1)),
    ("self_attn.v_proj.bias", "attn.in_proj_bias", Rows(2)),
    ("self_attn.out_proj.weight", "attn.out_proj.weight", Same),
    ("self_attn.out_proj.bias", "attn.out_proj.bias", Same),
    ("layer_norm1.weight", "ln_1.weight", Same),
    ("layer_norm1.bias", "ln_1.bias", Same),
    ("layer_norm2.weight", "ln_2.weight", Same),
    ("layer_norm2.bias", "ln_2.bias", Same),
    ("mlp.fc1.weight", "mlp.c_fc.weight", Same),
    ("mlp.fc1.bias", "mlp.c_fc.bias", Same),
    ("mlp.fc2.weight", "mlp.c_proj.weight", Same),
    ("mlp.fc2.bias", "mlp.c_proj.bias", Same),
];

/// The training temperature: embeddings do not depend on it.
const NOT_NEEDED: &str = "logit_scale";

/// Whether the tensors are named as in `CLIPModel`.
pub(super) fn has_its_names(tensors: &BTreeMap<String, ArrayD<f32>>) -> bool {
    tensors.keys().any(|key| key.starts_with("vision_model.") || key.starts_with("text_model."))
}

/// Renames and repacks all tensors to OpenAI's names.
///
/// # Errors
/// [`ExportError::UnexpectedTensors`] for names that `CLIPModel` does not have; [`ExportError::MissingTensor`] and
/// [`ExportError::WrongShape`] when queries, keys and values do not make one tensor.
pub(super) fn rename(tensors: BTreeMap<String, ArrayD<f32>>) -> Result<BTreeMap<String, ArrayD<f32>>, ExportError> {
    let mut renamed = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut stacks: BTreeMap<String, Parts> = BTreeMap::new();
    for (key, tensor) in tensors {
        if key == NOT_NEEDED {
            continue;
        }
        match openai_name(&key) {
            None => unknown.push(key),
            Some((name, Same)) => drop(renamed.insert(name, tensor)),
            Some((name, Transposed)) => drop(renamed.insert(name, transposed(&tensor))),
            Some((name, Rows(part))) => {
                if let Some(place) = stacks.entry(name).or_default().get_mut(part) {
                    *place = Some((key, tensor));
                }
            }
        }
    }
    if !unknown.is_empty() {
        const SHOWN: usize = 5;
        let count = unknown.len();
        unknown.truncate(SHOWN);
        return Err(ExportError::UnexpectedTensors {
            keys: unknown,
            count,
            family: "Hugging Face CLIPModel".to_owned(),
        });
    }
    for (name, parts) in stacks {
        let stacked = stack(&name, parts)?;
        renamed.insert(name, stacked);
    }
    Ok(renamed)
}

fn openai_name(key: &str) -> Option<(String, Packing)> {
    let find = |table: &[(&str, &'static str, Packing)], key: &str| {
        table.iter().find(|&&(theirs, ..)| theirs == key).map(|&(_, ours, packing)| (ours, packing))
    };
    if let Some((ours, packing)) = find(RENAMES, key) {
        return Some((ours.to_owned(), packing));
    }
    BLOCKS.iter().find_map(|&(theirs, ours)| {
        let (number, rest) = key.strip_prefix(theirs)?.split_once('.')?;
        let (name, packing) = find(BLOCK_RENAMES, rest)?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| (format!("{ours}{number}.{name}"), packing))
    })
}

/// Queries, keys and values with their names, as far as they were found.
type Parts = [Option<(String, ArrayD<f32>)>; 3];

fn transposed(tensor: &ArrayD<f32>) -> ArrayD<f32> {
    tensor.t().as_standard_layout().into_owned()
}

/// Queries, keys and values above each other.
fn stack(name: &str, parts: Parts) -> Result<ArrayD<f32>, ExportError> {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let [(first, query), (_, key), (_, value)] = parts.as_slice() else {
        return Err(ExportError::MissingTensor {
            key: name.to_owned(),
            expected: "the three parts q_proj, k_proj and v_proj".to_owned(),
        });
    };
    if let Some((other, tensor)) = parts.iter().find(|(_, tensor)| tensor.shape() != query.shape()) {
        return Err(ExportError::WrongShape {
            key: other.clone(),
            found: tensor.shape().to_vec(),
            expected: format!("{:?} as `{first}`", query.shape()),
        });
    }
    concatenate(Axis(0), &[query.view(), key.view(), value.view()]).map_err(|_| ExportError::WrongShape {
        key: first.clone(),
        found: query.shape().to_vec(),
        expected: "at least one axis".to_owned(),
    })
}

/// `model.safetensors.index.json`: which file holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names, in order. They must lie beside it.
pub(super) fn shards(index: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let damaged =
        |reason: String| ExportError::Damaged { path: index.to_owned(), entry: "weight_map".to_owned(), reason };
    let text = config::read_text(index)?;
    let parsed: ShardIndex = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(damaged("it names no files".to_owned()));
    }
    let plain = |name: &String| !name.contains(['/', '\\']) && name != ".." && name != ".";
    if let Some(name) = names.iter().find(|name| !plain(name)) {
        return Err(damaged(format!("`{name}` is not a file name within the folder")));
    }
    Ok(names.into_iter().map(|name| index.with_file_name(name)).collect())
}
