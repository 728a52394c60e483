//! A stream of images becomes gallery entries, each acknowledged when it is on disk.
//!
//! Chunks are encoded while earlier ones are written; writing keeps the stream's order, so that of two images with one
//! id the later one wins.

use super::in_flight::InFlight;
use super::preparation::{Prepared, fail_all, failure, prepare, write};
use super::targets::{Target, require_current, targets_of};
use crate::SearchError;
use crate::config::{IndexingConfig, RequestLimits};
use crate::encoder_pool::EncoderPool;
use crate::metrics;
use crate::validation::{check_id, check_metadata, invalid};
use crate::vector_store::{ImageMetadata, VectorStore};
use descry_model::sha256_hex;
use descry_serving::trace_context::within_request;
use futures::{Stream, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
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
pub(super) struct CheckedImage {
    pub(super) image_id: String,
    pub(super) content: bytes::Bytes,
    pub(super) metadata: ImageMetadata,
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
    encoders: EncoderPool,
    store: Arc<dyn VectorStore>,
    limits: RequestLimits,
    config: IndexingConfig,
}

/// How long a chunk waits for a generation that is filled beside the serving one; what it lacks then is found later.
const PATIENCE_WITH_LATER_GENERATIONS: Duration = Duration::from_secs(10);

/// What is prepared of a chunk, for each generation that it goes to.
type PreparedChunk = Vec<(Target, Vec<Prepared>)>;

impl Indexer {
    pub(crate) fn new(
        encoders: EncoderPool,
        store: Arc<dyn VectorStore>,
        limits: RequestLimits,
        config: IndexingConfig,
    ) -> Self {
        Self { encoders, store, limits, config }
    }

    /// Checks that an encoder runs the model of the gallery or generation.
    pub(crate) async fn require_encoder(&self, address: &str) -> Result<(), SearchError> {
        let generation = self.store.identity(address).await?;
        self.encoders.of(&generation.name, &generation.fingerprint).await.map(drop)
    }

    /// Indexes images as they come. Bounded: at most a few chunks are between the two streams at any time.
    pub(crate) fn index(
        self,
        address: String,
        images: impl Stream<Item = NewImage> + Send + 'static,
    ) -> impl Stream<Item = Vec<Acknowledgement>> + Send + 'static {
        let in_flight = Arc::new(InFlight::default());
        let indexer = Arc::new(self);
        let address: Arc<str> = address.into();
        let IndexingConfig { chunk_images, chunks_in_flight, .. } = indexer.config;
        let encoding = {
            let (indexer, in_flight, address) = (Arc::clone(&indexer), Arc::clone(&in_flight), Arc::clone(&address));
            images.ready_chunks(chunk_images).map(move |chunk| {
                let ids = chunk.iter().map(|image| image.image_id.clone()).collect::<Vec<_>>();
                let repeated = in_flight.enter(&ids);
                let (indexer, address) = (Arc::clone(&indexer), Arc::clone(&address));
                // A task of its own, so that it goes on while an earlier chunk is written; it ends with the stream.
                let preparing = within_request(async move { indexer.prepare(&address, chunk, repeated).await });
                let preparing = AbortOnDropHandle::new(tokio::spawn(preparing));
                async move { (ids, preparing.await) }
            })
        };
        encoding.buffered(chunks_in_flight).then(move |(ids, prepared)| {
            let (indexer, in_flight, address) = (Arc::clone(&indexer), Arc::clone(&in_flight), Arc::clone(&address));
            async move {
                let acknowledgements = match prepared {
                    Ok((refused, prepared)) => {
                        let mut acknowledgements = indexer.write(&address, prepared).await;
                        acknowledgements.extend(refused);
                        acknowledgements
                    }
                    Err(error) => {
                        let error = SearchError::Encoder { reason: format!("preparing a chunk: {error}") };
                        ids.iter().map(|image_id| failure(image_id.clone(), &error)).collect()
                    }
                };
                in_flight.leave(&ids);
                metrics::count_images(&acknowledgements);
                acknowledgements
            }
        })
    }

    /// Checks a chunk and encodes what is new in each generation that it goes to.
    async fn prepare(
        &self,
        address: &str,
        chunk: Vec<NewImage>,
        repeated: Vec<bool>,
    ) -> (Vec<Acknowledgement>, PreparedChunk) {
        let mut refused = Vec::new();
        let mut checked = Vec::with_capacity(chunk.len());
        for (image, repeated) in chunk.into_iter().zip(repeated) {
            let image_id = image.image_id.clone();
            match self.check(image) {
                Ok(image) => checked.push((image, repeated)),
                Err(error) => refused.push(Acknowledgement { image_id, outcome: Err(error) }),
            }
        }
        let ids: Vec<String> = checked.iter().map(|(image, _)| image.image_id.clone()).collect();
        let fail = |mut refused: Vec<Acknowledgement>, error: &SearchError| {
            refused.extend(ids.iter().map(|image_id| failure(image_id.clone(), error)));
            (refused, Vec::new())
        };
        let hashing = tokio::task::spawn_blocking(move || {
            for (image, _) in &mut checked {
                image.metadata.content_sha256 = sha256_hex(&image.content);
            }
            checked
        });
        let checked = match hashing.await {
            Ok(checked) => checked,
            Err(error) => return fail(refused, &SearchError::Encoder { reason: format!("hashing: {error}") }),
        };
        // Asked for each chunk: a model change may begin or end while a stream of hours runs.
        let targets = match targets_of(&*self.store, address).await {
            Ok(targets) => targets,
            Err(error) => return fail(refused, &error),
        };
        let mut prepared = Vec::with_capacity(targets.len());
        for target in targets {
            let preparing = prepare(&self.encoders, &*self.store, &target, &checked);
            let of_target = if prepared.is_empty() {
                preparing.await
            } else {
                // The encoder of a model that does not serve yet must not hold up the gallery.
                let late =
                    |_| SearchError::DeadlineExceeded { activity: "encoding for a generation that is being filled" };
                let waited = tokio::time::timeout(PATIENCE_WITH_LATER_GENERATIONS, preparing).await.map_err(late);
                waited.unwrap_or_else(|error| fail_all(ids.clone(), &error))
            };
            prepared.push((target, of_target));
        }
        (refused, prepared)
    }

    /// Writes a chunk to each of its generations. What the one that serves says is what the caller is told; what a later
    /// one lacks is found before it ever serves.
    async fn write(&self, address: &str, prepared: PreparedChunk) -> Vec<Acknowledgement> {
        let mut written = Vec::with_capacity(prepared.len());
        for (target, prepared) in prepared {
            let acknowledgements = write(&*self.store, &target, prepared).await;
            let failed: Vec<&SearchError> =
                acknowledgements.iter().filter_map(|written| written.outcome.as_ref().err()).collect();
            if !written.is_empty()
                && let Some(error) = failed.first()
            {
                let (generation, count) = (&target.address, failed.len());
                tracing::warn!(generation, count, %error, "images are not in the generation that is being filled");
            }
            written.push((target.address, acknowledgements));
        }
        if written.is_empty() {
            return Vec::new();
        }
        require_current(&*self.store, address, written).await
    }

    fn check(&self, image: NewImage) -> Result<CheckedImage, SearchError> {
        check_id("image_id", &image.image_id, &self.limits)?;
        let metadata = image.metadata?;
        check_metadata(&metadata, &self.limits)?;
        if image.content.is_empty() {
            return Err(invalid("content", "is empty"));
        }
        Ok(CheckedImage { image_id: image.image_id, content: image.content, metadata, _memory: image.memory })
    }
}
