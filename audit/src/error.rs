//! Everything that can go wrong with the audit log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a log cannot be opened, written or read. Cheap to clone: one failure is told to all records of a group.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// A setting that is not allowed, or names something that is no use.
    #[error("audit.{setting}: {reason}")]
    Setting {
        /// The setting, without its section.
        setting: &'static str,
        /// What is wrong and what is expected. Never holds a key.
        reason: String,
    },
    /// A file or folder of the log cannot be used.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// Another process writes this chain.
    #[error(
        "{path}: another process writes this log; give each instance a name of its own with audit.instance",
        path = .path.display()
    )]
    InUse {
        /// The folder of the instance.
        path: PathBuf,
    },
    /// A folder without an audit log.
    #[error("{path}: there is no audit log here; name the folder that audit.folder names", path = .path.display())]
    NoLog {
        /// The folder.
        path: PathBuf,
    },
    /// A record did not reach the disk.
    #[error("the audit log cannot be written, so nothing is answered: {reason}")]
    Unwritable {
        /// The system's reason.
        reason: String,
    },
    /// What was sealed does not open with the key.
    #[error("this was not sealed to the key")]
    OtherKey,
    /// A record that is no JSON.
    #[error("writing a record: {0}")]
    Json(#[from] Arc<serde_json::Error>),
    /// Somewhere else that records are written to.
    #[error("writing what was found: {0}")]
    Output(#[source] Arc<io::Error>),
}

impl AuditError {
    /// For what the system says of a file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source: Arc::new(source) }
    }

    pub(crate) fn setting(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { setting, reason: reason.into() }
    }
}
