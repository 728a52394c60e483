//! Changing the model of a gallery while it serves: what a new generation lacks, and when it may take over.

use crate::SearchError;
use crate::vector_store::{Gallery, PageRequest, VectorStore};
use std::collections::HashMap;

/// What one generation lacks of another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) images: u64,
    pub(crate) images_against: u64,
    pub(crate) missing: IdList,
    pub(crate) surplus: IdList,
}

/// Ids of which all are counted and some are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdList {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl IdList {
    fn add(&mut self, image_id: String, limit: usize) {
        self.count += 1;
        if self.first.len() < limit {
            self.first.push(image_id);
        }
    }
}

const PAGE_IMAGES: usize = 512;

/// Holds a generation against another: an image is missing when it is not there, or there from another file or with
/// other metadata. Names at most `limit` ids of each kind.
pub(crate) async fn compare(
    store: &dyn VectorStore,
    generation: &Gallery,
    against: &Gallery,
    limit: usize,
) -> Result<Comparison, SearchError> {
    let (own, other) = (generation.address(), against.address());
    let missing = absent(store, &other, &own, limit).await?;
    let surplus = absent(store, &own, &other, limit).await?;
    // What differs is in both, so it is no surplus but missing.
    Ok(Comparison {
        images: store.gallery(&own).await?.images,
        images_against: store.gallery(&other).await?.images,
        missing: missing.differing,
        surplus: surplus.absent,
    })
}

#[derive(Default)]
struct Absent {
    /// Not there at all.
    absent: IdList,
    /// Not there, or not the same.
    differing: IdList,
}

/// Goes through the images of `from` and looks each up in `of`.
async fn absent(store: &dyn VectorStore, from: &str, of: &str, limit: usize) -> Result<Absent, SearchError> {
    let mut found = Absent::default();
    let mut request = PageRequest { limit: PAGE_IMAGES, ..PageRequest::default() };
    loop {
        let page = store.listing(from, request.clone()).await?;
        let images: HashMap<String, _> = page.images.into_iter().collect();
        let ids: Vec<String> = images.keys().cloned().collect();
        let known = store.images(of, &ids).await?;
        let mut ids = ids;
        ids.sort_unstable();
        for image_id in ids {
            match known.get(&image_id) {
                None => {
                    found.absent.add(image_id.clone(), limit);
                    found.differing.add(image_id, limit);
                }
                Some(known) if !images[&image_id].is_same_image(known) => found.differing.add(image_id, limit),
                Some(_) => {}
            }
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Lets a generation serve, if it lacks nothing that the active one has, or if that is forced.
pub(crate) async fn activate(
    store: &dyn VectorStore,
    gallery: &str,
    generation: u32,
    force: bool,
) -> Result<Gallery, SearchError> {
    let active = store.identity(gallery).await?;
    let next = store.identity(&format!("{gallery}.{generation}")).await?;
    if !force && active.generation != generation {
        let lacking = compare(store, &next, &active, 1).await?.missing.count;
        if lacking > 0 {
            let reason = format!(
                "generation {generation} lacks {lacking} images that generation {} has; fill it first, or force the \
                 change",
                active.generation
            );
            return Err(SearchError::NotReady { name: gallery.to_owned(), reason });
        }
    }
    store.activate(gallery, generation).await?;
    tracing::info!(gallery, generation, model = next.fingerprint.short(), "another generation serves");
    store.gallery(gallery).await
}
