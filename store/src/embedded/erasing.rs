//! What is deleted is gone from the disk.
//!
//! Deleted data is in three places. SQLite itself puts cells and pages that become free to zero (`secure_delete`). Its log keeps
//! the pages as they were before: the log is worked into the file and cut off. And pages that were divided keep old copies
//! in their unused parts (`page`): of all pages in the log, these are put to zero where they lie (`blanking`) before the
//! log is given up, so that the file never holds any.
//!
//! Each change that deletes or replaces something makes this due; a thread does it within a second, for all changes of that
//! time at once (`scrubber`), and [`scrub`](crate::VectorStore::scrub) at once. What a crash leaves undone is in the log, and done by
//! the next start. Files of releases that did none of this are looked through once (`sweep`).

mod blanking;
mod log;
mod page;
mod scrubber;
mod sweep;
#[cfg(test)]
mod tests;

pub(super) use scrubber::Scrubber;

use super::database::Database;
use super::error::store_error;
use super::schema::{self, PAGE_BYTES};
use super::{EmbeddedError, EmbeddedStore};
use crate::{Scrubbed, StoreError};
use blanking::Pages;
use log::LogPosition;
use rusqlite::config::DbConfig;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long one attempt waits for searches that read from the log. Writes wait as long.
pub(super) const WAIT_FOR_READERS: Duration = Duration::from_millis(100);

/// How long closing and opening wait.
const LONG_WAIT_FOR_READERS: Duration = Duration::from_secs(1);

/// How long a caller waits for searches that read from the log.
const LONGEST_SCRUB: Duration = Duration::from_secs(3);

/// Between two attempts, so that others write meanwhile.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

/// How far erasing is.
#[derive(Debug, Default)]
pub(super) struct Erasing {
    /// Whether something was deleted or replaced that may still be in the log.
    pub(super) is_due: bool,
    /// The pages of the log up to here are in the file, without anything in their unused parts.
    done_to: LogPosition,
    /// Pages that are in the file, and may have something there.
    left: BTreeSet<u32>,
    /// Why what an earlier release left in the file is still there.
    unswept: Option<String>,
    #[cfg(test)]
    blanked_bytes: u64,
    /// To compare with: nothing is overwritten.
    #[cfg(test)]
    is_off: bool,
}

/// What a checkpoint came to: whether it had to give up, the frames of the log, and those that are in the file.
type Checkpoint = (bool, i64, i64);

impl Database {
    /// Something is deleted or replaced.
    pub(super) fn note_erased(&mut self) {
        self.erasing.is_due = true;
    }

    /// Whether something may still be in the log.
    pub(super) fn is_erasing_due(&self) -> bool {
        self.erasing.is_due
    }

    /// Why what an earlier release deleted is not overwritten, if it is not.
    pub(super) fn unswept(&self) -> Option<&str> {
        self.erasing.unswept.as_deref()
    }

    /// Overwrites what was deleted, and gives up the log. Returns whether that is done; otherwise some search still reads from the
    /// log.
    pub(super) fn erase(&mut self, wait: Duration) -> Result<bool, EmbeddedError> {
        self.wait_for_readers(wait);
        let done = self.work_log_in("FULL").and_then(|is_in| {
            let is_cut_off = is_in && !self.checkpoint("TRUNCATE")?.0;
            Ok(is_cut_off)
        });
        self.wait_for_readers(schema::USUAL_WAIT);
        if let Ok(true) = done {
            self.erasing.is_due = false;
            self.erasing.done_to = LogPosition::default();
        }
        done
    }

    /// As [`Database::erase`], also where the disk is full.
    pub(super) fn erase_always(&mut self) -> Result<bool, EmbeddedError> {
        match self.erase(WAIT_FOR_READERS) {
            Err(error) if error.is_full() => self.within_reserve(|database| database.erase(WAIT_FOR_READERS)),
            done => done,
        }
    }

    /// Works the log into the file when it has grown long, as far as no search reads what would be overwritten. Nothing is
    /// lost where that fails: it is tried again after the next change.
    pub(super) fn keep_log_short(&mut self) {
        let most = (self.file.checkpoint_bytes / PAGE_BYTES) as i64;
        let done = self.checkpoint("NOOP").and_then(|(_, frames, done)| match frames >= most && done < frames {
            true => self.work_log_in("PASSIVE"),
            false => Ok(true),
        });
        if let Err(error) = done {
            tracing::debug!(%error, "the log of the store was not worked in");
        }
    }

    /// Works the log into the file, and puts to zero what its pages do not use, before the next change may begin the log anew.
    /// Returns whether all of it is in the file.
    fn work_log_in(&mut self, manner: &str) -> Result<bool, EmbeddedError> {
        #[cfg(test)]
        if self.erasing.is_off {
            let (gave_up, frames, done) = self.checkpoint(manner)?;
            return Ok(!gave_up && done >= frames);
        }
        let (changed, place) = match self.file.log().map_err(EmbeddedError::Erasing)? {
            Some(log) => log::pages_behind(&log, self.erasing.done_to).map_err(EmbeddedError::Erasing)?,
            None => (BTreeSet::new(), LogPosition::default()),
        };
        let (gave_up, frames, done) = self.checkpoint(manner)?;
        if gave_up || done < frames {
            return Ok(false);
        }
        self.erasing.left.extend(changed);
        self.erasing.done_to = place.at_most(frames.unsigned_abs());
        if self.erasing.left.is_empty() {
            return Ok(true);
        }
        let blanked = self.blank_left();
        if blanked.is_err() {
            self.erasing.is_due = true;
            // Should nobody get to it before the end, the next start does.
            if let Err(error) = self.connection().execute("UPDATE leftover SET is_due = 1", []) {
                tracing::debug!(%error, "it was not noted that deleted data is to be overwritten");
            }
        }
        blanked.map(|()| true)
    }

    fn blank_left(&mut self) -> Result<(), EmbeddedError> {
        let blanked_bytes = match Pages::of(self.file.content().map_err(EmbeddedError::Erasing)?)? {
            Some(mut pages) => {
                pages.blank_changed(self.erasing.left.iter().copied())?;
                pages.blanked_bytes
            }
            None => 0,
        };
        self.erasing.left.clear();
        if blanked_bytes > 0 {
            self.forget_pages()?;
        }
        #[cfg(test)]
        {
            self.erasing.blanked_bytes += blanked_bytes;
        }
        Ok(())
    }

    /// Forgets the pages that the connection holds in memory: it would write what was in them.
    fn forget_pages(&self) -> Result<(), EmbeddedError> {
        Ok(self.connection().execute_batch("PRAGMA shrink_memory")?)
    }

    fn checkpoint(&self, manner: &str) -> Result<Checkpoint, EmbeddedError> {
        let sql = format!("PRAGMA wal_checkpoint({manner})");
        Ok(self.connection().query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
    }

    /// What an opening does: works the log in before anything is acknowledged, and looks through a file of an earlier release.
    ///
    /// The last change of a file that was just made is the only one that is not in the log: were it lost by a disk that fails, SQLite
    /// would take the file for empty and the log for nothing. Migrating wrote the page that it is on once more.
    ///
    /// `log_bytes` are those of the log before the file was opened. Where SQLite makes less of it than was written, the pages of the
    /// rest may be in the file without having been looked at: then the whole file is.
    pub(super) fn start_clean(&mut self, log_bytes: u64) -> Result<(), EmbeddedError> {
        let (_, frames, _) = self.checkpoint("NOOP")?;
        let has_lost_frames = log::bytes_of(frames.unsigned_abs()) < log_bytes;
        let hindrance = match self.erase(LONG_WAIT_FOR_READERS) {
            Ok(true) => None,
            Ok(false) => Some(EmbeddedError::InUse { path: self.file.path().to_owned() }),
            // A full disk must not keep anybody from deleting, nor deleted data from searching.
            Err(error) if matches!(error, EmbeddedError::Sqlite(_)) && !error.is_full() => return Err(error),
            Err(error) => Some(error),
        };
        if let Some(error) = &hindrance {
            tracing::warn!(%error, "what was deleted from the store is not overwritten yet; it will be tried again");
            self.note_erased();
        }
        if has_lost_frames || self.connection().query_row("SELECT is_due FROM leftover", [], |row| row.get(0))? {
            self.sweep(hindrance);
        }
        Ok(())
    }

    /// Looks through the whole file. What keeps it from that keeps nobody from working; the next start tries again.
    fn sweep(&mut self, hindrance: Option<EmbeddedError>) {
        let began = Instant::now();
        let (store, bytes) = (self.file.path().display().to_string(), self.file.bytes().unwrap_or_default());
        tracing::info!(store, bytes, "looking through the store for what was deleted before, and overwriting it");
        let swept = hindrance.map_or_else(|| self.sweep_file(), Err);
        let seconds = began.elapsed().as_secs_f64();
        match swept {
            Ok(overwritten) => tracing::info!(store, overwritten, seconds, "what was deleted before is overwritten"),
            Err(error) => {
                let reason = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                let reason = format!("{error}{reason}");
                tracing::warn!(
                    store,
                    seconds,
                    reason,
                    "what was deleted before is still in the file; restart to try again"
                );
                self.erasing.unswept = Some(reason);
            }
        }
    }

    /// Returns how many bytes held something.
    pub(super) fn sweep_file(&mut self) -> Result<u64, EmbeddedError> {
        let overwritten = sweep::sweep(self.connection(), self.file.content().map_err(EmbeddedError::Erasing)?)?;
        self.forget_pages()?;
        self.connection().execute("UPDATE leftover SET is_due = 0 WHERE is_due", [])?;
        Ok(overwritten)
    }
}

impl EmbeddedStore {
    /// Overwrites what was deleted from any gallery.
    pub(super) async fn scrub_all(&self) -> Result<Scrubbed, StoreError> {
        const SCRUBBING: &str = "overwriting what was deleted";
        let began = Instant::now();
        loop {
            let (is_done, unswept) = self
                .change_always(SCRUBBING, |database, _| {
                    let done = database.erase(WAIT_FOR_READERS).map_err(|source| store_error(SCRUBBING, source))?;
                    Ok((done, database.unswept().map(str::to_owned)))
                })
                .await?;
            if !is_done && began.elapsed() < LONGEST_SCRUB {
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                continue;
            }
            let log = (!is_done).then(|| {
                "the log of the store holds what was deleted as long as a search reads from it; it is overwritten in the \
                 background, within seconds of that search's end"
                    .to_owned()
            });
            let unswept = unswept.map(|reason| {
                format!(
                    "what a release before this one deleted is still in the store's file, because it could not be looked \
                     through ({reason}); the next start of the service tries again"
                )
            });
            return Ok(Scrubbed { pending: log.into_iter().chain(unswept).collect() });
        }
    }
}

/// What SQLite would work into the file when the last connection is closed has unused parts too.
impl Drop for Database {
    fn drop(&mut self) {
        let erased = self.erase(LONG_WAIT_FOR_READERS);
        if !matches!(erased, Ok(true)) {
            tracing::debug!(?erased, "the store is closed with a log, which the next start works in");
            let kept = self.connection().set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            if let Err(error) = kept {
                tracing::debug!(%error, "the log of the store is worked in by SQLite alone");
            }
        }
    }
}
