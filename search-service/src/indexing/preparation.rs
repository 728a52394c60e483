//! A chunk of images on its way into one generation.

use super::indexer::CheckedImage;
use crate::SearchError;
use crate::encoder_pool::EncoderPool;
use crate::galleries::{Acknowledgement, ImageWrite, Indexed, Role, Target};
use crate::metadata_mask::MetadataMask;
use descry_model::Embedding;
use descry_store::{GalleryImage, ImageMetadata, VectorStore};
use std::collections::HashMap;

/// What a generation holds of the images of a chunk, by id.
pub(super) type Held = HashMap<String, ImageMetadata>;

/// Drops what is unchanged in the generation and encodes the rest with its model. Also tells what the generation holds.
///
/// `held_by_serving` is that of the generation that serves, where this one is filled beside it.
pub(super) async fn prepare(
    encoders: &EncoderPool,
    store: &dyn VectorStore,
    target: &Target,
    (chunk, mask): (&[(CheckedImage, bool)], &MetadataMask),
    held_by_serving: Option<&Held>,
) -> Result<(Vec<ImageWrite>, Held), SearchError> {
    let generation = &target.generation;
    let ids: Vec<String> = chunk.iter().map(|(image, _)| image.image_id.clone()).collect();
    let held = store.images(generation, &ids).await?;
    // What the serving generation knows of an image decides for every generation.
    let serving_now = match target.role {
        Role::FilledAlone => Some(store.images(&store.resolve(&generation.gallery).await?, &ids).await?),
        Role::Serving | Role::Later => None,
    };
    let mut writes = Vec::with_capacity(chunk.len());
    let mut to_encode = Vec::new();
    for (image, repeated) in chunk {
        let image_id = &image.image_id;
        let wanted = match (&serving_now, target.role) {
            // It takes what the serving one holds, whatever the caller says of it.
            (Some(serving), _) => serving
                .get(image_id)
                .map(|known| ImageMetadata { content_sha256: image.metadata.content_sha256.clone(), ..known.clone() }),
            (None, Role::Later) => {
                Some(mask.applied(image.metadata.clone(), held_by_serving.and_then(|known| known.get(image_id))))
            }
            (None, Role::Serving | Role::FilledAlone) => Some(mask.applied(image.metadata.clone(), held.get(image_id))),
        };
        let unchanged = held
            .get(image_id)
            .filter(|held| !repeated && wanted.as_ref().is_some_and(|wanted| held.is_same_image(wanted)));
        match unchanged {
            Some(held) => {
                let outcome = Ok(Indexed::unchanged(held.clone()));
                writes.push(ImageWrite::Done(Acknowledgement { image_id: image_id.clone(), outcome }));
            }
            None => to_encode.push(image),
        }
    }
    if to_encode.is_empty() {
        return Ok((writes, held));
    }
    let embeddings = match encode(encoders, target, &to_encode).await {
        Ok(embeddings) => embeddings,
        // What is unchanged needs no encoder.
        Err(error) => to_encode.iter().map(|_| Err(error.clone())).collect(),
    };
    for (image, embedding) in to_encode.into_iter().zip(embeddings) {
        let (image_id, metadata) = (image.image_id.clone(), image.metadata.clone());
        writes.push(match embedding {
            Ok(embedding) => ImageWrite::Write(GalleryImage { image_id, embedding, metadata }),
            Err(error) => ImageWrite::Done(Acknowledgement { image_id, outcome: Err(error) }),
        });
    }
    Ok((writes, held))
}

/// The embedding of each image, by the model of the generation.
async fn encode(
    encoders: &EncoderPool,
    target: &Target,
    images: &[&CheckedImage],
) -> Result<Vec<Result<Embedding, SearchError>>, SearchError> {
    let generation = &target.generation;
    let contents = images.iter().map(|image| image.content.clone()).collect();
    let (encoder, _) = encoders.of(&generation.gallery, &generation.fingerprint).await?;
    encoder.encode_images(contents, generation.settings.apply_exif_orientation).await
}

/// One failure of the whole chunk, told to each of its images.
pub(super) fn all_failed(ids: &[String], error: &SearchError) -> Vec<ImageWrite> {
    let failed = |image_id: &String| Acknowledgement { image_id: image_id.clone(), outcome: Err(error.clone()) };
    ids.iter().map(|image_id| ImageWrite::Done(failed(image_id))).collect()
}
