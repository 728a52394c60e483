//! The galleries in memory, and the locks around them.

use super::EmbeddedError;
use super::error::store_error;
use super::matrix::GalleryMatrix;
use crate::StoreError;
use crate::{Gallery, GalleryAddress, Generation, Generations, IndexState};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One generation in memory.
pub(super) struct LoadedGeneration {
    /// Its row in the database.
    pub(super) id: i64,
    identity: Generation,
    matrix: RwLock<GalleryMatrix>,
}

impl LoadedGeneration {
    pub(super) fn empty(id: i64, identity: Generation) -> Self {
        let matrix = GalleryMatrix::new(identity.dimension, &identity.settings.indexed_attributes);
        Self { id, identity, matrix: RwLock::new(matrix) }
    }

    /// What never changes; the number of images and their size are in [`LoadedGeneration::describe`] alone.
    pub(super) fn identity(&self) -> &Generation {
        &self.identity
    }

    pub(super) fn describe(&self) -> Result<Gallery, StoreError> {
        let matrix = self.read()?;
        let (images, bytes) = (matrix.len() as u64, matrix.bytes() as u64);
        Ok(Gallery { generation: self.identity.clone(), images, index: IndexState::Exact, bytes })
    }

    pub(super) fn read(&self) -> Result<RwLockReadGuard<'_, GalleryMatrix>, StoreError> {
        self.matrix.read().map_err(interrupted)
    }

    pub(super) fn write(&self) -> Result<RwLockWriteGuard<'_, GalleryMatrix>, StoreError> {
        self.matrix.write().map_err(interrupted)
    }

    /// Whether a writer would have to wait.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.matrix.try_write().is_err()
    }

    /// The matrix of a generation that nobody else sees yet.
    pub(super) fn matrix_mut(&mut self) -> Result<&mut GalleryMatrix, EmbeddedError> {
        self.matrix.get_mut().map_err(|_| EmbeddedError::Interrupted)
    }
}

/// A gallery with its generations by number.
#[derive(Clone)]
pub(super) struct LoadedGallery {
    /// Its row in the database.
    pub(super) id: i64,
    pub(super) name: String,
    /// The number of the generation that serves; it exists.
    pub(super) active: u32,
    pub(super) generations: BTreeMap<u32, Arc<LoadedGeneration>>,
}

impl LoadedGallery {
    pub(super) fn new(id: i64, name: String, active: u32, generations: BTreeMap<u32, LoadedGeneration>) -> Self {
        let generations = generations.into_iter().map(|(number, generation)| (number, Arc::new(generation)));
        Self { id, name, active, generations: generations.collect() }
    }

    /// Handles of all its generations.
    pub(super) fn handles(&self) -> Result<Generations, StoreError> {
        let active = self.generation(None)?.identity().clone();
        let others = self.generations.values().map(|generation| generation.identity());
        let others = others.filter(|other| other.number != self.active).cloned().collect();
        Ok(Generations { active, others })
    }

    /// The generation of a number, or the one that serves.
    pub(super) fn generation(&self, number: Option<u32>) -> Result<Arc<LoadedGeneration>, StoreError> {
        let number = number.unwrap_or(self.active);
        self.generations.get(&number).cloned().ok_or_else(|| {
            let address = GalleryAddress { name: &self.name, generation: Some(number) };
            StoreError::GalleryNotFound { address: address.to_string() }
        })
    }
}

/// All galleries by name. Changed only by whoever holds the database.
pub(super) struct Galleries {
    by_name: RwLock<BTreeMap<String, LoadedGallery>>,
    /// All images with a lower number in the order of writes are in memory.
    next_write_number: AtomicU64,
}

impl Galleries {
    pub(super) fn new(galleries: Vec<LoadedGallery>, next_write_number: u64) -> Self {
        let named = galleries.into_iter().map(|gallery| (gallery.name.clone(), gallery));
        Self { by_name: RwLock::new(named.collect()), next_write_number: next_write_number.into() }
    }

    pub(super) fn next_write_number(&self) -> u64 {
        self.next_write_number.load(Ordering::Acquire)
    }

    pub(super) fn set_next_write_number(&self, number: u64) {
        self.next_write_number.store(number, Ordering::Release);
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<LoadedGallery>, StoreError> {
        Ok(self.by_name.read().map_err(interrupted)?.get(name).cloned())
    }

    /// A gallery with all its generations.
    pub(super) fn find(&self, name: &str) -> Result<LoadedGallery, StoreError> {
        self.get(name)?.ok_or_else(|| StoreError::GalleryNotFound { address: name.to_owned() })
    }

    /// The generation that an address names.
    pub(super) fn resolve(&self, address: &str) -> Result<Arc<LoadedGeneration>, StoreError> {
        let GalleryAddress { name, generation } = GalleryAddress::parse(address);
        let galleries = self.by_name.read().map_err(interrupted)?;
        let gallery = galleries.get(name).ok_or_else(|| StoreError::GalleryNotFound { address: address.to_owned() })?;
        gallery.generation(generation)
    }

    /// The generation that a handle names. Numbers are never used twice, so another one of its number is none.
    pub(super) fn held(&self, handle: &Generation) -> Result<Arc<LoadedGeneration>, StoreError> {
        self.gallery_of(handle)?.generation(Some(handle.number))
    }

    /// The gallery of the generation that a handle names.
    pub(super) fn gallery_of(&self, handle: &Generation) -> Result<LoadedGallery, StoreError> {
        let gallery = self.get(&handle.gallery)?.filter(|gallery| gallery.generations.contains_key(&handle.number));
        gallery.ok_or_else(|| StoreError::GalleryNotFound { address: handle.address() })
    }

    pub(super) fn all(&self) -> Result<Vec<LoadedGallery>, StoreError> {
        Ok(self.by_name.read().map_err(interrupted)?.values().cloned().collect())
    }

    /// Adds a gallery, or puts it in the place of the one of its name.
    pub(super) fn put(&self, gallery: LoadedGallery) -> Result<(), StoreError> {
        self.by_name.write().map_err(interrupted)?.insert(gallery.name.clone(), gallery);
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.by_name.write().map_err(interrupted)?.remove(name);
        Ok(())
    }
}

/// A poisoned lock: some thread panicked in the middle of a change.
fn interrupted<Guard>(_: PoisonError<Guard>) -> StoreError {
    store_error("reaching a gallery", EmbeddedError::Interrupted)
}
