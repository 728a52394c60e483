//! The collections of one server, each a shard of the embedded engine in a folder of its own.

use crate::creation::NewCollection;
use qdrant_client::qdrant::CollectionConfig;
use qdrant_edge::{EdgeShard, OperationError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tempfile::TempDir;
use tonic::Status;

/// One collection.
pub(crate) struct Collection {
    pub(crate) shard: EdgeShard,
    /// As given at creation, metadata included, with what was left to the server; for those who ask.
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
    names: RwLock<Names>,
    /// Deleted with the last node that holds the data, after the collections were closed: closing writes.
    root: TempDir,
}

impl Engine {
    pub(crate) fn new(root: TempDir) -> Self {
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

    pub(crate) fn create(&self, new: NewCollection) -> Result<(), Status> {
        let NewCollection { name, config, reported } = new;
        let mut names = self.write();
        if names.collections.contains_key(&name) {
            return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
        }
        if names.aliases.contains_key(&name) {
            let message = format!("Wrong input: Can't create collection `{name}`: an alias has that name");
            return Err(Status::invalid_argument(message));
        }
        if name.is_empty() || name.contains(['/', '\\', '\0']) {
            return Err(Status::invalid_argument(format!("unusable name {name:?}")));
        }
        let folder = self.root.path().join(&name);
        std::fs::create_dir_all(&folder)?;
        let shard = EdgeShard::new(&folder, config).map_err(engine_error)?;
        names.collections.insert(name, Arc::new(Collection { shard, config: reported }));
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn optimize(&self) -> std::io::Result<()> {
        let collections: Vec<_> = self.read().collections.values().cloned().collect();
        for collection in collections {
            collection.shard.optimize().map_err(std::io::Error::other)?;
        }
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
        std::fs::remove_dir_all(self.root.path().join(name))?;
        Ok(true)
    }
}

pub(crate) fn no_collection(name: &str) -> Status {
    Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"))
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
