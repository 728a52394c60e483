//! Galleries in one SQLite file, searched in memory: the store a newcomer gets, without any server.
//!
//! SQLite is the truth. A write is committed and synced to disk first and applied to memory second, so memory never
//! holds what a crash could take back. Searches scan eight-bit codes in memory (`scan`) and read the embeddings of the
//! few images that can be hits (`rescoring`), over connections of their own, so that a bulk load that waits for the
//! disk does not make them wait.
//!
//! Every image costs about `dimension + 57` bytes of memory, and four more for each declared attribute; a million images of
//! dimension 512 take 0.6 GB. Each person and each track costs eight (`sum_lengths`). The names of persons, cameras and tracks are kept once each, whatever number of images has
//! them. Beyond that, keep galleries in Qdrant.

mod abandonment;
mod checking;
mod codes;
mod columns;
mod conditions;
mod damage;
mod database;
mod database_file;
mod erasing;
mod error;
mod galleries;
mod groups;
mod interner;
mod kernel;
mod loading;
mod lock;
mod matrix;
mod mean_rescoring;
mod means;
mod migration;
mod place;
mod raw_file;
mod readers;
mod reading;
mod rescoring;
mod room;
mod row_scan;
mod rows;
mod scan;
mod schema;
#[cfg(test)]
mod simulation;
mod store;
mod sum_lengths;
mod threshold;
mod tight;

pub use error::EmbeddedError;

use crate::{Generation, StoreError};
use damage::Damage;
use database::Database;
use database_file::DatabaseFile;
use erasing::Scrubber;
use error::store_error;
use galleries::{Galleries, LoadedGeneration};
use lock::StoreLock;
use place::Place;
use readers::{Reader, Readers};
use room::WriteHealth;
use std::path::PathBuf;
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
    /// Bytes on the disk that are held back, so that deleting works when it is full. 0 for none.
    pub reserve_bytes: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        let search_threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { search_threads, lock_wait_ms: 2_000, reserve_bytes: 32 << 20 }
    }
}

/// A [`VectorStore`](crate::VectorStore) in one file. Cheap to share behind an [`Arc`]; closing happens when the last
/// user is gone.
pub struct EmbeddedStore {
    /// Ends before anything is closed.
    scrubber: Scrubber,
    /// Closed before the writer, which works in what is left of the log.
    readers: Arc<Readers>,
    /// One writer at a time. The guard moves to the blocking thread, so that waiting writers hold no thread.
    database: Arc<Mutex<Database>>,
    galleries: Arc<Galleries>,
    /// One permit per thread that may score images.
    search_slots: Arc<Semaphore>,
    health: Arc<WriteHealth>,
    /// Holds the lock. Let go last.
    place: Arc<Place>,
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
        let file = DatabaseFile::at(path.into());
        let opened =
            blocking(OPENING, move || Self::load(file, &config).map_err(|source| StoreError::failed(OPENING, source)));
        let mut store = opened.await?;
        let database = Arc::downgrade(&store.database);
        store.scrubber = Scrubber::start(database).map_err(|source| StoreError::failed(OPENING, source))?;
        if store.database.lock().await.is_erasing_due() {
            store.scrubber.bell().ring();
        }
        Ok(store)
    }

    /// Opens the file, without the thread that overwrites what was deleted.
    fn load(file: DatabaseFile, config: &EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let lock = file.lock(Duration::from_millis(config.lock_wait_ms))?;
        let vanished =
            |lock: &StoreLock| EmbeddedError::Vanished { path: file.path().to_owned(), marker: lock.path().to_owned() };
        // Opening would make a new one.
        if let Some(lock) = lock.as_ref().filter(|lock| lock.holds_galleries() && file.identity().is_none()) {
            return Err(vanished(lock));
        }
        file.make_private()?;
        let mut database = Database::open(&file, config.reserve_bytes)?;
        // Only now is it known to be a store, and not somebody's file of another kind.
        file.tighten();
        let damage = Arc::new(Damage::default());
        let loaded = loading::load_galleries(database.connection(), &damage)?;
        if let Some(lock) = lock.as_ref().filter(|lock| lock.holds_galleries() && loaded.is_empty()) {
            return Err(vanished(lock));
        }
        let place = Arc::new(Place::new(file.clone(), lock));
        database.lie_at(&place);
        place.remember(!loaded.is_empty());
        Ok(Self {
            scrubber: Scrubber::idle(),
            place,
            galleries: Arc::new(Galleries::new(loaded, database.next_write_number())),
            database: Arc::new(Mutex::new(database)),
            readers: Arc::new(Readers::new(file, damage)),
            search_slots: Arc::new(Semaphore::new(config.search_threads)),
            health: Arc::default(),
        })
    }

    fn damage(&self) -> Arc<Damage> {
        Arc::clone(&self.readers.damage)
    }

    fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers)
    }

    /// Runs a change: alone, off the asynchronous runtime, and to its end even when the caller goes away. Refused while
    /// there is no room on the disk.
    async fn change<T, W>(&self, activity: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Database, &Galleries) -> Result<T, StoreError> + Send + 'static,
    {
        let mut database = Arc::clone(&self.database).lock_owned().await;
        let (galleries, health, place) =
            (Arc::clone(&self.galleries), Arc::clone(&self.health), Arc::clone(&self.place));
        let bell = self.scrubber.bell();
        blocking(activity, move || {
            place.check()?;
            let possible = database.require_room().and_then(|()| database.bury_failed_change());
            let done = match possible {
                Ok(()) => work(&mut database, &galleries),
                Err(error) => Err(store_error(activity, error)),
            };
            database.note_failed_change(&done);
            database.keep_log_short();
            if database.is_erasing_due() {
                bell.ring();
            }
            health.note(&done);
            // What was written to a file that is gone is not kept.
            done.and_then(|done| place.check().map(|()| done))
        })
        .await
    }

    /// As [`Self::change`], for what makes room or takes next to none: when there is no room on the disk, it is done
    /// again within the reserve. `work` leaves nothing half-done, or does the rest when it is called again.
    async fn change_always<T, W>(&self, activity: &'static str, mut work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&mut Database, &Galleries) -> Result<T, StoreError> + Send + 'static,
    {
        let mut database = Arc::clone(&self.database).lock_owned().await;
        let (galleries, health, place) =
            (Arc::clone(&self.galleries), Arc::clone(&self.health), Arc::clone(&self.place));
        let bell = self.scrubber.bell();
        blocking(activity, move || {
            place.check()?;
            let mut work = |database: &mut Database| {
                database.bury_failed_change().map_err(|source| store_error(activity, source))?;
                work(database, &galleries)
            };
            let mut done = work(&mut database);
            if matches!(done, Err(StoreError::Full { .. })) {
                done = database.within_reserve(work);
            }
            database.note_failed_change(&done);
            database.keep_log_short();
            if database.is_erasing_due() {
                bell.ring();
            }
            // Where it is done, it may have made room, which the next write will see.
            if done.is_err() {
                health.note(&done);
            }
            done.and_then(|done| place.check().map(|()| done))
        })
        .await
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
