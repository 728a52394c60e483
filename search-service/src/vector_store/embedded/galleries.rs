//! The galleries in memory, and the locks around them.

use super::EmbeddedError;
use super::error::store_error;
use super::matrix::GalleryMatrix;
use crate::SearchError;
use crate::vector_store::Gallery;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One gallery in memory.
pub(super) struct LoadedGallery {
    /// Its row in the database.
    pub(super) id: i64,
    identity: Gallery,
    matrix: RwLock<GalleryMatrix>,
}

impl LoadedGallery {
    pub(super) fn empty(id: i64, identity: Gallery) -> Self {
        let matrix = RwLock::new(GalleryMatrix::new(identity.dimension));
        Self { id, identity, matrix }
    }

    /// Name, model and creation time; the number of images is in [`LoadedGallery::describe`] alone.
    pub(super) fn identity(&self) -> &Gallery {
        &self.identity
    }

    pub(super) fn describe(&self) -> Result<Gallery, SearchError> {
        Ok(Gallery { images: self.read()?.len() as u64, ..self.identity.clone() })
    }

    pub(super) fn read(&self) -> Result<RwLockReadGuard<'_, GalleryMatrix>, SearchError> {
        self.matrix.read().map_err(interrupted)
    }

    pub(super) fn write(&self) -> Result<RwLockWriteGuard<'_, GalleryMatrix>, SearchError> {
        self.matrix.write().map_err(interrupted)
    }

    /// The matrix of a gallery that nobody else sees yet.
    pub(super) fn matrix_mut(&mut self) -> Result<&mut GalleryMatrix, EmbeddedError> {
        self.matrix.get_mut().map_err(|_| EmbeddedError::Interrupted)
    }
}

/// All galleries by name. Changed only by whoever holds the database.
pub(super) struct Galleries {
    by_name: RwLock<BTreeMap<String, Arc<LoadedGallery>>>,
}

impl Galleries {
    pub(super) fn new(galleries: Vec<LoadedGallery>) -> Self {
        let named = galleries.into_iter().map(|gallery| (gallery.identity.name.clone(), Arc::new(gallery)));
        Self { by_name: RwLock::new(named.collect()) }
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Arc<LoadedGallery>>, SearchError> {
        Ok(self.by_name.read().map_err(interrupted)?.get(name).cloned())
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<LoadedGallery>, SearchError> {
        self.get(name)?.ok_or_else(|| SearchError::GalleryNotFound { name: name.to_owned() })
    }

    pub(super) fn all(&self) -> Result<Vec<Arc<LoadedGallery>>, SearchError> {
        Ok(self.by_name.read().map_err(interrupted)?.values().cloned().collect())
    }

    pub(super) fn insert(&self, gallery: LoadedGallery) -> Result<(), SearchError> {
        let name = gallery.identity.name.clone();
        self.by_name.write().map_err(interrupted)?.insert(name, Arc::new(gallery));
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), SearchError> {
        self.by_name.write().map_err(interrupted)?.remove(name);
        Ok(())
    }
}

/// A poisoned lock: some thread panicked in the middle of a change.
fn interrupted<Guard>(_: PoisonError<Guard>) -> SearchError {
    store_error("reaching a gallery", EmbeddedError::Interrupted)
}
