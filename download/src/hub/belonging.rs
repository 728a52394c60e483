//! Which settings belong to weights that are here, where nobody may be asked.
//!
//! Settings that are missing would not be missed: without them the weights would be read by assumptions. So it must be known
//! of those that decide whether the repository has them. The hub's usual client writes that down, as an empty file
//! `.no_exist/COMMIT/NAME` in the repository's folder, and so do we.

use crate::DownloadError;
use crate::error::at;
use std::fs;
use std::path::{Path, PathBuf};

/// What is known of a file of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is here.
    Here,
    /// The repository does not have it.
    Absent,
    /// It is not here, and nobody wrote down whether the repository has it.
    Nothing,
}

/// Where it is written down that a commit lacks a file.
fn mark(folder: &Path, commit: &str, name: &str) -> PathBuf {
    folder.join(".no_exist").join(commit).join(name)
}

/// Writes down that a commit lacks a file.
pub(super) fn mark_absent(folder: &Path, commit: &str, name: &str) -> Result<(), DownloadError> {
    let mark = mark(folder, commit, name);
    if let Some(parent) = mark.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    fs::write(&mark, "").map_err(at(&mark))
}

/// What is known of a file. `folder` is the repository's in the cache.
pub(super) fn known(folder: &Path, commit: &str, name: &str) -> Known {
    if folder.join("snapshots").join(commit).join(name).is_file() {
        Known::Here
    } else if mark(folder, commit, name).is_file() {
        Known::Absent
    } else {
        Known::Nothing
    }
}

/// The first file that decides how weights are read, and of which nothing is known.
pub(super) fn first_unknown(weights: &str, known: impl Fn(&str) -> Known) -> Option<String> {
    let (folder, name) = weights.rsplit_once('/').unwrap_or(("", weights));
    let run = Path::new(name).with_extension("yaml").to_string_lossy().into_owned();
    // The weights of the usual names have one file that describes them; others may have any.
    let describing = if name.starts_with("open_clip_") {
        vec!["open_clip_config.json"]
    } else if name.starts_with("model.") || name.starts_with("pytorch_model.") {
        vec!["config.json"]
    } else {
        vec![run.as_str(), "configs.yaml", "config.json", "open_clip_config.json"]
    };
    [describing, vec!["tokenizer.json"]].into_iter().find_map(|names| {
        let names = names.into_iter().map(|name| super::choice::beside(folder, name));
        let unknown: Vec<String> = names.clone().filter(|name| known(name) == Known::Nothing).collect();
        let is_here = names.into_iter().any(|name| known(&name) == Known::Here);
        unknown.into_iter().next().filter(|_| !is_here)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_must_be_here_or_known_to_be_absent() {
        let unknown = |weights: &str, here: &[&str], absent: &[&str]| {
            first_unknown(weights, |name| match (here.contains(&name), absent.contains(&name)) {
                (true, _) => Known::Here,
                (false, true) => Known::Absent,
                (false, false) => Known::Nothing,
            })
        };
        let missing = |name: &str| Some(name.to_owned());
        let tokenizer = "tokenizer.json";
        assert_eq!(unknown("model.safetensors", &[tokenizer], &[]), missing("config.json"));
        assert_eq!(unknown("pytorch_model.bin.index.json", &["configs.yaml", tokenizer], &[]), missing("config.json"));
        assert_eq!(unknown("model.safetensors", &["config.json"], &[]), missing(tokenizer));
        assert_eq!(unknown("model.safetensors", &["config.json", tokenizer], &[]), None);
        assert_eq!(unknown("model.safetensors", &[], &["config.json", tokenizer]), None);
        let open_clip = "open_clip_model.safetensors";
        assert_eq!(unknown(open_clip, &["config.json", tokenizer], &[]), missing("open_clip_config.json"));
        assert_eq!(unknown("a/best.pth", &["configs.yaml", "a/tokenizer.json"], &[]), missing("a/best.yaml"));
        assert_eq!(unknown("a/best.pth", &["a/configs.yaml", "a/tokenizer.json"], &[]), None);
        let absent = ["best.yaml", "configs.yaml", "config.json"];
        assert_eq!(unknown("best.pth", &[tokenizer], &absent), missing("open_clip_config.json"));
    }
}
