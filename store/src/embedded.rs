//! Galleries in one SQLite file, searched in memory: the store a newcomer gets, without any server.
//!
//! SQLite is the truth. A write is committed and synced to disk first and applied to memory second, so memory never
//! holds what a crash could take back. Searches scan eight-bit codes in memory (`scan`) and read the embeddings of the
//! few images that can be hits (`rescoring`), over connections of their own, so that a bulk load that waits for the
//! disk does not make them wait.
//!
//! Every image costs about `dimension + 41` bytes of memory; a million images of dimension 512 take 0.6 GB. Beyond
//! that, keep galleries in Qdrant.

mod codes;
mod conditions;
mod database;
mod error;
mod galleries;
mod interner;
mod kernel;
mod loading;
mod lock;
mod matrix;
mod migration;
mod readers;
mod rescoring;
mod rows;
mod scan;
mod schema;
mod store;
mod threshold;

pub use error::EmbeddedError;

use crate::{Generation, StoreError};
use database::Database;
use error::store_error;
use galleries::{Galleries, LoadedGeneration};
use lock::StoreLock;
use readers::{Reader, Readers};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// Settings of the embedded store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// Threads that may score images at the same time, all searches together. At least 1.
    pub search_threads: usize,
    /// How long opening waits for another process to let go of the file, in milliseconds: a service that is restarted
    /// may overlap its predecessor.
    pub lock_wait_ms: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        let search_threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { search_threads, lock_wait_ms: 2_000 }
    }
}

/// A [`VectorStore`](crate::VectorStore) in one file. Cheap to share behind an [`Arc`]; closing happens when the last
/// user is gone.
pub struct EmbeddedStore {
    /// One writer at a time. The guard moves to the blocking thread, so that waiting writers hold no thread.
    database: Arc<Mutex<Database>>,
    galleries: Arc<Galleries>,
    readers: Arc<Readers>,
    /// One permit per thread that may score images.
    search_slots: Arc<Semaphore>,
    /// Let go last.
    _lock: StoreLock,
}

const OPENING: &str = "opening the embedded store";

/// More threads than any machine has cores can only be a mistake.
const MAX_SEARCH_THREADS: usize = 1_024;

impl EmbeddedStore {
    /// Opens the file, creating it and its folder where missing, and loads every gallery into memory.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with an [`EmbeddedError`] as source: the file is in use, is no Descry store, was written
    /// by a newer version, or holds damaged data. [`StoreError::Invalid`] for unusable settings.
    pub async fn open(path: impl Into<PathBuf>, config: EmbeddedConfig) -> Result<Self, StoreError> {
        let threads = config.search_threads;
        if !(1..=MAX_SEARCH_THREADS).contains(&threads) {
            let reason = format!("must be between 1 and {MAX_SEARCH_THREADS}, got {threads}");
            return Err(StoreError::Invalid { field: "search_threads".to_owned(), reason });
        }
        let path = path.into();
        let lock_wait = Duration::from_millis(config.lock_wait_ms);
        blocking(OPENING, move || Self::load(&path, lock_wait, threads).map_err(|source| store_error(OPENING, source)))
            .await
    }

    fn load(path: &Path, lock_wait: Duration, threads: usize) -> Result<Self, EmbeddedError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| EmbeddedError::Folder { path: path.to_owned(), source })?;
        }
        let lock = StoreLock::acquire(path, lock_wait)?;
        let database = Database::open(path)?;
        let loaded = loading::load_galleries(database.connection())?;
        Ok(Self {
            database: Arc::new(Mutex::new(database)),
            galleries: Arc::new(Galleries::new(loaded)),
            readers: Arc::new(Readers::new(path.to_owned())),
            search_slots: Arc::new(Semaphore::new(threads)),
            _lock: lock,
        })
    }

    fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers)
    }

    /// Runs a change: alone, off the asynchronous runtime, and to its end even when the caller goes away.
    async fn change<T, W>(&self, activity: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Database, &Galleries) -> Result<T, StoreError> + Send + 'static,
    {
        let mut database = Arc::clone(&self.database).lock_owned().await;
        let galleries = Arc::clone(&self.galleries);
        blocking(activity, move || work(&mut database, &galleries)).await
    }

    async fn read<T, W>(&self, activity: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Galleries) -> Result<T, StoreError> + Send + 'static,
    {
        let galleries = Arc::clone(&self.galleries);
        blocking(activity, move || work(&galleries)).await
    }

    /// Reads one generation, with a connection to the file.
    async fn read_generation<T, W>(&self, activity: &'static str, handle: &Generation, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&LoadedGeneration, &Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (readers, handle) = (self.readers(), handle.clone());
        self.read(activity, move |galleries| {
            let generation = galleries.held(&handle)?;
            let reader = readers.take().map_err(|source| store_error(activity, source))?;
            work(&generation, &reader)
        })
        .await
    }

    async fn take_search_slot(&self) -> Result<SearchSlots, StoreError> {
        let closed = |_| StoreError::Unavailable { dependency: "embedded store", reason: "it is closing".to_owned() };
        let own = Arc::clone(&self.search_slots).acquire_owned().await.map_err(closed)?;
        Ok(SearchSlots { all: Arc::clone(&self.search_slots), held: vec![own] })
    }
}

/// The threads that a search may use.
struct SearchSlots {
    all: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
}

impl SearchSlots {
    /// Takes idle threads along for a search that can use so many, so that a lone one is fast; a busy store gives one to
    /// each. Returns how many there are.
    fn take_idle_up_to(&mut self, useful: usize) -> usize {
        while self.held.len() < useful {
            let Ok(idle) = Arc::clone(&self.all).try_acquire_owned() else { break };
            self.held.push(idle);
        }
        self.held.len()
    }
}

async fn blocking<T, W>(activity: &'static str, work: W) -> Result<T, StoreError>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(StoreError::failed(activity, source)),
    }
}
