//! A stream of images becomes gallery entries, each acknowledged when it is on disk.
//!
//! Chunks are encoded while earlier ones are written; writing keeps the stream's order, so that of two images with one
//! id the later one wins.

use crate::SearchError;
use crate::config::{IndexingConfig, RequestLimits};
use crate::encoder_client::EncoderClient;
use crate::validation::{check_gallery_name, check_id, check_metadata, invalid};
use crate::vector_store::{Gallery, GalleryImage, ImageMetadata, VectorStore};
use descry_model::{Embedding, Fingerprint, sha256_hex};
use descry_serving::trace_context::within_request;
use futures::{Stream, StreamExt as _};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

/// An image to index. Its metadata's hash is computed here, whatever it says.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) image_id: String,
    pub(crate) content: bytes::Bytes,
    /// Or what is wrong with it; the image is answered with that.
    pub(crate) metadata: Result<ImageMetadata, SearchError>,
    /// The room its content takes; given back when the image is encoded.
    pub(crate) memory: Option<OwnedSemaphorePermit>,
}

/// An image that passed its checks.
struct Checked {
    image_id: String,
    content: bytes::Bytes,
    metadata: ImageMetadata,
    _memory: Option<OwnedSemaphorePermit>,
}

/// What became of an image.
#[derive(Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) image_id: String,
    pub(crate) outcome: Result<Indexed, SearchError>,
}

/// How an image came to be in the gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indexed {
    /// Encoded and written.
    Written,
    /// It was there already, bytes and metadata alike.
    Unchanged,
}

/// Encodes images and writes them to the store.
#[derive(Clone)]
pub(crate) struct Indexer {
    encoder: EncoderClient,
    store: Arc<dyn VectorStore>,
    limits: RequestLimits,
    config: IndexingConfig,
}

/// An image on its way from encoding to writing.
enum Prepared {
    Write(String, Embedding, ImageMetadata),
    Done(Acknowledgement),
}

/// The ids between encoding and writing. The store does not know of them yet, so it cannot tell whether another image
/// of the same id is unchanged.
type InFlight = Arc<Mutex<HashMap<String, usize>>>;

impl Indexer {
    pub(crate) fn new(
        encoder: EncoderClient,
        store: Arc<dyn VectorStore>,
        limits: RequestLimits,
        config: IndexingConfig,
    ) -> Self {
        Self { encoder, store, limits, config }
    }

    /// Checks that the gallery belongs to the encoder's model, creating it if asked to.
    pub(crate) async fn open_gallery(&self, name: &str, create: bool) -> Result<Fingerprint, SearchError> {
        check_gallery_name(name)?;
        let model = self.encoder.model().await?;
        let gallery = match self.store.gallery(name).await {
            Err(SearchError::GalleryNotFound { .. }) if create => self.create_gallery(name).await?,
            result => result?,
        };
        if gallery.fingerprint != model.fingerprint {
            return Err(SearchError::FingerprintMismatch {
                name: name.to_owned(),
                gallery: gallery.fingerprint,
                given: model.fingerprint,
            });
        }
        Ok(gallery.fingerprint)
    }

    /// Creates a gallery for the encoder's model.
    pub(crate) async fn create_gallery(&self, name: &str) -> Result<Gallery, SearchError> {
        check_gallery_name(name)?;
        let model = self.encoder.model().await?;
        let galleries = self.store.list_galleries().await?;
        let max = self.limits.max_galleries;
        if galleries.len() >= max && galleries.iter().all(|gallery| gallery.name != name) {
            return Err(invalid("gallery", format!("there are {max} galleries already, as many as are allowed")));
        }
        self.store.create_gallery(name, &model.fingerprint, model.dimension).await
    }

    /// Indexes images as they come. Bounded: at most a few chunks are between the two streams at any time.
    pub(crate) fn index(
        self,
        gallery: String,
        fingerprint: Fingerprint,
        images: impl Stream<Item = NewImage> + Send + 'static,
    ) -> impl Stream<Item = Vec<Acknowledgement>> + Send + 'static {
        let in_flight = InFlight::default();
        let indexer = Arc::new(self);
        let gallery: Arc<str> = gallery.into();
        let IndexingConfig { chunk_images, chunks_in_flight, .. } = indexer.config;
        let encoding = {
            let (indexer, in_flight, gallery) = (Arc::clone(&indexer), Arc::clone(&in_flight), Arc::clone(&gallery));
            images.ready_chunks(chunk_images).map(move |chunk| {
                let repeated = enter(&in_flight, &chunk);
                let (indexer, gallery, fingerprint) = (Arc::clone(&indexer), Arc::clone(&gallery), fingerprint.clone());
                let ids = chunk.iter().map(|image| image.image_id.clone()).collect::<Vec<_>>();
                // A task of its own, so that it goes on while an earlier chunk is written; it ends with the stream.
                let preparing = within_request(async move {
                    (indexer.prepare(&gallery, &fingerprint, chunk, &repeated).await, fingerprint)
                });
                let preparing = AbortOnDropHandle::new(tokio::spawn(preparing));
                async move { (ids, preparing.await) }
            })
        };
        encoding.buffered(chunks_in_flight).then(move |(ids, prepared)| {
            let (indexer, in_flight, gallery) = (Arc::clone(&indexer), Arc::clone(&in_flight), Arc::clone(&gallery));
            async move {
                let acknowledgements = match prepared {
                    Ok((prepared, fingerprint)) => indexer.write(&gallery, &fingerprint, prepared).await,
                    Err(error) => {
                        let error = SearchError::Encoder { reason: format!("preparing a chunk: {error}") };
                        ids.iter().map(|image_id| failure(image_id.clone(), &error)).collect()
                    }
                };
                leave(&in_flight, &ids);
                acknowledgements
            }
        })
    }

    /// Checks a chunk, drops what is unchanged and encodes the rest.
    async fn prepare(
        &self,
        gallery: &str,
        fingerprint: &Fingerprint,
        chunk: Vec<NewImage>,
        repeated: &[bool],
    ) -> Vec<Prepared> {
        let ids: Vec<String> = chunk.iter().map(|image| image.image_id.clone()).collect();
        let known = match self.store.images(gallery, &ids).await {
            Ok(known) => known,
            Err(error) => return fail_all(ids, &error),
        };
        let mut prepared = Vec::with_capacity(chunk.len());
        let mut checked = Vec::with_capacity(chunk.len());
        for (image, &repeated) in chunk.into_iter().zip(repeated) {
            let image_id = image.image_id.clone();
            match self.check(image) {
                Ok(image) => checked.push((image, repeated)),
                Err(error) => prepared.push(done(image_id, Err(error))),
            }
        }
        let hashing = tokio::task::spawn_blocking(move || {
            for (image, _) in &mut checked {
                image.metadata.content_sha256 = sha256_hex(&image.content);
            }
            checked
        });
        let checked = match hashing.await {
            Ok(checked) => checked,
            Err(error) => return fail_all(ids, &SearchError::Encoder { reason: format!("hashing: {error}") }),
        };
        let mut to_encode = Vec::new();
        for (image, repeated) in checked {
            if !repeated && known.get(&image.image_id) == Some(&image.metadata) {
                prepared.push(done(image.image_id, Ok(Indexed::Unchanged)));
            } else {
                to_encode.push(image);
            }
        }
        if to_encode.is_empty() {
            return prepared;
        }
        let contents = to_encode.iter().map(|image| image.content.clone()).collect();
        match self.encoder.encode_images(contents).await {
            Ok(encoded) if encoded.fingerprint != *fingerprint => {
                let error = SearchError::FingerprintMismatch {
                    name: gallery.to_owned(),
                    gallery: fingerprint.clone(),
                    given: encoded.fingerprint,
                };
                prepared.extend(fail_all(to_encode.into_iter().map(|image| image.image_id).collect(), &error));
            }
            Ok(encoded) => {
                for (image, embedding) in to_encode.into_iter().zip(encoded.embeddings) {
                    prepared.push(match embedding {
                        Ok(embedding) => Prepared::Write(image.image_id, embedding, image.metadata),
                        Err(error) => done(image.image_id, Err(error)),
                    });
                }
            }
            Err(error) => {
                prepared.extend(fail_all(to_encode.into_iter().map(|image| image.image_id).collect(), &error));
            }
        }
        prepared
    }

    async fn write(&self, gallery: &str, fingerprint: &Fingerprint, prepared: Vec<Prepared>) -> Vec<Acknowledgement> {
        let mut acknowledgements = Vec::with_capacity(prepared.len());
        let mut images = Vec::new();
        for item in prepared {
            match item {
                Prepared::Write(image_id, embedding, metadata) => {
                    images.push(GalleryImage { image_id, embedding, metadata });
                }
                Prepared::Done(acknowledgement) => acknowledgements.push(acknowledgement),
            }
        }
        if images.is_empty() {
            return acknowledgements;
        }
        let ids: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
        match self.store.upsert(gallery, fingerprint, images).await {
            Ok(()) => acknowledgements
                .extend(ids.into_iter().map(|image_id| Acknowledgement { image_id, outcome: Ok(Indexed::Written) })),
            Err(error) => acknowledgements.extend(ids.into_iter().map(|image_id| failure(image_id, &error))),
        }
        acknowledgements
    }

    fn check(&self, image: NewImage) -> Result<Checked, SearchError> {
        check_id("image_id", &image.image_id, &self.limits)?;
        let metadata = image.metadata?;
        check_metadata(&metadata, &self.limits)?;
        if image.content.is_empty() {
            return Err(invalid("content", "is empty"));
        }
        Ok(Checked { image_id: image.image_id, content: image.content, metadata, _memory: image.memory })
    }
}

/// Notes the chunk's ids and tells which of them were on their way already.
fn enter(in_flight: &InFlight, chunk: &[NewImage]) -> Vec<bool> {
    let mut ids = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
    chunk
        .iter()
        .map(|image| {
            let count = ids.entry(image.image_id.clone()).or_default();
            *count += 1;
            *count > 1
        })
        .collect()
}

fn leave(in_flight: &InFlight, written: &[String]) {
    let mut ids = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
    for id in written {
        if let Some(count) = ids.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                ids.remove(id);
            }
        }
    }
}

fn done(image_id: String, outcome: Result<Indexed, SearchError>) -> Prepared {
    Prepared::Done(Acknowledgement { image_id, outcome })
}

fn fail_all(ids: Vec<String>, error: &SearchError) -> Vec<Prepared> {
    ids.into_iter().map(|image_id| Prepared::Done(failure(image_id, error))).collect()
}

/// One failure of the whole chunk, told to each of its images.
fn failure(image_id: String, error: &SearchError) -> Acknowledgement {
    Acknowledgement { image_id, outcome: Err(error.repeat()) }
}
