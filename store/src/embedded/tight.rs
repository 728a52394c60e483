//! Deleting on a full disk, within the reserve.
//!
//! SQLite appends every change to its log first, also a deletion, and only working the log into the file gives the log's
//! room back. So deletions go in small transactions, and the log is emptied between them: the room that the reserve
//! gave is used again and again, and is there at the end to be held back anew. Pages that become free in the file are
//! filled by later writes.

use super::EmbeddedError;
use super::database::Database;
use super::error::store_error;
use super::galleries::LoadedGeneration;
use super::schema::PAGE_BYTES;
use crate::StoreError;
use std::time::Duration;

/// Images that one transaction deletes within the reserve. Each touches a handful of pages of 8 KiB at most.
const ROWS_AT_ONCE: usize = 128;

/// Room that deleting needs besides what the log needs in the file; a quarter of the reserve where that is less.
const WORKING_BYTES: u64 = 8 << 20;

/// How long emptying the log waits for a search to end. It is tried again after the next transaction.
const WAIT_FOR_READERS: Duration = Duration::from_secs(1);

impl Database {
    /// Refuses what would make the file grow while the reserve is not whole.
    pub(super) fn require_room(&mut self) -> Result<(), EmbeddedError> {
        if self.reserve.hold() { Ok(()) } else { Err(EmbeddedError::NoRoom) }
    }

    /// Whether there is room for the reserve, and besides it.
    pub(super) fn has_room_again(&mut self) -> bool {
        self.reserve.hold() && self.reserve.has_room_besides()
    }

    /// Works with the room of the reserve, and holds as much of it back afterwards as there is.
    pub(super) fn within_reserve<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.is_tight = true;
        // What a broken-off write left in the log may be room enough.
        self.empty_log();
        self.reserve.release();
        self.tidy_if_tight();
        let done = work(self);
        self.tidy_if_tight();
        self.is_tight = false;
        self.reserve.hold();
        done
    }

    /// How many rows one transaction may delete, of as many as are usual.
    pub(super) fn rows_at_once(&self, usual: usize) -> usize {
        if self.is_tight { usual.min(ROWS_AT_ONCE) } else { usual }
    }

    /// Deletes the images of a generation that is about to go, a few at a time, where all at once would take more of the
    /// log than there is room for.
    pub(super) fn empty_if_tight(&mut self, generation: &LoadedGeneration) -> Result<(), StoreError> {
        const DELETING: &str = "deleting images on a full disk";
        while self.is_tight {
            let ids = self.first_rows(generation.id, ROWS_AT_ONCE).map_err(|source| store_error(DELETING, source))?;
            if ids.is_empty() {
                break;
            }
            self.delete_rows(&ids).map_err(|source| store_error(DELETING, source))?;
            generation.write()?.remove(&ids);
            self.tidy_if_tight();
        }
        Ok(())
    }

    fn first_rows(&self, generation: i64, limit: usize) -> Result<Vec<i64>, EmbeddedError> {
        let mut statement =
            self.connection().prepare_cached("SELECT id FROM image WHERE generation_id = ?1 LIMIT ?2")?;
        let ids = statement.query_map((generation, limit as i64), |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Empties the log, unless that would take more room than there is: then it is better used for deleting.
    pub(super) fn tidy_if_tight(&mut self) {
        let reserve_bytes = self.reserve.wanted_bytes();
        let room = reserve_bytes - WORKING_BYTES.min(reserve_bytes / 4);
        if self.is_tight && self.growth_by_log() <= room {
            self.empty_log();
        }
    }

    /// Bytes by which the file grows when the log is worked into it.
    fn growth_by_log(&self) -> u64 {
        let pages = self.connection().pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
        let wanted = pages.map_or(u64::MAX / 2, |pages| pages.unsigned_abs() * PAGE_BYTES);
        wanted.saturating_sub(self.file.bytes().unwrap_or_default())
    }

    /// Works the log into the file and gives its room back, as far as no search still reads from it.
    fn empty_log(&mut self) {
        if let Err(error) = self.erase(WAIT_FOR_READERS) {
            tracing::debug!(%error, "the log of the store was not emptied");
        }
    }

    pub(super) fn wait_for_readers(&self, wait: Duration) {
        if let Err(error) = self.connection().busy_timeout(wait) {
            tracing::debug!(%error, "how long searches are waited for was not changed");
        }
    }
}
