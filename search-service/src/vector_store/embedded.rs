//! Galleries in one SQLite file, searched exactly in memory: the store a newcomer gets, without any server.
//!
//! SQLite is the truth. A write is committed and synced to disk first and applied to memory second, so memory never
//! holds what a crash could take back. Searches touch memory only: a bulk load that waits for the disk does not make
//! them wait. The file is locked as long as the store is open, because another writer would leave memory stale.
//!
//! Every image costs `4 * dimension` bytes of memory plus its metadata; a million images of dimension 512 take about
//! 2.5 GB. Beyond that, keep galleries in Qdrant.

mod database;
mod error;
mod galleries;
mod interner;
mod matrix;
mod scan;
mod schema;
mod top_k;

pub use error::EmbeddedError;

use super::{
    Gallery, GalleryImage, Hit, ImageMetadata, NearestQuery, SearchFilter, VectorStore, check_dimension, now_ms,
};
use crate::SearchError;
use async_trait::async_trait;
use database::Database;
use descry_model::Fingerprint;
use error::store_error;
use galleries::{Galleries, LoadedGallery};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};

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

/// A [`VectorStore`] in one file. Cheap to share behind an [`Arc`]; closing happens when the last user is gone.
pub struct EmbeddedStore {
    /// One writer at a time. The guard moves to the blocking thread, so that waiting writers hold no thread.
    database: Arc<Mutex<Database>>,
    galleries: Arc<Galleries>,
    /// One permit per thread that may score images.
    search_slots: Arc<Semaphore>,
}

impl EmbeddedStore {
    /// Opens the file, creating it and its folder where missing, and loads every gallery into memory.
    ///
    /// # Errors
    /// [`SearchError::Store`] with an [`EmbeddedError`] as source: the file is in use, is no Descry store, was written
    /// by a newer version, or holds damaged data. [`SearchError::Invalid`] for unusable settings.
    pub async fn open(path: impl Into<PathBuf>, config: EmbeddedConfig) -> Result<Self, SearchError> {
        let threads = config.search_threads;
        if !(1..=MAX_SEARCH_THREADS).contains(&threads) {
            let reason = format!("must be between 1 and {MAX_SEARCH_THREADS}, got {threads}");
            return Err(SearchError::Invalid { field: "search_threads".to_owned(), reason });
        }
        let path = path.into();
        let lock_wait = Duration::from_millis(config.lock_wait_ms);
        let (database, loaded) = blocking(OPENING, move || {
            let database = Database::open(&path, lock_wait).map_err(|source| store_error(OPENING, source))?;
            let loaded = database.load_galleries().map_err(|source| store_error(OPENING, source))?;
            Ok((database, loaded))
        })
        .await?;
        Ok(Self {
            database: Arc::new(Mutex::new(database)),
            galleries: Arc::new(Galleries::new(loaded)),
            search_slots: Arc::new(Semaphore::new(threads)),
        })
    }

    /// Runs a change: alone, off the asynchronous runtime, and to its end even when the caller goes away.
    async fn change<T, W>(&self, activity: &'static str, work: W) -> Result<T, SearchError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Database, &Galleries) -> Result<T, SearchError> + Send + 'static,
    {
        let mut database = Arc::clone(&self.database).lock_owned().await;
        let galleries = Arc::clone(&self.galleries);
        blocking(activity, move || work(&mut database, &galleries)).await
    }

    async fn read<T, W>(&self, activity: &'static str, work: W) -> Result<T, SearchError>
    where
        T: Send + 'static,
        W: FnOnce(&Galleries) -> Result<T, SearchError> + Send + 'static,
    {
        let galleries = Arc::clone(&self.galleries);
        blocking(activity, move || work(&galleries)).await
    }
}

#[async_trait]
impl VectorStore for EmbeddedStore {
    async fn create_gallery(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, SearchError> {
        check_dimension(dimension)?;
        let (name, fingerprint) = (name.to_owned(), fingerprint.clone());
        self.change(CREATING, move |database, galleries| {
            if let Some(existing) = galleries.get(&name)? {
                return existing.describe()?.created_again(&fingerprint, dimension);
            }
            let gallery = Gallery { name, fingerprint, dimension, images: 0, created_at_ms: now_ms() };
            let id = database.insert_gallery(&gallery).map_err(|source| store_error(CREATING, source))?;
            galleries.insert(LoadedGallery::empty(id, gallery.clone()))?;
            Ok(gallery)
        })
        .await
    }

    async fn gallery(&self, name: &str) -> Result<Gallery, SearchError> {
        let name = name.to_owned();
        self.read("describing a gallery", move |galleries| galleries.find(&name)?.describe()).await
    }

    async fn list_galleries(&self) -> Result<Vec<Gallery>, SearchError> {
        self.read("listing galleries", |galleries| galleries.all()?.iter().map(|gallery| gallery.describe()).collect())
            .await
    }

    async fn delete_gallery(&self, name: &str) -> Result<(), SearchError> {
        let name = name.to_owned();
        self.change(DELETING_GALLERY, move |database, galleries| {
            let id = galleries.find(&name)?.id;
            database.delete_gallery(id).map_err(|source| store_error(DELETING_GALLERY, source))?;
            galleries.remove(&name)
        })
        .await
    }

    async fn upsert(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), SearchError> {
        let (name, fingerprint) = (name.to_owned(), fingerprint.clone());
        self.change(WRITING, move |database, galleries| {
            let gallery = galleries.find(&name)?;
            gallery.identity().require_model_of_images(&fingerprint, &images)?;
            database.upsert_images(gallery.id, &images).map_err(|source| store_error(WRITING, source))?;
            let mut matrix = gallery.write()?;
            for image in images {
                matrix.upsert(&image.image_id, image.embedding.as_slice(), image.metadata);
            }
            Ok(())
        })
        .await
    }

    async fn delete_images(&self, name: &str, image_ids: &[String]) -> Result<u64, SearchError> {
        let (name, image_ids) = (name.to_owned(), image_ids.to_vec());
        self.change(DELETING_IMAGES, move |database, galleries| {
            let gallery = galleries.find(&name)?;
            let deleted = database
                .delete_images(gallery.id, &image_ids)
                .map_err(|source| store_error(DELETING_IMAGES, source))?;
            let mut matrix = gallery.write()?;
            for image_id in &image_ids {
                matrix.remove(image_id);
            }
            Ok(deleted)
        })
        .await
    }

    async fn images(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, ImageMetadata>, SearchError> {
        let (name, image_ids) = (name.to_owned(), image_ids.to_vec());
        self.read("reading images", move |galleries| {
            let gallery = galleries.find(&name)?;
            let matrix = gallery.read()?;
            let known = |image_id: String| matrix.metadata(&image_id).cloned().map(|metadata| (image_id, metadata));
            Ok(image_ids.into_iter().filter_map(known).collect())
        })
        .await
    }

    async fn nearest(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError> {
        let closed = |_| SearchError::Unavailable { dependency: "embedded store", reason: "it is closing".to_owned() };
        let all_slots = Arc::clone(&self.search_slots);
        let own_slot = Arc::clone(&all_slots).acquire_owned().await.map_err(closed)?;
        let name = name.to_owned();
        self.read("searching", move |galleries| {
            let gallery = galleries.find(&name)?;
            gallery.identity().require_model(&query.fingerprint, query.embedding.dimension())?;
            let matrix = gallery.read()?;
            // A large gallery takes idle threads along, so that a lone search is fast; a busy store gives one to each.
            // All are held until the scan is over, also when the caller has gone.
            let mut slots = vec![own_slot];
            while slots.len() < scan::useful_threads(&matrix) {
                let Ok(idle) = Arc::clone(&all_slots).try_acquire_owned() else { break };
                slots.push(idle);
            }
            Ok(scan::nearest(&matrix, &query, slots.len()))
        })
        .await
    }

    async fn ready(&self) -> Result<(), SearchError> {
        const PROBING: &str = "probing the store";
        // A store that is busy writing is alive.
        let Ok(database) = Arc::clone(&self.database).try_lock_owned() else { return Ok(()) };
        blocking(PROBING, move || database.probe().map_err(|source| store_error(PROBING, source))).await
    }
}

const OPENING: &str = "opening the embedded store";
const CREATING: &str = "creating a gallery";
const DELETING_GALLERY: &str = "deleting a gallery";
const DELETING_IMAGES: &str = "deleting images";
const WRITING: &str = "writing images";

/// More threads than any machine has cores can only be a mistake.
const MAX_SEARCH_THREADS: usize = 1_024;

async fn blocking<T, W>(activity: &'static str, work: W) -> Result<T, SearchError>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, SearchError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(SearchError::Store { activity, source: Box::new(source) }),
    }
}
