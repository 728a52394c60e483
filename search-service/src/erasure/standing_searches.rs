//! Watches that know of a subject: by its name, or because they are made of it.

use super::{Subject, Traces};
use crate::SearchError;
use crate::watches::{Descriptions, WatchPart, WatchedThing, Watches, delete_watch};
use descry_store::{Generation, VectorStore};
use std::collections::BTreeSet;

/// Images whose embeddings are read together.
const IMAGES_TOGETHER: usize = 256;

/// A watch this near to an image was made of it, or of the same picture: two pictures of one person are far less alike, and the
/// same picture encoded twice by two devices is nearer.
const SAME_PICTURE: f32 = 0.9995;

/// The names of watches that must go with a subject.
///
/// Descriptions say which images a watch is made of; where none are kept, or one was made of an uploaded picture, the embedding
/// tells it. One that was mixed of several parts, none of which is kept, is not recognised by anybody.
pub(super) async fn watches_of(
    store: &dyn VectorStore,
    generations: &[Generation],
    descriptions: &Descriptions,
    subject: &Subject,
    traces: &Traces,
) -> Result<BTreeSet<String>, SearchError> {
    let Some(gallery) = generations.first() else { return Ok(BTreeSet::new()) };
    let watches = Watches::of(store, gallery).await?;
    let image_ids = traces.image_ids();
    let mut found = BTreeSet::new();
    let parts = descriptions.of(store, gallery, &watches.readable).await?;
    let names_one = |part: &WatchPart| match &part.what {
        WatchedThing::GalleryImage(image_id) => subject.names_image(image_id, &image_ids),
        WatchedThing::Text(_) | WatchedThing::Unnamed => false,
    };
    for (name, watch) in &watches.readable {
        let is_made_of_one = parts.get(name).is_some_and(|parts| parts.iter().any(names_one));
        if is_made_of_one || subject.is_named_by(&watch.filter, &image_ids) {
            found.insert(name.clone());
        }
    }
    for (name, text) in watches.unreadable_texts(store, gallery).await? {
        if subject.is_quoted_by(&text, &image_ids) {
            found.insert(name);
        }
    }
    for generation in generations {
        let own: Vec<_> = watches
            .readable
            .values()
            .filter(|watch| watch.fingerprint == generation.fingerprint.as_str() && !found.contains(&watch.name))
            .collect();
        let images: Vec<String> = traces.images.get(&generation.number).into_iter().flatten().cloned().collect();
        for chunk in images.chunks(IMAGES_TOGETHER).filter(|_| !own.is_empty()) {
            for embedding in store.embeddings(generation, chunk).await?.into_values() {
                let is_same = |watch: &[f32]| {
                    let product = watch.iter().zip(embedding.as_slice()).map(|(a, b)| a * b).sum::<f32>();
                    // Either way: what is looked for may be unlike it.
                    product.abs() >= SAME_PICTURE
                };
                found.extend(own.iter().filter(|watch| is_same(&watch.embedding)).map(|watch| watch.name.clone()));
            }
            tokio::task::yield_now().await;
        }
    }
    Ok(found)
}

/// Removes watches, the words first: while a watch is there, removing it can be repeated.
pub(super) async fn remove_watches(
    store: &dyn VectorStore,
    gallery: &Generation,
    names: &BTreeSet<String>,
) -> Result<(), SearchError> {
    for name in names {
        Descriptions::put(store, gallery, name, None).await?;
        delete_watch(store, gallery, name).await?;
    }
    Ok(())
}
