//! Where settings come from: defaults compiled in, then a file, then the environment. The only place that reads either.

use config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;
use std::path::Path;

/// A setting that is unknown, of the wrong type, or not allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source cannot be read, or does not fit the settings' structure.
    #[error("configuration: {0}")]
    Source(#[from] config::ConfigError),
    /// A value is outside its range.
    #[error("configuration: {setting}: {reason}")]
    Value {
        /// Dotted name of the setting.
        setting: &'static str,
        /// What is allowed.
        reason: String,
    },
}

/// Reads settings: `defaults` (YAML), overridden by the YAML file, overridden by environment variables
/// `<PREFIX>__SECTION__NAME`.
///
/// # Errors
/// [`ConfigError::Source`] for a file that is missing or malformed, an unknown setting, or a value of the wrong type.
pub fn load<T: DeserializeOwned>(defaults: &str, file: Option<&Path>, prefix: &str) -> Result<T, ConfigError> {
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Yaml));
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Yaml));
    }
    let environment = Environment::with_prefix(prefix).prefix_separator("__").separator("__").try_parsing(true);
    Ok(builder.add_source(environment).build()?.try_deserialize()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        max_wait_ms: u64,
    }

    #[test]
    fn unknown_settings_are_refused() {
        let check = |yaml: &str| load::<Settings>(yaml, None, "DESCRY_TEST_UNUSED");
        assert_eq!(check("max_wait_ms: 5").unwrap(), Settings { max_wait_ms: 5 });
        assert!(check("max_wait_ms: 5\nmax_weight_ms: 6").unwrap_err().to_string().contains("max_weight_ms"));
        assert!(check("max_wait_ms: soon").is_err());
    }

    #[test]
    fn a_named_file_must_exist() {
        assert!(
            load::<Settings>("max_wait_ms: 5", Some(Path::new("/nowhere/descry.yaml")), "DESCRY_TEST_UNUSED").is_err()
        );
    }
}
