//! Which generations a write goes to: the one that serves, and every later one, which is being filled for a model change.
//!
//! An earlier generation is what one may roll back to; it is left as it was.

use crate::SearchError;
use crate::vector_store::{Gallery, GalleryAddress, VectorStore};
use descry_model::Fingerprint;

/// A generation that is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Such as `lobby.2`.
    pub(crate) address: String,
    /// Name of the gallery.
    pub(crate) gallery: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) dimension: usize,
}

impl Target {
    pub(crate) fn of(generation: &Gallery) -> Self {
        Self {
            address: generation.address(),
            gallery: generation.name.clone(),
            fingerprint: generation.fingerprint.clone(),
            dimension: generation.dimension,
        }
    }
}

/// The generations that a write to an address goes to, the one that decides about success first.
pub(crate) async fn targets_of(store: &dyn VectorStore, address: &str) -> Result<Vec<Target>, SearchError> {
    let first = store.identity(address).await?;
    if GalleryAddress::parse(address).generation.is_some() {
        return Ok(vec![Target::of(&first)]);
    }
    let later = store.generations(address).await?.into_iter().filter(|other| other.generation > first.generation);
    Ok(std::iter::once(&first).chain(&later.collect::<Vec<_>>()).map(Target::of).collect())
}
