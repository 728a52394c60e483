//! Images whose embeddings were computed before.

use super::indexer::{Acknowledgement, Indexed};
use super::targets::Target;
use crate::SearchError;
use crate::config::RequestLimits;
use crate::metrics;
use crate::validation::{check_id, check_metadata};
use crate::vector_store::{GalleryImage, ImageMetadata, VectorStore, now_ms};
use descry_model::Fingerprint;
use std::collections::HashSet;

/// Writes images, each answered in order; all that are answered well are on disk. An image whose file is known by its
/// hash and that has the same metadata is not written again.
///
/// # Errors
/// [`SearchError::FingerprintMismatch`] or [`SearchError::GalleryNotFound`] for the whole, a store's failure for the whole.
pub(crate) async fn write_embeddings(
    store: &dyn VectorStore,
    limits: &RequestLimits,
    address: &str,
    fingerprint: &Fingerprint,
    images: Vec<(String, Result<GalleryImage, SearchError>)>,
) -> Result<Vec<Acknowledgement>, SearchError> {
    let generation = store.identity(address).await?;
    generation.require_model(fingerprint, generation.dimension)?;
    let target = Target::of(&generation);
    let checked: Vec<(String, Result<GalleryImage, SearchError>)> = images
        .into_iter()
        .map(|(image_id, image)| {
            let checked = image.and_then(|image| {
                check_id("image_id", &image.image_id, limits)?;
                check_metadata(&image.metadata, limits)?;
                generation.require_model(fingerprint, image.embedding.dimension())?;
                Ok(image)
            });
            (image_id, checked)
        })
        .collect();
    let unchanged = unchanged(store, &target, &checked).await?;
    let mut acknowledgements = Vec::with_capacity(checked.len());
    let mut to_write = Vec::with_capacity(checked.len());
    let indexed_at_ms = now_ms();
    for (image_id, image) in checked {
        let outcome = match image {
            Ok(_) if unchanged.contains(&image_id) => Ok(Indexed::Unchanged),
            Ok(image) => {
                // A copy keeps the time of the original, within what a clock can say.
                let original_ms = Some(image.metadata.indexed_at_ms).filter(|ms| (1..indexed_at_ms).contains(ms));
                let metadata = ImageMetadata { indexed_at_ms: original_ms.unwrap_or(indexed_at_ms), ..image.metadata };
                to_write.push(GalleryImage { metadata, ..image });
                Ok(Indexed::Written)
            }
            Err(error) => Err(error),
        };
        acknowledgements.push(Acknowledgement { image_id, outcome });
    }
    if !to_write.is_empty() {
        store.upsert(&target.address, fingerprint, to_write).await?;
    }
    let acknowledgements = if generation.address() == address {
        acknowledgements
    } else {
        require_still_active(store, address, &generation.address(), acknowledgements).await
    };
    metrics::count_images(&acknowledgements);
    Ok(acknowledgements)
}

/// Embeddings are of one model, so they go to one generation; one that is filled for another model gets its own.
async fn require_still_active(
    store: &dyn VectorStore,
    gallery: &str,
    written_to: &str,
    acknowledgements: Vec<Acknowledgement>,
) -> Vec<Acknowledgement> {
    let reason = match store.identity(gallery).await {
        Ok(now) if now.address() == written_to => return acknowledgements,
        Ok(_) => "another generation serves since the images were written; send them again".to_owned(),
        Err(error) => format!("asking for its generation after a write: {error}"),
    };
    let changed = SearchError::Unavailable { dependency: "the gallery", reason };
    let outcome = |outcome: Result<Indexed, SearchError>| outcome.and_then(|_| Err(changed.repeat()));
    acknowledgements
        .into_iter()
        .map(|Acknowledgement { image_id, outcome: told }| Acknowledgement { image_id, outcome: outcome(told) })
        .collect()
}

async fn unchanged(
    store: &dyn VectorStore,
    target: &Target,
    images: &[(String, Result<GalleryImage, SearchError>)],
) -> Result<HashSet<String>, SearchError> {
    let hashed = images.iter().filter_map(|(_, image)| image.as_ref().ok());
    let hashed: Vec<&GalleryImage> = hashed.filter(|image| !image.metadata.content_sha256.is_empty()).collect();
    if hashed.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<String> = hashed.iter().map(|image| image.image_id.clone()).collect();
    let known = store.images(&target.address, &ids).await?;
    let mut seen = HashSet::new();
    let mut unchanged = HashSet::new();
    for image in hashed {
        let is_known = known.get(&image.image_id).is_some_and(|known| known.is_same_image(&image.metadata));
        // Of two images with one id the later one counts, whatever the store holds now.
        if seen.insert(&image.image_id) && is_known {
            unchanged.insert(image.image_id.clone());
        } else {
            unchanged.remove(&image.image_id);
        }
    }
    Ok(unchanged)
}
