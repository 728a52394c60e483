//! One service at a time: a second writer would leave the first one's memory stale.

use super::EmbeddedError;
use super::database_file::beside;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Held as long as the store is open; the system lets go of it when the process ends, however it ends.
///
/// The locked file remembers as well whether the store holds galleries: an empty database, or none, is not a new one then.
#[derive(Debug)]
pub(super) struct StoreLock {
    file: File,
    path: PathBuf,
}

const HOLDS_GALLERIES: &[u8] = b"holds galleries\n";

const PAUSE: Duration = Duration::from_millis(20);

impl StoreLock {
    /// Waits at most `wait`: a service that is restarted may overlap its predecessor.
    pub(super) fn acquire(store: &Path, wait: Duration) -> Result<Self, EmbeddedError> {
        let path = beside(store, "lock");
        let failed = |source| EmbeddedError::Lock { path: path.clone(), source };
        let mut options = descry_private_files::options();
        let file = options.create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        let give_up = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file, path }),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(EmbeddedError::InUse { path: store.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the store held galleries when it was last written to.
    pub(super) fn holds_galleries(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Remembers whether it does, on disk.
    pub(super) fn set_holds_galleries(&self, holds: bool) -> io::Result<()> {
        if holds == self.holds_galleries() {
            return Ok(());
        }
        if holds {
            (&self.file).write_all(HOLDS_GALLERIES)?;
        } else {
            self.file.set_len(0)?;
            io::Seek::rewind(&mut &self.file)?;
        }
        self.file.sync_all()
    }
}
