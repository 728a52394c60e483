//! Images whose embeddings were computed before.

use crate::SearchError;
use crate::config::RequestLimits;
use crate::galleries::{Acknowledgement, Galleries, ImageWrite, Indexed};
use crate::metrics;
use crate::validation::{check_id, check_metadata};
use descry_model::Fingerprint;
use descry_store::{GalleryImage, Generation, ImageMetadata, now_ms};
use std::collections::HashSet;

/// Writes images, each answered in order; all that are answered well are on disk. An image whose file is known by its
/// hash and that has the same metadata is not written again.
///
/// Embeddings are of one model, so they go to one generation; one that is filled for another model gets its own.
///
/// # Errors
/// [`SearchError::Store`] for the whole: the gallery is not there or of another model, or the store failed.
pub(crate) async fn write_embeddings(
    galleries: &Galleries,
    limits: &RequestLimits,
    address: &str,
    fingerprint: &Fingerprint,
    images: Vec<(String, Result<GalleryImage, SearchError>)>,
) -> Result<Vec<Acknowledgement>, SearchError> {
    // The first target is the one that the address names.
    let Some(target) = galleries.targets(address).await?.into_iter().next() else { return Ok(Vec::new()) };
    let generation = &target.generation;
    generation.require_model(fingerprint, generation.dimension)?;
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
    let unchanged = unchanged(galleries, generation, &checked).await?;
    let now_ms = now_ms();
    let writes = checked.into_iter().map(|(image_id, image)| match image {
        Ok(_) if unchanged.contains(&image_id) => {
            ImageWrite::Done(Acknowledgement { image_id, outcome: Ok(Indexed::Unchanged) })
        }
        Ok(image) => {
            // A copy keeps the time of the original, within what a clock can say.
            let original_ms = Some(image.metadata.indexed_at_ms).filter(|ms| (1..now_ms).contains(ms));
            let metadata = ImageMetadata { indexed_at_ms: original_ms.unwrap_or(now_ms), ..image.metadata };
            ImageWrite::Write(GalleryImage { metadata, ..image })
        }
        Err(error) => ImageWrite::Done(Acknowledgement { image_id, outcome: Err(error) }),
    });
    let acknowledgements = galleries.write(vec![(target, writes.collect())]).await;
    metrics::count_images(&acknowledgements);
    Ok(acknowledgements)
}

async fn unchanged(
    galleries: &Galleries,
    generation: &Generation,
    images: &[(String, Result<GalleryImage, SearchError>)],
) -> Result<HashSet<String>, SearchError> {
    let hashed = images.iter().filter_map(|(_, image)| image.as_ref().ok());
    let hashed: Vec<&GalleryImage> = hashed.filter(|image| !image.metadata.content_sha256.is_empty()).collect();
    if hashed.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<String> = hashed.iter().map(|image| image.image_id.clone()).collect();
    let known = galleries.store().images(generation, &ids).await?;
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
