//! Which generations a write goes to: the one that serves, and every later one, which is being filled for a model change.
//!
//! An earlier generation is what one may roll back to; nothing is added to it, but what is deleted is deleted there too.

use super::indexer::Acknowledgement;
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
    /// Whether only this generation is written to, for a model change.
    pub(crate) is_filled_alone: bool,
}

impl Target {
    pub(crate) fn of(generation: &Gallery) -> Self {
        Self {
            address: generation.address(),
            gallery: generation.name.clone(),
            fingerprint: generation.fingerprint.clone(),
            is_filled_alone: false,
        }
    }
}

/// The generations that a write to an address goes to, the one that decides about success first.
pub(crate) async fn targets_of(store: &dyn VectorStore, address: &str) -> Result<Vec<Target>, SearchError> {
    let first = store.identity(address).await?;
    if GalleryAddress::parse(address).generation.is_some() {
        return Ok(vec![Target { is_filled_alone: true, ..Target::of(&first) }]);
    }
    let later =
        store.generation_identities(address).await?.into_iter().filter(|other| other.generation > first.generation);
    Ok(std::iter::once(&first).chain(&later.collect::<Vec<_>>()).map(Target::of).collect())
}

/// All generations of a gallery, or the one addressed: deleting must leave nothing that a rollback would bring back.
pub(crate) async fn all_generations_of(store: &dyn VectorStore, address: &str) -> Result<Vec<Target>, SearchError> {
    let first = store.identity(address).await?;
    if GalleryAddress::parse(address).generation.is_some() {
        return Ok(vec![Target::of(&first)]);
    }
    let generations = store.generation_identities(address).await?;
    let others = generations.iter().filter(|other| other.generation != first.generation);
    Ok(std::iter::once(&first).chain(others).map(Target::of).collect())
}

/// What a caller may be told of a write, once it is done: what the generation that serves *now* acknowledged. A
/// generation that was made or switched to meanwhile may lack the images; then they are to be sent again.
pub(super) async fn require_current(
    store: &dyn VectorStore,
    address: &str,
    mut written: Vec<(String, Vec<Acknowledgement>)>,
) -> Vec<Acknowledgement> {
    let missed = |reason: String| SearchError::Unavailable { dependency: "the gallery", reason };
    let changed = match targets_of(store, address).await {
        Ok(targets) => {
            let lacks = |target: &&Target| written.iter().all(|(address, _)| *address != target.address);
            let active =
                targets.first().and_then(|active| written.iter().position(|(address, _)| *address == active.address));
            match (targets.iter().find(lacks), active) {
                (None, Some(active)) => return written.swap_remove(active).1,
                _ => missed("its generations changed while images were written; send them again".to_owned()),
            }
        }
        Err(error) => missed(format!("asking for its generations after a write: {error}")),
    };
    let told = if written.is_empty() { Vec::new() } else { written.swap_remove(0).1 };
    told.into_iter()
        .map(|acknowledgement| match acknowledgement.outcome {
            Ok(_) => Acknowledgement { outcome: Err(changed.repeat()), ..acknowledgement },
            Err(_) => acknowledgement,
        })
        .collect()
}
