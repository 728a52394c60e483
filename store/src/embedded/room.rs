//! Room on the disk: what is held back for deleting, and what is said when there is none left.

use super::database_file::DatabaseFile;
use crate::StoreError;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A file that takes up room until it is needed. Deleting writes too: to the log, before it frees anything.
pub(super) struct Reserve {
    file: DatabaseFile,
    wanted_bytes: u64,
    held_bytes: u64,
}

const RESERVE: &str = "reserve";

/// Takes up room for a moment, to see whether there is any.
const PROBE: &str = "probe";
const PROBE_BYTES: u64 = 1 << 20;

/// Less is of no use for deleting.
const LEAST_RESERVE_BYTES: u64 = 1 << 20;

impl Reserve {
    /// Holds so many bytes, or as many as there are. An earlier reserve is taken over.
    pub(super) fn open(file: DatabaseFile, wanted_bytes: u64) -> Self {
        let held_bytes = file.taken_room(RESERVE);
        let mut reserve = Self { file, wanted_bytes, held_bytes };
        if wanted_bytes == 0 || held_bytes > wanted_bytes {
            reserve.release();
        }
        reserve.hold();
        reserve
    }

    /// Lets others have the room that an earlier process held.
    pub(super) fn give_up(file: &DatabaseFile) {
        if let Err(error) = file.give_room(RESERVE) {
            tracing::warn!(%error, "the reserve for deleting cannot be given up");
        }
    }

    /// Holds all that is wanted again. Returns whether it does; otherwise it holds what there is.
    pub(super) fn hold(&mut self) -> bool {
        if self.is_whole() {
            return true;
        }
        let mut bytes = self.wanted_bytes;
        // What is held is given up for a moment, because files grow where they lie only on some systems.
        self.release();
        while self.wanted_bytes > 0 && bytes >= LEAST_RESERVE_BYTES.min(self.wanted_bytes) {
            match self.file.take_room(RESERVE, bytes) {
                Ok(()) => {
                    self.held_bytes = bytes;
                    break;
                }
                Err(error) if is_full(&error) => bytes /= 2,
                Err(error) => {
                    // Nothing is refused for want of a reserve that cannot be made for other reasons.
                    tracing::warn!(%error, "no room can be held back for deleting on a full disk");
                    self.wanted_bytes = 0;
                }
            }
        }
        self.is_whole()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.held_bytes >= self.wanted_bytes
    }

    pub(super) fn wanted_bytes(&self) -> u64 {
        self.wanted_bytes
    }

    /// Lets others have the room.
    pub(super) fn release(&mut self) {
        match self.file.give_room(RESERVE) {
            Ok(()) => self.held_bytes = 0,
            Err(error) => tracing::warn!(%error, "the reserve for deleting cannot be given up"),
        }
    }

    /// Whether something can be written beside it.
    pub(super) fn has_room_besides(&self) -> bool {
        let has_room = self.file.take_room(PROBE, PROBE_BYTES).is_ok();
        // What is left of it is overwritten by the next look.
        let _ = self.file.give_room(PROBE);
        has_room
    }
}

/// Whether writing works, for everybody to see, and said in the log once a minute.
#[derive(Debug, Default)]
pub(super) struct WriteHealth {
    is_full: AtomicBool,
    refused: Mutex<Refused>,
    room_said_at: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Refused {
    since_said: u64,
    said_at: Option<Instant>,
}

/// How often the same trouble is said.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl WriteHealth {
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// A write came to its end, or would. Small ones may while large ones do not: that is not said each time either.
    pub(super) fn note_room(&self) {
        if self.is_full.swap(false, Ordering::Relaxed) {
            let mut said_at = self.room_said_at.lock().unwrap_or_else(PoisonError::into_inner);
            if is_due(*said_at, Instant::now()) {
                *said_at = Some(Instant::now());
                tracing::info!("there is room on the disk again; galleries are written to");
            }
        }
    }

    /// A write was refused because there is no room. Returns how many were, when it is time to say so.
    pub(super) fn note_full(&self, now: Instant) -> Option<u64> {
        self.is_full.store(true, Ordering::Relaxed);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.since_said += 1;
        is_due(refused.said_at, now).then(|| {
            refused.said_at = Some(now);
            std::mem::take(&mut refused.since_said)
        })
    }

    /// Notes what became of a write.
    pub(super) fn note<T>(&self, written: &Result<T, StoreError>) {
        if written.is_ok() {
            self.note_room();
        }
        if matches!(written, Err(StoreError::Full { .. }))
            && let Some(refused) = self.note_full(Instant::now())
        {
            tracing::warn!(
                refused,
                "the disk is full: galleries cannot be added to; searches and deletions go on, and so do writes when there \
                 is room again"
            );
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn is_due(said_at: Option<Instant>, now: Instant) -> bool {
    said_at.is_none_or(|said_at| now.saturating_duration_since(said_at) >= SAY_AGAIN_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_once_a_minute_and_counted() {
        let health = WriteHealth::default();
        let began = Instant::now();
        assert!(!health.is_full());
        assert_eq!(health.note_full(began), Some(1));
        for second in 1..60 {
            assert_eq!(health.note_full(began + Duration::from_secs(second)), None);
        }
        assert_eq!(health.note_full(began + Duration::from_secs(60)), Some(60));
        assert!(health.is_full());
        health.note_room();
        assert!(!health.is_full());
        assert_eq!(health.note_full(began + Duration::from_secs(61)), None, "full again, within the minute");
        assert!(health.is_full());
    }

    #[test]
    fn a_reserve_is_taken_over_and_cut_to_what_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = DatabaseFile::at(folder.path().join("galleries.sqlite3"));
        for wanted in [3 << 20, 3 << 20, 2 << 20, 0] {
            let mut reserve = Reserve::open(file.clone(), wanted);
            assert!(reserve.is_whole());
            assert_eq!(file.taken_room(RESERVE), wanted);
            reserve.release();
            assert_eq!((file.taken_room(RESERVE), reserve.is_whole()), (0, wanted == 0));
            assert!(reserve.hold() && reserve.has_room_besides());
            assert_eq!(file.taken_room(PROBE), 0);
        }
    }
}
