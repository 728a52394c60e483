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
    load_from(defaults, file, Environment::with_prefix(prefix))
}

/// The text of one environment variable such as `DESCRY_TOKEN`; nothing where it is missing or empty.
///
/// # Errors
/// [`ConfigError::Source`] for one that is no text.
pub fn variable(name: &str) -> Result<Option<String>, ConfigError> {
    variable_of(name, Environment::default())
}

fn variable_of(name: &str, environment: Environment) -> Result<Option<String>, ConfigError> {
    let prefix = name.split('_').next().unwrap_or_default();
    let environment = environment.prefix(prefix).keep_prefix(true).ignore_empty(true);
    match Config::builder().add_source(environment).build()?.get_string(&name.to_lowercase()) {
        Ok(text) => Ok(Some(text)),
        Err(config::ConfigError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn load_from<T: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    environment: Environment,
) -> Result<T, ConfigError> {
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Yaml));
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Yaml));
    }
    // Values stay text until the settings' own types say otherwise: a key such as `0123` is no number.
    let environment = environment.prefix_separator("__").separator("__");
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
    fn variables_are_read_by_the_settings_types() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Typed {
            api_key: String,
            max_wait_ms: u64,
            enabled: bool,
        }
        let defaults = "api_key: ''\nmax_wait_ms: 5\nenabled: false";
        for key in ["0123", "1e3", "TRUE", "+5", "12345678901234567890"] {
            let variables = [("P__API_KEY", key), ("P__MAX_WAIT_MS", "250"), ("P__ENABLED", "true")];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let environment = Environment::with_prefix("P").source(Some(variables));
            let typed: Typed = load_from(defaults, None, environment).unwrap();
            assert_eq!(typed, Typed { api_key: key.to_owned(), max_wait_ms: 250, enabled: true });
        }
    }

    #[test]
    fn one_variable_is_read_as_it_is_written() {
        let of = |name: &str, text: &str| {
            let variables = [(name.to_owned(), text.to_owned()), ("DESCRY_SEARCH__A__B".to_owned(), "1".to_owned())];
            variable_of("DESCRY_TOKEN", Environment::default().source(Some(variables.into()))).unwrap()
        };
        assert_eq!(of("DESCRY_TOKEN", "descry_0123_Ab-_=").as_deref(), Some("descry_0123_Ab-_="));
        assert_eq!(of("DESCRY_TOKEN", "00123").as_deref(), Some("00123"));
        assert_eq!(of("DESCRY_TOKEN", ""), None);
        assert_eq!(of("OTHER_TOKEN", "x"), None);
    }

    #[test]
    fn a_named_file_must_exist() {
        assert!(
            load::<Settings>("max_wait_ms: 5", Some(Path::new("/nowhere/descry.yaml")), "DESCRY_TEST_UNUSED").is_err()
        );
    }
}
