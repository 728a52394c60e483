//! Hugging Face `CLIPModel`: its key names beside OpenAI's, its folder of shards and its `config.json`.

mod config;
#[cfg(test)]
mod tests;

pub(super) use config::{read_config, read_text};

use crate::ExportError;
use descry_model::method::{BlockKeys, Side, clip};
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

/// Tensors outside the blocks: theirs, ours, packing.
const TENSORS: [(&str, &str, Packing); 7] = [
    ("vision_model.embeddings.class_embedding", clip::CLASS_EMBEDDING, Same),
    ("vision_model.embeddings.patch_embedding.weight", clip::PATCH_KERNEL, Same),
    ("vision_model.embeddings.position_embedding.weight", clip::IMAGE_POSITIONS, Same),
    ("visual_projection.weight", clip::IMAGE_PROJECTION, Transposed),
    ("text_model.embeddings.token_embedding.weight", clip::TOKEN_EMBEDDING, Same),
    ("text_model.embeddings.position_embedding.weight", clip::TEXT_POSITIONS, Same),
    ("text_projection.weight", clip::TEXT_PROJECTION, Transposed),
];

/// Layer norms outside the blocks: theirs, ours.
const NORMS: [(&str, &str); 3] = [
    ("vision_model.pre_layrnorm", clip::IMAGE_NORM_BEFORE),
    ("vision_model.post_layernorm", clip::IMAGE_NORM_AFTER),
    ("text_model.final_layer_norm", clip::TEXT_NORM_AFTER),
];

/// What stands before the number of a block.
const BLOCKS: [(&str, Side); 2] =
    [("vision_model.encoder.layers.", Side::Vision), ("text_model.encoder.layers.", Side::Text)];

/// The name that one of our modules has in a block.
type ModuleName = fn(&BlockKeys) -> String;

/// Modules with weight and bias within a block: theirs, ours.
const MODULES: [(&str, ModuleName); 5] = [
    ("self_attn.out_proj", BlockKeys::out_projection),
    ("layer_norm1", BlockKeys::attention_norm),
    ("layer_norm2", BlockKeys::mlp_norm),
    ("mlp.fc1", BlockKeys::mlp_in),
    ("mlp.fc2", BlockKeys::mlp_out),
];

/// Their projections, in the order of the rows of our packed one.
const PROJECTIONS: [&str; 3] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];

/// The training temperature: embeddings do not depend on it.
const NOT_NEEDED: &str = "logit_scale";

/// Whether a tensor has a name that only `CLIPModel` has.
pub(super) fn is_its_name(key: &str) -> bool {
    ["vision_model.", "text_model.", "visual_projection."].iter().any(|start| key.starts_with(start))
}

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
            method: "Hugging Face CLIPModel".to_owned(),
        });
    }
    for (name, parts) in stacks {
        let stacked = stack(&name, parts)?;
        renamed.insert(name, stacked);
    }
    Ok(renamed)
}

fn openai_name(key: &str) -> Option<(String, Packing)> {
    if let Some(&(_, ours, packing)) = TENSORS.iter().find(|&&(theirs, ..)| theirs == key) {
        return Some((ours.to_owned(), packing));
    }
    let (module, kind @ ("weight" | "bias")) = key.rsplit_once('.')? else { return None };
    if let Some(&(_, ours)) = NORMS.iter().find(|&&(theirs, _)| theirs == module) {
        return Some((format!("{ours}.{kind}"), Same));
    }
    BLOCKS.iter().find_map(|&(start, side)| {
        let (number, module) = module.strip_prefix(start)?.split_once('.')?;
        let layer = number.parse().ok().filter(|layer: &usize| layer.to_string() == number)?;
        let keys = side.block(layer);
        if let Some(part) = PROJECTIONS.iter().position(|&theirs| theirs == module) {
            let packed = if kind == "weight" { keys.in_projection_weight() } else { keys.in_projection_bias() };
            return Some((packed, Rows(part)));
        }
        let (_, ours) = MODULES.iter().find(|&&(theirs, _)| theirs == module)?;
        Some((format!("{}.{kind}", ours(&keys)), Same))
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
    let text = read_text(index)?;
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
