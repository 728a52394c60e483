//! A recipe in layers: a preset, then a file with any of its settings, then single settings.

use super::Recipe;
use crate::TrainError;
use config::{Config, ConfigError, File, FileFormat, ValueKind};
use descry_model::Method;
use descry_model::text_input::{decode_text, read_limited};
use serde_json::Value as Json;
use std::path::Path;

/// A whole recipe has about two kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The keys that `sampler` knows in any of its kinds.
const SAMPLER_KEYS: [&str; 2] = ["kind", "instances"];

impl Recipe {
    /// `base`, overridden by a YAML file with any subset of its keys, overridden by dotted names with values in YAML's
    /// notation, such as `("optimizer.learning_rate", "1e-4")` or `("micro_batch_size", "null")`; the last of two wins.
    ///
    /// Values must be of the setting's type: no text for a number, no fraction for a count. A whole section is no
    /// value. Ranges are checked by [`Recipe::validate`] only.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for an unknown name or a value of the wrong type; [`TrainError::Unreadable`].
    pub fn layered(base: Self, file: Option<&Path>, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        let whole = |error: ConfigError| setting("recipe", error.to_string());
        let published = Config::try_from(&base).map_err(whole)?;
        let mut builder = Config::builder().add_source(published);
        if let Some(path) = file {
            let read =
                parse(&read_text(path)?).map_err(|error| setting(&path.display().to_string(), error.to_string()))?;
            builder = builder.add_source(read);
        }
        for (name, text) in overrides {
            let one = single(name, text).map_err(|error| setting(name, error.to_string()))?;
            builder = builder.add_source(one);
        }
        let merged = builder.build().map_err(whole)?;
        if !all_finite(&merged.cache) {
            return Err(setting("recipe", "has a number beyond what a float64 holds".to_owned()));
        }
        let merged: Json = merged.try_deserialize().map_err(whole)?;
        let recipe = typed(&base, merged)?;
        check_presets_inputs(&base, &recipe)?;
        Ok(recipe)
    }

    /// The only method that a setting has an effect for, such as [`Method::UpPerson`] for `up_person.rank`; `None` for
    /// what concerns others as well, and for names that no setting has.
    pub fn method_of_setting(name: &str) -> Option<Method> {
        match name.split_once('.').unwrap_or((name, "")) {
            ("dm_adapter", _) | ("loss", "balancing_weight" | "balance_padding") => Some(Method::DmAdapter),
            ("up_person", _) => Some(Method::UpPerson),
            _ => None,
        }
    }
}

fn read_text(path: &Path) -> Result<String, TrainError> {
    let unreadable = |source| TrainError::Unreadable { path: path.to_owned(), source };
    let bytes = read_limited(path, MAX_FILE_BYTES).map_err(unreadable)?;
    decode_text(bytes).map_err(|reason| setting(&path.display().to_string(), reason))
}

fn parse(yaml: &str) -> Result<Config, ConfigError> {
    Config::builder().add_source(File::from_str(yaml, FileFormat::Yaml)).build()
}

/// One setting as a layer of its own, so that a later one wins over an earlier one of the same name.
fn single(name: &str, text: &str) -> Result<Config, ConfigError> {
    let value: config::Value = parse(&format!("value: {text}"))?.get("value")?;
    if matches!(value.kind, ValueKind::Table(_)) {
        // Its keys would get past whoever looks at names to see what is set.
        let reason = format!("is a whole section; give its settings one by one, such as {name}.KEY=VALUE");
        return Err(ConfigError::Message(reason));
    }
    Config::builder().set_override(name, value)?.build()
}

/// JSON would turn infinity into null, which some settings take for "none".
fn all_finite(value: &config::Value) -> bool {
    match &value.kind {
        ValueKind::Float(number) => number.is_finite(),
        ValueKind::Table(entries) => entries.values().all(all_finite),
        ValueKind::Array(items) => items.iter().all(all_finite),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::String(_) => true,
    }
}

/// Reads the recipe through JSON, which keeps types apart: the `config` crate itself would round 0.6 epochs to 1.
fn typed(base: &Recipe, merged: Json) -> Result<Recipe, TrainError> {
    let sampler = merged.get("sampler").and_then(Json::as_object);
    if let Some(unknown) = sampler.and_then(|keys| keys.keys().find(|key| !SAMPLER_KEYS.contains(&key.as_str()))) {
        return Err(setting(&format!("sampler.{unknown}"), "unknown, expected kind or instances".to_owned()));
    }
    let error = match serde_json::from_value(merged.clone()) {
        Ok(recipe) => return Ok(recipe),
        Err(error) => error,
    };
    // The error does not say where: of all that differs from the base, what does not work alone is to blame.
    let base = serde_json::to_value(base).map_err(|error| setting("recipe", error.to_string()))?;
    let mut changes = Vec::new();
    collect_changes(&mut Vec::new(), &base, &merged, &mut changes);
    for (path, value) in changes {
        let mut alone = base.clone();
        replace(&mut alone, &path, value);
        if let Err(error) = serde_json::from_value::<Recipe>(alone) {
            return Err(setting(&path.join("."), error.to_string()));
        }
    }
    Err(setting("recipe", error.to_string()))
}

/// Where `merged` differs from `base`, with its values there. A sampler is one value: its keys depend on each other.
fn collect_changes(path: &mut Vec<String>, base: &Json, merged: &Json, changes: &mut Vec<(Vec<String>, Json)>) {
    let is_sampler = path.first().is_some_and(|section| section == "sampler");
    let (Json::Object(old), Json::Object(new), false) = (base, merged, is_sampler) else {
        if base != merged {
            changes.push((path.clone(), merged.clone()));
        }
        return;
    };
    for (key, value) in new {
        path.push(key.clone());
        match old.get(key) {
            Some(before) => collect_changes(path, before, value, changes),
            None => changes.push((path.clone(), value.clone())),
        }
        path.pop();
    }
}

fn replace(target: &mut Json, path: &[String], value: Json) {
    let (Some((key, rest)), Some(entries)) = (path.split_first(), target.as_object_mut()) else { return };
    if rest.is_empty() {
        entries.insert(key.clone(), value);
    } else if let Some(inner) = entries.get_mut(key) {
        replace(inner, rest, value);
    }
}

/// The preset depends on method and data set: another method in the file would get the wrong one's numbers.
fn check_presets_inputs(base: &Recipe, recipe: &Recipe) -> Result<(), TrainError> {
    let other = |name: &str, found: &str, asked: &str| {
        let reason = format!("is {found} in the settings, but {asked} was asked for; make them the same");
        Err(setting(name, reason))
    };
    if recipe.method != base.method {
        return other("method", recipe.method.name(), base.method.name());
    }
    if recipe.dataset != base.dataset {
        return other("dataset", recipe.dataset.name(), base.dataset.name());
    }
    Ok(())
}

fn setting(name: &str, reason: String) -> TrainError {
    TrainError::Setting { name: name.to_owned(), reason }
}

#[cfg(test)]
mod tests;
