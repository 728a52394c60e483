//! What can be wrong with the file behind the embedded store.

use crate::StoreError;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
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
    /// There were galleries, and the file that held them is gone or empty.
    #[error(
        "{} is gone or empty, but held galleries: put it back, or begin anew by deleting {}",
        .path.display(), .marker.display()
    )]
    Vanished {
        /// The file.
        path: PathBuf,
        /// What remembers the galleries.
        marker: PathBuf,
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
    /// The reserve for deleting is spent, and nothing is added before it is whole again.
    #[error("the disk is full; what is left of it is kept for deleting")]
    NoRoom,
    /// The caller of a search has gone, or its deadline has passed.
    #[error("nobody waits for the search any more")]
    Abandoned,
    /// SQLite refused.
    #[error("SQLite refused")]
    Sqlite(#[source] rusqlite::Error),
    /// What was deleted cannot be overwritten.
    #[error("the store's file cannot be read or written to overwrite what was deleted")]
    Erasing(#[source] std::io::Error),
    /// A page of the file is none that SQLite wrote.
    #[error("page {page} of the store's file is damaged: {reason}")]
    NotSound {
        /// Its number.
        page: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
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

impl EmbeddedError {
    /// Whether there is no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::NoRoom => true,
            Self::Erasing(error) => {
                matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            Self::Sqlite(error) => {
                error.sqlite_error_code() == Some(ErrorCode::DiskFull)
                    // The index of the log could not grow.
                    || error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE)
            }
            Self::InUse { .. }
            | Self::Foreign { .. }
            | Self::NewerSchema { .. }
            | Self::DamagedGallery { .. }
            | Self::Vanished { .. }
            | Self::DamagedImage { .. }
            | Self::Interrupted
            | Self::Abandoned
            | Self::Folder { .. }
            | Self::Lock { .. }
            | Self::DamagedValue { .. }
            | Self::NotSound { .. }
            | Self::Attributes(_) => false,
        }
    }

    /// Whether what was read is not what was written.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::DamagedImage { .. } | Self::DamagedValue { .. } => true,
            Self::Sqlite(error) => error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt),
            Self::InUse { .. }
            | Self::Foreign { .. }
            | Self::NewerSchema { .. }
            | Self::DamagedGallery { .. }
            | Self::Vanished { .. }
            | Self::Interrupted
            | Self::Abandoned
            | Self::Folder { .. }
            | Self::Lock { .. }
            | Self::NoRoom
            | Self::Erasing(_)
            | Self::NotSound { .. }
            | Self::Attributes(_) => false,
        }
    }

    /// Whether the disk or the memory failed, which may pass.
    fn is_passing(&self) -> bool {
        if matches!(self, Self::Erasing(_)) {
            return true;
        }
        let Self::Sqlite(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::CannotOpen
            )
        )
    }
}

/// How soon a caller may try again to write to a full disk: somebody must make room first.
const RETRY_FULL_AFTER_MS: u64 = 5_000;

pub(super) fn store_error(activity: &'static str, source: EmbeddedError) -> StoreError {
    if source.is_full() {
        return StoreError::Full { retry_after_ms: RETRY_FULL_AFTER_MS };
    }
    if source.is_passing() {
        tracing::error!(activity, error = %with_reason(&source), "the disk or the memory under the store failed");
        let reason = format!("its disk failed while {activity}; the service's log has the details");
        return StoreError::Unavailable { dependency: "the embedded store", reason };
    }
    if matches!(source, EmbeddedError::Abandoned) {
        return StoreError::DeadlineExceeded { activity };
    }
    StoreError::failed(activity, source)
}

/// An error with what is behind it.
fn with_reason(error: &EmbeddedError) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string);
    [Some(error.to_string()), reason].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let check = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            store_error("writing", EmbeddedError::from(error))
        };
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(check(code), StoreError::Full { .. }));
        }
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_READ, ffi::SQLITE_NOMEM, ffi::SQLITE_CANTOPEN] {
            assert!(matches!(check(code), StoreError::Unavailable { .. }));
        }
        assert!(matches!(check(ffi::SQLITE_CORRUPT), StoreError::Failed { .. }));
    }
}
