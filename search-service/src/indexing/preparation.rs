//! A chunk of images on its way into one generation.

use super::indexer::{Acknowledgement, CheckedImage, Indexed};
use super::targets::Target;
use crate::SearchError;
use crate::encoder_pool::EncoderPool;
use crate::vector_store::{GalleryImage, ImageMetadata, VectorStore, now_ms};
use descry_model::Embedding;
use std::collections::HashMap;

/// An image on its way from encoding to writing.
pub(super) enum Prepared {
    Write(String, Embedding, ImageMetadata),
    Done(Acknowledgement),
}

/// Drops what is unchanged in the generation and encodes the rest with its model.
pub(super) async fn prepare(
    encoders: &EncoderPool,
    store: &dyn VectorStore,
    target: &Target,
    chunk: &[(CheckedImage, bool)],
) -> Vec<Prepared> {
    let ids: Vec<String> = chunk.iter().map(|(image, _)| image.image_id.clone()).collect();
    let known = match store.images(&target.address, &ids).await {
        Ok(known) => known,
        Err(error) => return fail_all(ids, &error),
    };
    let mut prepared = Vec::with_capacity(chunk.len());
    let mut to_encode = Vec::new();
    for (image, repeated) in chunk {
        let is_known = known.get(&image.image_id).is_some_and(|known| known.is_same_image(&image.metadata));
        if is_known && !repeated {
            prepared.push(done(image.image_id.clone(), Ok(Indexed::Unchanged)));
        } else {
            to_encode.push(image);
        }
    }
    if to_encode.is_empty() {
        return prepared;
    }
    let contents = to_encode.iter().map(|image| image.content.clone()).collect();
    let ids = || to_encode.iter().map(|image| image.image_id.clone()).collect::<Vec<_>>();
    let encoded = match encoders.of(&target.gallery, &target.fingerprint).await {
        Ok((encoder, _)) => encoder.encode_images(contents).await,
        Err(error) => Err(error),
    };
    match encoded {
        Ok(encoded) if encoded.fingerprint != target.fingerprint => {
            encoders.forget();
            let error = SearchError::FingerprintMismatch {
                name: target.gallery.clone(),
                gallery: target.fingerprint.clone(),
                given: encoded.fingerprint,
            };
            prepared.extend(fail_all(ids(), &error));
        }
        Ok(encoded) => {
            for (image, embedding) in to_encode.iter().zip(encoded.embeddings) {
                prepared.push(match embedding {
                    Ok(embedding) => Prepared::Write(image.image_id.clone(), embedding, image.metadata.clone()),
                    Err(error) => done(image.image_id.clone(), Err(error)),
                });
            }
        }
        Err(error) => prepared.extend(fail_all(ids(), &error)),
    }
    prepared
}

/// Writes what is prepared; what is acknowledged is on disk.
pub(super) async fn write(store: &dyn VectorStore, target: &Target, prepared: Vec<Prepared>) -> Vec<Acknowledgement> {
    let mut acknowledgements = Vec::with_capacity(prepared.len());
    let mut images = Vec::new();
    let now = now_ms();
    let since = times_of_indexing(store, target, &prepared).await;
    for item in prepared {
        match item {
            Prepared::Write(image_id, embedding, metadata) => {
                let indexed_at_ms = since.get(&image_id).copied().unwrap_or(now);
                let metadata = ImageMetadata { indexed_at_ms, ..metadata };
                images.push(GalleryImage { image_id, embedding, metadata });
            }
            Prepared::Done(acknowledgement) => acknowledgements.push(acknowledgement),
        }
    }
    if images.is_empty() {
        return acknowledgements;
    }
    let ids: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
    match store.upsert(&target.address, &target.fingerprint, images).await {
        Ok(()) => acknowledgements
            .extend(ids.into_iter().map(|image_id| Acknowledgement { image_id, outcome: Ok(Indexed::Written) })),
        Err(error) => acknowledgements.extend(ids.into_iter().map(|image_id| failure(image_id, &error))),
    }
    acknowledgements
}

/// When images were indexed that are only encoded anew, for another model: a model change must not make them younger.
async fn times_of_indexing(store: &dyn VectorStore, target: &Target, prepared: &[Prepared]) -> HashMap<String, i64> {
    let ids: Vec<String> = prepared
        .iter()
        .filter_map(|item| match item {
            Prepared::Write(image_id, ..) => Some(image_id.clone()),
            Prepared::Done(_) => None,
        })
        .collect();
    if !target.is_filled_alone || ids.is_empty() {
        return HashMap::new();
    }
    // Without an answer the images count as new: kept a little longer is better than not written.
    let known = store.images(&target.gallery, &ids).await.unwrap_or_default();
    known.into_iter().map(|(image_id, metadata)| (image_id, metadata.indexed_at_ms)).collect()
}

pub(super) fn done(image_id: String, outcome: Result<Indexed, SearchError>) -> Prepared {
    Prepared::Done(Acknowledgement { image_id, outcome })
}

pub(super) fn fail_all(ids: Vec<String>, error: &SearchError) -> Vec<Prepared> {
    ids.into_iter().map(|image_id| Prepared::Done(failure(image_id, error))).collect()
}

/// One failure of the whole chunk, told to each of its images.
pub(super) fn failure(image_id: String, error: &SearchError) -> Acknowledgement {
    Acknowledgement { image_id, outcome: Err(error.repeat()) }
}
