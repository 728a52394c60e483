//! Errors of the whole crate.

use std::io;
use std::path::PathBuf;

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum IssuingError {
    /// A file that is there already.
    #[error("{path} is there already, and nothing is written over; move it away first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A folder without a CA.
    #[error("there is no CA in {folder}; `descry cert ca {folder}` makes one")]
    NoAuthority {
        /// The folder.
        folder: PathBuf,
    },
    /// A CA that was made by something else, or whose files do not belong together.
    #[error("{path} is not the certificate of a CA that `descry cert ca` made with the key beside it")]
    ForeignAuthority {
        /// The certificate.
        path: PathBuf,
    },
    /// A name that cannot stand in a certificate.
    #[error("{name:?} is no name for a certificate: {reason}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The library refuses.
    #[error("cannot make a certificate: {0}")]
    Library(#[from] rcgen::Error),
}
