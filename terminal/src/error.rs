//! Errors of the whole crate.

use indicatif::BinaryBytes;
use std::io;
use std::path::PathBuf;

/// Why a file that the command line names could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TerminalError {
    /// A file that could not be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Something that has no end, or no content.
    #[error("{path} is {found}; give a file")]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is, with its article.
        found: &'static str,
    },
    /// A file that is read whole, and too large for that.
    #[error("{path} is larger than {}, the most that is read of such a file; is it the right one?", BinaryBytes(*.max_bytes))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        max_bytes: u64,
    },
    /// An output in a folder that is not there.
    #[error("cannot write {path}: there is no folder {folder}; create it, or correct the path")]
    NoFolder {
        /// The output.
        path: PathBuf,
        /// The folder that is missing.
        folder: PathBuf,
    },
    /// An output that could not be written.
    #[error("cannot write {path}")]
    Unwritable {
        /// The output.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}
