//! Errors of the whole crate.

use std::path::{Path, PathBuf};

/// Why a data set cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthesisError {
    /// A setting outside what can be made.
    #[error("{setting} must be {expected}, got {value}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is accepted.
        expected: String,
        /// What was given.
        value: String,
    },
    /// A domain nobody knows.
    #[error("{text:?} is no domain; name one of {known}")]
    UnknownDomain {
        /// What was given.
        text: String,
        /// The names there are.
        known: String,
    },
    /// The output folder holds something else.
    #[error("{path} is not empty and holds no synthesized data set; name an empty or new folder")]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// The output folder holds a data set of other settings.
    #[error("{path} holds a data set made with other settings (see {settings}); name another folder, or remove it")]
    OtherSettings {
        /// The folder.
        path: PathBuf,
        /// The file that tells which settings.
        settings: PathBuf,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read {path}: {source}; check that it may be read")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write {path}: {source}; check permissions and free space")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A picture that could not be drawn or encoded.
    #[error("cannot make the picture {name}: {reason}; try another size")]
    Picture {
        /// The picture, relative to `imgs/`.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("stopped before the data set was complete; run again with the same settings to make it anew")]
    Cancelled,
}

impl SynthesisError {
    /// For `map_err` on reading calls.
    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Unreadable { path: path.to_owned(), source }
    }

    /// For `map_err` on writing calls.
    pub(crate) fn unwritable(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Unwritable { path: path.to_owned(), source }
    }
}
