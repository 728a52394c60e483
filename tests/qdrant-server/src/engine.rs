//! The collections of one server, each a shard of the embedded engine in a folder of its own.

use qdrant_client::qdrant::{CollectionConfig, VectorParams};
use qdrant_edge::{Distance, EdgeConfig, EdgeShard, EdgeVectorParams, OperationError, WalOptions};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tonic::Status;

/// The engine reserves this much disk for the log of each collection; its default of 32 MiB is much for a test.
const LOG_SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// One collection.
pub(crate) struct Collection {
    pub(crate) shard: EdgeShard,
    /// As given at creation, metadata included, for those who ask.
    pub(crate) config: CollectionConfig,
}

/// Collections and aliases by name.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) collections: BTreeMap<String, Arc<Collection>>,
    pub(crate) aliases: BTreeMap<String, String>,
}

/// Everything the server holds.
pub(crate) struct Engine {
    root: PathBuf,
    names: RwLock<Names>,
}

impl Engine {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, names: RwLock::default() }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a collection by its name or an alias.
    pub(crate) fn collection(&self, name: &str) -> Result<Arc<Collection>, Status> {
        let names = self.read();
        let name = names.aliases.get(name).map_or(name, String::as_str);
        names.collections.get(name).cloned().ok_or_else(|| no_collection(name))
    }

    pub(crate) fn create(&self, name: &str, vector: &VectorParams, config: CollectionConfig) -> Result<(), Status> {
        let mut names = self.write();
        if names.collections.contains_key(name) {
            return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
        }
        if vector.size == 0 || name.is_empty() || name.contains(['/', '\\', '\0']) {
            return Err(Status::invalid_argument(format!("unusable name {name:?} or size {}", vector.size)));
        }
        let dimension = usize::try_from(vector.size).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let vector = EdgeVectorParams::builder(dimension, distance(vector.distance)?).build();
        let log = WalOptions { segment_capacity: LOG_SEGMENT_BYTES, ..WalOptions::default() };
        let folder = self.root.join(name);
        std::fs::create_dir_all(&folder)?;
        let shard = EdgeShard::new(&folder, EdgeConfig::builder().vector("", vector).wal_options(log).build());
        let collection = Collection { shard: shard.map_err(engine_error)?, config };
        names.collections.insert(name.to_owned(), Arc::new(collection));
        Ok(())
    }

    /// Returns whether there was one. As with the real server, aliases are not looked up here.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Status> {
        let mut names = self.write();
        let Some(collection) = names.collections.remove(name) else { return Ok(false) };
        names.aliases.retain(|_, target| target != name);
        // Closing writes to the folder, so it comes first, unless a request still holds the collection; the temporary
        // folder of the whole server goes later in any case.
        drop(collection);
        std::fs::remove_dir_all(self.root.join(name))?;
        Ok(true)
    }
}

pub(crate) fn no_collection(name: &str) -> Status {
    Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"))
}

fn distance(distance: i32) -> Result<Distance, Status> {
    use qdrant_client::qdrant::Distance as Requested;
    match Requested::try_from(distance) {
        Ok(Requested::Cosine) => Ok(Distance::Cosine),
        Ok(Requested::Euclid) => Ok(Distance::Euclid),
        Ok(Requested::Dot) => Ok(Distance::Dot),
        Ok(Requested::Manhattan) => Ok(Distance::Manhattan),
        Ok(Requested::UnknownDistance) | Err(_) => Err(Status::invalid_argument("unknown distance")),
    }
}

/// The status that the real server gives for an error of its engine.
pub(crate) fn engine_error(error: OperationError) -> Status {
    let message = error.to_string();
    if matches!(error, OperationError::PointIdError { .. }) {
        Status::not_found(message)
    } else if matches!(error, OperationError::ServiceError { .. } | OperationError::InconsistentStorage { .. }) {
        Status::internal(message)
    } else {
        Status::invalid_argument(message)
    }
}
