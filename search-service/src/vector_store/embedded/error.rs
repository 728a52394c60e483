//! What can be wrong with the file behind the embedded store.

use crate::SearchError;
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
    #[error("image {image_id:?} of gallery {gallery:?} is damaged: {reason}")]
    DamagedImage {
        /// The gallery.
        gallery: String,
        /// The image.
        image_id: String,
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
    /// SQLite refused.
    #[error("SQLite refused")]
    Sqlite(#[from] rusqlite::Error),
    /// Attributes could not be written as JSON.
    #[error("attributes cannot be written as JSON")]
    Attributes(#[from] serde_json::Error),
}

pub(super) fn store_error(activity: &'static str, source: EmbeddedError) -> SearchError {
    SearchError::Store { activity, source: Box::new(source) }
}
