//! Images whose embeddings were computed before.

use crate::SearchError;
use crate::config::RequestLimits;
use crate::erasure::Comeback;
use crate::galleries::{Acknowledgement, Galleries, ImageWrite, Indexed, Role, Target};
use crate::metadata_mask::MetadataMask;
use crate::metrics;
use crate::validation::{check_id, check_metadata};
use descry_model::Fingerprint;
use descry_store::{GalleryImage, ImageMetadata, now_ms};
use std::collections::HashMap;

/// Writes images, each answered in order; all that are answered well are on disk. An image whose file is known by its
/// hash and of which nothing new is told is not written again.
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
    (mask, comeback): (&MetadataMask, Comeback),
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
    let mut unchanged = unchanged(galleries, &target, mask, &checked).await?;
    let now_ms = now_ms();
    let writes = checked.into_iter().map(|(image_id, image)| match (image, unchanged.remove(&image_id)) {
        (Ok(_), Some(known)) => ImageWrite::Done(Acknowledgement { image_id, outcome: Ok(Indexed::unchanged(known)) }),
        (Ok(image), None) => {
            // A copy keeps the time of the original, within what a clock can say.
            let original_ms = Some(image.metadata.indexed_at_ms).filter(|ms| (1..now_ms).contains(ms));
            let metadata = ImageMetadata { indexed_at_ms: original_ms.unwrap_or(now_ms), ..image.metadata };
            ImageWrite::Write(GalleryImage { metadata, ..image })
        }
        (Err(error), _) => ImageWrite::Done(Acknowledgement { image_id, outcome: Err(error) }),
    });
    let acknowledgements = galleries.write(vec![(target, writes.collect())], mask, comeback).await;
    metrics::count_images(&acknowledgements);
    Ok(acknowledgements)
}

/// What is known of images that need not be written, by id.
async fn unchanged(
    galleries: &Galleries,
    target: &Target,
    mask: &MetadataMask,
    images: &[(String, Result<GalleryImage, SearchError>)],
) -> Result<HashMap<String, ImageMetadata>, SearchError> {
    let mut given: HashMap<&str, Option<&ImageMetadata>> = HashMap::new();
    for image in images.iter().filter_map(|(_, image)| image.as_ref().ok()) {
        // Without a hash nobody can say what was embedded; and of two images with one id the later one counts, whatever
        // the store holds now.
        let metadata = Some(&image.metadata).filter(|metadata| !metadata.content_sha256.is_empty());
        given.entry(&image.image_id).and_modify(|given| *given = None).or_insert(metadata);
    }
    let given: HashMap<&str, &ImageMetadata> =
        given.into_iter().filter_map(|(image_id, metadata)| Some((image_id, metadata?))).collect();
    if given.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<String> = given.keys().map(|&image_id| image_id.to_owned()).collect();
    let store = galleries.store();
    let mut held = store.images(&target.generation, &ids).await?;
    if target.role == Role::Serving {
        held.retain(|image_id, held| {
            let given = given.get(image_id.as_str()).copied();
            given.is_some_and(|given| held.is_same_image(&mask.applied(given.clone(), Some(held))))
        });
        return Ok(held);
    }
    // It takes what the serving one holds, whatever the caller says of it.
    let serving = store.images(&store.resolve(&target.generation.gallery).await?, &ids).await?;
    held.retain(|image_id, held| {
        let is_of_file = given.get(image_id.as_str()).is_some_and(|given| given.content_sha256 == held.content_sha256);
        is_of_file && serving.get(image_id).is_some_and(|serving| held.is_same_image(serving))
    });
    Ok(held)
}
