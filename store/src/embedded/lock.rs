//! One service at a time: a second writer would leave the first one's memory stale.

use super::EmbeddedError;
use super::database_file::beside;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

/// Held as long as the store is open; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct StoreLock {
    _file: File,
}

const PAUSE: Duration = Duration::from_millis(20);

impl StoreLock {
    /// Waits at most `wait`: a service that is restarted may overlap its predecessor.
    pub(super) fn acquire(store: &Path, wait: Duration) -> Result<Self, EmbeddedError> {
        let path = beside(store, "lock");
        let failed = |source| EmbeddedError::Lock { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let give_up = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(EmbeddedError::InUse { path: store.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}
