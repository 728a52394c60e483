//! The place of the database: whether the file that was opened is still there.
//!
//! A file that is deleted under a running process takes writes like any other, and loses them when the process ends.

use super::database_file::{DatabaseFile, FileIdentity};
use super::lock::StoreLock;
use crate::StoreError;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct Place {
    file: DatabaseFile,
    opened: Option<FileIdentity>,
    lock: Option<StoreLock>,
    is_lost: AtomicBool,
}

impl Place {
    pub(super) fn new(file: DatabaseFile, lock: Option<StoreLock>) -> Self {
        let opened = file.identity();
        Self { file, opened, lock, is_lost: AtomicBool::new(false) }
    }

    /// Refuses to go on with a file that was deleted, emptied, or replaced.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.file.identity() == self.opened {
            return Ok(());
        }
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            let path = self.file.path().display();
            tracing::error!(%path, "the store's file was deleted, emptied or replaced under the running service");
        }
        let reason = "its file was deleted, emptied or replaced under the running service; put it back and restart";
        Err(StoreError::Unavailable { dependency: "the embedded store", reason: reason.to_owned() })
    }

    /// Remembers whether there are galleries, so that their file is missed.
    pub(super) fn remember(&self, has_galleries: bool) {
        let Some(lock) = &self.lock else { return };
        if let Err(error) = lock.set_holds_galleries(has_galleries) {
            tracing::warn!(%error, "it cannot be noted beside the store's file whether it holds galleries");
        }
    }
}
