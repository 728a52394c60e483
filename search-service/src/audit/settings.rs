//! The section `audit` of the settings.

use crate::SearchError;
use crate::config::listed;
use descry_audit::{Anchoring, AuditError, AuditSettings, KeptNames, KeptWords};
use descry_serving::config::ConfigError;
use descry_trust::{Scope, Verb};
use serde::Deserialize;
use std::path::PathBuf;

/// The audit log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The folder of the logs of all instances; empty: none is kept.
    pub folder: PathBuf,
    /// The name of this instance; empty for that of the machine.
    pub instance: String,
    /// What is kept of the words of queries.
    pub queries: KeptWords,
    /// The key for words that are sealed or hashed.
    pub query_key_file: PathBuf,
    /// What is kept of the names of images, people, tracks and frames.
    pub names: KeptNames,
    /// The key for names that are hashed.
    pub name_key_file: PathBuf,
    /// Galleries that are used for a stated purpose alone; a `*` stands for any letters.
    #[serde(deserialize_with = "listed")]
    pub require_purpose: Vec<String>,
    /// Galleries that are used in a stated case alone; a `*` stands for any letters.
    #[serde(deserialize_with = "listed")]
    pub require_case: Vec<String>,
    /// Bytes of a file after which another one is begun.
    pub max_file_bytes: u64,
    /// Days after which a file is removed.
    pub kept_days: u32,
    /// A file to which the log's last line is added every so often; empty for none.
    pub anchor_file: PathBuf,
    /// A program, with its arguments, that is given that line; empty for none.
    #[serde(deserialize_with = "listed")]
    pub anchor_command: Vec<String>,
    /// Seconds between two of these.
    pub anchor_interval_s: u64,
}

impl AuditConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=86_400).contains(&self.anchor_interval_s) {
            let reason = format!("{}; 1 to 86400 are allowed", self.anchor_interval_s);
            return Err(ConfigError::Value { setting: "audit.anchor_interval_s", reason });
        }
        let refused = |setting| move |error: AuditError| ConfigError::Value { setting, reason: error.to_string() };
        self.settings().check().map_err(refused("audit"))?;
        galleries("require_purpose", &self.require_purpose).map_err(refused("audit"))?;
        galleries("require_case", &self.require_case).map_err(refused("audit"))?;
        Ok(())
    }

    pub(super) fn settings(&self) -> AuditSettings {
        AuditSettings {
            folder: self.folder.clone(),
            instance: self.instance.clone(),
            max_file_bytes: self.max_file_bytes,
            kept_days: self.kept_days,
            names: self.names,
            name_key_file: self.name_key_file.clone(),
        }
    }

    pub(super) fn purpose_galleries(&self) -> Result<Vec<Scope>, SearchError> {
        Ok(galleries("require_purpose", &self.require_purpose)?)
    }

    pub(super) fn case_galleries(&self) -> Result<Vec<Scope>, SearchError> {
        Ok(galleries("require_case", &self.require_case)?)
    }

    pub(super) fn anchoring(&self) -> Anchoring {
        let file = Some(self.anchor_file.clone()).filter(|file| !file.as_os_str().is_empty());
        Anchoring { file, command: self.anchor_command.clone() }
    }
}

/// Names of galleries are written as in scopes.
fn galleries(setting: &'static str, patterns: &[String]) -> Result<Vec<Scope>, AuditError> {
    let scope = |pattern: &String| {
        let parsed = format!("{}:{pattern}", Verb::Search).parse::<Scope>();
        parsed.map_err(|_| AuditError::Setting {
            setting,
            reason: format!("{pattern:?} names no gallery; give names in which a * stands for any letters"),
        })
    };
    patterns.iter().map(scope).collect()
}
