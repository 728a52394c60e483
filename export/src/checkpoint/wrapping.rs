//! Prefixes that training scripts and libraries leave before the names of a model's tensors.

use super::hugging_face;
use crate::ExportError;
use descry_model::method::clip::is_of_a_tower;
use descry_model::method::{TOWER_WRAPPER_PREFIXES, WRAPPER_PREFIXES};
use std::collections::{BTreeMap, BTreeSet};

/// What a file puts before the names of its CLIP, cut into the wrappers' names, the outermost first.
#[derive(Debug, PartialEq)]
pub(super) struct Wrapping {
    prefixes: Vec<&'static str>,
}

impl Wrapping {
    /// Finds what stands before the towers' tensors. Where several prefixes do, as of a module that is registered twice, one
    /// of them must have all that the others have.
    ///
    /// # Errors
    /// [`ExportError::SeveralModels`] for towers that lie in parts behind different prefixes: joined, they would be a model
    /// that nobody trained.
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a str>) -> Result<Self, ExportError> {
        let mut towers: BTreeMap<Vec<&'static str>, BTreeSet<&str>> = BTreeMap::new();
        for key in keys {
            let (prefixes, rest) = split(key, &TOWER_WRAPPER_PREFIXES);
            if is_of_a_tower(rest) || hugging_face::is_its_name(rest) || rest.starts_with(TEXT_MODULE) {
                // These two were always removed, wherever they stand: they make no other model.
                let (_, shown) = split(key, &WRAPPER_PREFIXES);
                let prefixes = if shown == rest { Vec::new() } else { prefixes };
                towers.entry(prefixes).or_default().insert(rest);
            }
        }
        let Some((prefixes, largest)) = towers.iter().max_by_key(|(_, names)| names.len()) else {
            return Ok(Self { prefixes: Vec::new() });
        };
        match towers.iter().find(|(_, names)| !names.is_subset(largest)) {
            None => Ok(Self { prefixes: prefixes.clone() }),
            Some((other, _)) => Err(ExportError::SeveralModels { first: prefixes.concat(), second: other.concat() }),
        }
    }

    /// A name without the wrappers that stand before the towers, and without those that are always removed.
    pub(super) fn remove<'a>(&self, key: &'a str) -> &'a str {
        let mut rest = key;
        for prefix in &self.prefixes {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        let (_, rest) = split(rest, &WRAPPER_PREFIXES);
        rest
    }
}

/// What the names of TBPS-CLIP's text tower start with.
const TEXT_MODULE: &str = "encode_text.";

/// The prefixes before a name, and the name.
fn split<'a>(mut name: &'a str, known: &[&'static str]) -> (Vec<&'static str>, &'a str) {
    let mut prefixes = Vec::new();
    while let Some((prefix, rest)) =
        known.iter().find_map(|&prefix| name.strip_prefix(prefix).map(|rest| (prefix, rest)))
    {
        prefixes.push(prefix);
        name = rest;
    }
    (prefixes, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(keys: &[&'a str]) -> Result<Vec<&'a str>, ExportError> {
        let wrapping = Wrapping::of(keys.iter().copied())?;
        Ok(keys.iter().map(|key| wrapping.remove(key)).collect())
    }

    #[test]
    fn wrappers_go_in_any_order() {
        for prefix in [
            "",
            "module.",
            "base_model.",
            "_orig_mod.module.",
            "module._orig_mod.base_model.",
            "model.clip_model.",
            "clip.",
            "module.model.clip.",
            "model.model.",
        ] {
            let wrapped = [format!("{prefix}visual.proj"), format!("{prefix}transformer.resblocks.0.ln_1.bias")];
            let found = named(&[&wrapped[0], &wrapped[1]]).unwrap();
            assert_eq!(found, ["visual.proj", "transformer.resblocks.0.ln_1.bias"], "{prefix}");
        }
        assert_eq!(named(&["clip.vision_model.post_layernorm.bias"]).unwrap(), ["vision_model.post_layernorm.bias"]);
        assert_eq!(named(&["model.encode_text.ln_final.bias"]).unwrap(), ["encode_text.ln_final.bias"]);
    }

    /// Heads stand beside the CLIP, behind fewer wrappers than it, and the learners of UP-Person behind none.
    #[test]
    fn parts_beside_the_towers_lose_what_they_share_with_them() {
        let keys = ["_orig_mod.base_model.visual.proj", "_orig_mod.classifier.weight", "LORA_learner.x"];
        assert_eq!(named(&keys).unwrap(), ["visual.proj", "classifier.weight", "LORA_learner.x"]);
        let keys = ["base_model.visual.proj", "module.classifier.weight"];
        assert_eq!(named(&keys).unwrap(), ["visual.proj", "classifier.weight"]);
    }

    #[test]
    fn what_is_a_real_name_stays() {
        let keys = ["visual.proj", "model.weight", "clip.weight", "clip_model.classifier.weight"];
        assert_eq!(named(&keys).unwrap(), keys);
        let keys = ["clip.visual.proj", "model.classifier.weight"];
        assert_eq!(named(&keys).unwrap(), ["visual.proj", "model.classifier.weight"]);
    }

    #[test]
    fn two_models_are_not_joined() {
        let message = named(&["clip.visual.proj", "model.text_projection"]).unwrap_err().to_string();
        assert!(message.contains("`clip.`") && message.contains("`model.`"), "{message}");
        // A module that is registered twice, whose values are compared later.
        assert!(named(&["clip.visual.proj", "clip.text_projection", "model.visual.proj"]).is_ok());
    }
}
