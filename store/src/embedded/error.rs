//! What can be wrong with the file behind the embedded store.

use crate::StoreError;
use std::path::PathBuf;

/// Why the embedded store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another process, or another store of this process, has the file open.
    #[error("{} is in use by another process; one service at a time may open it", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a Descry store", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file comes from a later version of this program.
    #[error("{} has schema version {found}, this program knows versions up to {supported}; upgrade it", .path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Version of the file.
        found: i64,
        /// Newest version known here.
        supported: i64,
    },
    /// A stored gallery cannot be one that this program wrote.
    #[error("gallery {gallery:?} is damaged: {reason}")]
    DamagedGallery {
        /// The gallery.
        gallery: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A stored image cannot be one that this program wrote.
    #[error("row {image} of the table of images is damaged: {reason}; index that image again, or restore the file")]
    DamagedImage {
        /// Its number in the table.
        image: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A change broke off half-way in memory; what is on disk is sound.
    #[error("an earlier failure left the gallery in memory incomplete; restart the service")]
    Interrupted,
    /// The folder of the file cannot be made.
    #[error("cannot create the folder of {}", .path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The file that keeps other processes out cannot be made or locked.
    #[error("cannot lock {}", .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A stored value cannot be one that this program wrote.
    #[error("the table of images is damaged: {reason}; index its images again, or restore the file")]
    DamagedValue {
        /// What is wrong with it.
        reason: String,
    },
    /// SQLite refused.
    #[error("SQLite refused")]
    Sqlite(#[source] rusqlite::Error),
    /// Attributes or settings could not be written as JSON.
    #[error("attributes or settings cannot be written as JSON")]
    Attributes(#[from] serde_json::Error),
}

impl From<rusqlite::Error> for EmbeddedError {
    fn from(error: rusqlite::Error) -> Self {
        if let rusqlite::Error::FromSqlConversionFailure(column, _, reason) = &error {
            return Self::DamagedValue { reason: format!("column {column}: {reason}") };
        }
        Self::Sqlite(error)
    }
}

pub(super) fn store_error(activity: &'static str, source: EmbeddedError) -> StoreError {
    StoreError::failed(activity, source)
}
