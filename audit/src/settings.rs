//! Where a log lies, and how long it is kept.

use crate::{AuditError, KeptNames};
use std::path::PathBuf;

/// Days that a log is kept at least: the EU's AI Act (articles 19 and 26) asks for six months, and the longest six months of a
/// year have 184 days.
pub const MIN_KEPT_DAYS: u32 = 184;

/// A file that is longer than this cannot be looked through when a service begins without anybody waiting for it.
const MAX_FILE_BYTES: u64 = 1 << 30;

const MAX_NAME_BYTES: usize = 63;

/// The settings of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The folder of the logs of all instances.
    pub folder: PathBuf,
    /// The name of this instance; empty for that of the machine. Each writes a chain of its own, in a folder of that name.
    pub instance: String,
    /// Bytes of a file after which another one is begun; there is one for each day at least.
    pub max_file_bytes: u64,
    /// Days after which a file is removed.
    pub kept_days: u32,
    /// What is kept of the names of images, people, tracks and frames.
    pub names: KeptNames,
    /// The file of the key for names that are hashed.
    pub name_key_file: PathBuf,
}

impl AuditSettings {
    /// # Errors
    /// [`AuditError::Setting`] for a value that is not allowed.
    pub fn check(&self) -> Result<(), AuditError> {
        if self.kept_days < MIN_KEPT_DAYS {
            let reason = format!("{}; {MIN_KEPT_DAYS} days, six months, are the least", self.kept_days);
            return Err(AuditError::setting("kept_days", reason));
        }
        if !(1..=MAX_FILE_BYTES).contains(&self.max_file_bytes) {
            let reason = format!("{}; 1 to {MAX_FILE_BYTES} are allowed", self.max_file_bytes);
            return Err(AuditError::setting("max_file_bytes", reason));
        }
        Ok(())
    }

    /// The folder of this instance.
    ///
    /// # Errors
    /// [`AuditError::Setting`] for a name that is none of a folder.
    pub(crate) fn instance_folder(&self) -> Result<PathBuf, AuditError> {
        let name = match self.instance.as_str() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            name => name.to_owned(),
        };
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('.') || !name.chars().all(is_allowed) {
            let reason = format!(
                "{name:?} is no name of a folder; give 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' or '.', no '.' first"
            );
            return Err(AuditError::setting("instance", reason));
        }
        Ok(self.folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_folder_and_too_short_a_time_are_refused() {
        let settings = |instance: &str, kept_days| AuditSettings {
            folder: "/audit".into(),
            instance: instance.to_owned(),
            max_file_bytes: 1_000,
            kept_days,
            names: KeptNames::Clear,
            name_key_file: PathBuf::new(),
        };
        assert_eq!(settings("a-1.b", 184).instance_folder().unwrap(), PathBuf::from("/audit/a-1.b"));
        for wrong in ["..", "a/b", ".hidden", "a b", &"a".repeat(64)] {
            let error = settings(wrong, 184).instance_folder().unwrap_err().to_string();
            assert!(error.starts_with("audit.instance: "), "{error}");
        }
        settings("", 184).check().unwrap();
        assert!(settings("", 183).check().unwrap_err().to_string().contains("audit.kept_days: 183"));
    }
}
