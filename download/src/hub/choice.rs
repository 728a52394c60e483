//! Which files of a repository an export needs, and which of them are small.

use crate::DownloadError;
use crate::error::at;
use crate::place::is_plain;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

/// What says how weights are to be read. It is fetched from beside them.
const SETTINGS: [&str; 9] = [
    "config.json",
    "configs.yaml",
    "open_clip_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
];

/// The most shards that an index may name. Published models of hundreds of GiB have a few hundred.
const SHARD_LIMIT: usize = 1_000;

/// Whole models and the indices of such in shards: the first one that a repository has. Safetensors hold nothing but
/// numbers, so these come first.
const WEIGHTS: [&str; 7] = [
    "model.safetensors",
    "open_clip_model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "best.pth",
];

/// The weights, or the index of their shards.
pub(super) fn weights(file: Option<&str>, has: impl Fn(&str) -> bool) -> Option<String> {
    match file {
        Some(file) => has(file).then(|| file.to_owned()),
        None => WEIGHTS.into_iter().find(|name| has(name)).map(str::to_owned),
    }
}

/// Whether a file lists those that hold the weights.
pub(super) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// What may lie beside weights, and says how they are to be read.
pub(super) fn settings(weights: &str) -> impl Iterator<Item = String> {
    let (folder, name) = weights.rsplit_once('/').map_or(("", weights), |(folder, name)| (folder, name));
    let of_the_run = Path::new(name).with_extension("yaml").to_string_lossy().into_owned();
    let of_the_run = Some(of_the_run).filter(|name| !SETTINGS.contains(&name.as_str()));
    let names = SETTINGS.into_iter().map(str::to_owned).chain(of_the_run);
    let folder = folder.to_owned();
    names.map(move |name| beside(&folder, &name))
}

/// The name of a file in a folder of the repository.
pub(super) fn beside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shards that an index lists, as names in the repository. None of them leads out of the index's folder. `name` is the
/// index's own in the repository, `place` what messages call the repository.
pub(super) fn shards(
    index: &Path,
    name: &str,
    limit_bytes: u64,
    place: &str,
) -> Result<BTreeSet<String>, DownloadError> {
    let wrong = |reason: &str| DownloadError::Wrong { url: place.to_owned(), reason: format!("{name} {reason}") };
    let file = File::open(index).map_err(at(index))?;
    let index: Index = serde_json::from_reader(BufReader::new(file.take(limit_bytes)))
        .map_err(|_| wrong("is no index of shards: it has no weight_map"))?;
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.len() > SHARD_LIMIT {
        return Err(wrong(&format!("names {} shards, and at most {SHARD_LIMIT} are fetched", names.len())));
    }
    if names.is_empty() || !names.iter().all(|name| is_plain(name)) {
        return Err(wrong("names shards that are no files beside it"));
    }
    Ok(names.iter().map(|name| beside(folder, name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a repository is asked for, without a FILE.
    fn chosen(names: &[&str]) -> Option<String> {
        weights(None, |name| names.contains(&name))
    }

    #[test]
    fn numbers_alone_are_preferred_and_whole_files_to_shards() {
        let safe = "model.safetensors";
        let (safe_index, index) = ("model.safetensors.index.json", "pytorch_model.bin.index.json");
        let bin = "pytorch_model.bin";
        for (names, wanted) in [
            // As plain CLIP is published: its weights for other frameworks are not taken.
            (&["flax_model.msgpack", bin, "tf_model.h5", "config.json"][..], Some(bin)),
            (&[bin, safe], Some(safe)),
            (&[bin, safe_index, "model-00001-of-00002.safetensors"], Some(safe_index)),
            (&[safe_index, safe], Some(safe)),
            (&[index, "pytorch_model-00001-of-00002.bin"], Some(index)),
            (&["open_clip_pytorch_model.bin", "open_clip_model.safetensors"], Some("open_clip_model.safetensors")),
            (&["best.pth", "configs.yaml"], Some("best.pth")),
            (&["tf_model.h5", "model.fp16.safetensors", "folder/model.safetensors"], None),
        ] {
            assert_eq!(chosen(names).as_deref(), wanted, "{names:?}");
        }
    }

    #[test]
    fn settings_lie_beside_the_weights_and_are_named_once() {
        let names: Vec<String> = settings("runs/model.safetensors").collect();
        for name in ["config.json", "tokenizer.json", "vocab.json", "merges.txt", "model.yaml"] {
            assert!(names.contains(&format!("runs/{name}")), "{name}");
        }
        assert_eq!(settings("configs.pth").filter(|name| name == "configs.yaml").count(), 1);
    }
}
