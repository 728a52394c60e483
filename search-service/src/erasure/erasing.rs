//! Erasing, step by step. Each step leaves what the next ones, or a repetition, need to find the rest.

use super::Subject;
use super::key::random_digits;
use super::standing_searches::{remove_watches, watches_of};
use crate::SearchError;
use crate::galleries::Galleries;
use crate::watches::Descriptions;
use descry_store::now_ms;
use std::collections::BTreeSet;

/// The receipt of an erasure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Erased {
    /// Random; empty where nothing was erased because it was only asked what would be.
    pub(crate) erasure_id: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) erased_at_ms: i64,
    /// The number of each generation, and of the images that were removed from it.
    pub(crate) generations: Vec<(u32, u64)>,
    /// All images that were there, each once.
    pub(crate) image_ids: Vec<String>,
    /// Names of watches that were removed.
    pub(crate) watches: Vec<String>,
    /// What is still to come before nothing is left on the disk, in words.
    pub(crate) pending: Vec<String>,
    /// Images that were left alone because they must be kept.
    pub(crate) held: u64,
    /// How many marks keep it away.
    pub(crate) marks: u64,
}

/// Removes all that a gallery holds of a subject, and keeps it away. Goes to its end also when nobody waits for it any more.
pub(crate) async fn erase(
    galleries: &Galleries,
    descriptions: &Descriptions,
    gallery: &str,
    subject: Subject,
) -> Result<Erased, SearchError> {
    let (galleries, descriptions, gallery) = (galleries.clone(), descriptions.clone(), gallery.to_owned());
    let erasing = tokio::spawn(async move { erase_all(&galleries, &descriptions, &gallery, &subject).await });
    erasing.await.unwrap_or_else(|error| Err(SearchError::failed("erasing", error)))
}

async fn erase_all(
    galleries: &Galleries,
    descriptions: &Descriptions,
    gallery: &str,
    subject: &Subject,
) -> Result<Erased, SearchError> {
    let erasure_id = random_digits::<16>()?;
    // First of all: from here on nothing of it is taken in any more, whatever becomes of the rest.
    let (mut traces, marks) = galleries.keep_away(gallery, subject).await?;
    let store = galleries.store();
    let generations: Vec<_> = store.generations(gallery).await?.all().cloned().collect();
    // While the images are there, it can be told which watches are made of them.
    let watches = watches_of(store, &generations, descriptions, subject, &traces).await?;
    if let Some(serving) = generations.first() {
        remove_watches(store, serving, &watches).await?;
    }
    let (removed, held) = galleries.remove_traces(gallery, subject, &mut traces).await?;
    let pending = match store.scrub(gallery).await {
        Ok(scrubbed) => scrubbed.pending,
        // It is gone for everybody who asks the service; who looks at the disk may find it.
        Err(error) => vec![format!("what was removed may still lie on the disk ({error}); erase it once more")],
    };
    let (images, watches_count) = (traces.image_ids().len(), watches.len());
    tracing::info!(
        gallery,
        erasure_id,
        images,
        held,
        watches = watches_count,
        marks,
        pending = pending.len(),
        "erased"
    );
    Ok(Erased {
        erasure_id,
        erased_at_ms: now_ms(),
        generations: removed,
        image_ids: traces.image_ids().into_iter().map(str::to_owned).collect(),
        watches: watches.into_iter().collect(),
        pending,
        held,
        marks,
    })
}

/// What [`erase`] would remove. Changes nothing.
pub(crate) async fn preview(
    galleries: &Galleries,
    descriptions: &Descriptions,
    gallery: &str,
    subject: &Subject,
) -> Result<Erased, SearchError> {
    let store = galleries.store();
    let (traces, held) = galleries.traces(gallery, subject).await?;
    let generations: Vec<_> = store.generations(gallery).await?.all().cloned().collect();
    let watches = watches_of(store, &generations, descriptions, subject, &traces).await?;
    let count = |number: u32| traces.images.get(&number).map_or(0, BTreeSet::len) as u64;
    Ok(Erased {
        generations: generations.iter().map(|generation| (generation.number, count(generation.number))).collect(),
        image_ids: traces.image_ids().into_iter().map(str::to_owned).collect(),
        watches: watches.into_iter().collect(),
        held,
        marks: subject.things(&traces).len() as u64,
        ..Erased::default()
    })
}
