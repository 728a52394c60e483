//! A stream of images becomes gallery entries, each acknowledged when it is on disk.
//!
//! Chunks are encoded while earlier ones are written; writing keeps the stream's order, so that of two images with one
//! id the later one wins.

use super::preparation::{Held, all_failed, prepare};
use crate::SearchError;
use crate::config::{IndexingConfig, RequestLimits};
use crate::encoder_pool::EncoderPool;
use crate::erasure::Comeback;
use crate::galleries::{Acknowledgement, Galleries, ImageWrite, Target, erased_error};
use crate::metadata_mask::MetadataMask;
use crate::metrics;
use crate::validation::{check_id, check_metadata, invalid};
use descry_model::sha256_hex;
use descry_serving::trace_context::within_request;
use descry_store::ImageMetadata;
use futures::{Stream, StreamExt as _};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
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

/// Encodes images and writes them to the store.
#[derive(Clone)]
pub(crate) struct Indexer {
    encoders: EncoderPool,
    galleries: Galleries,
    limits: RequestLimits,
    config: IndexingConfig,
    /// Generations whose encoders did not answer in time, and until when they are passed over.
    late: Arc<Mutex<HashMap<String, Instant>>>,
}

/// How long a generation that was waited for in vain is passed over: an abandoned model change must not slow down
/// every chunk.
const PASSED_OVER_FOR: Duration = Duration::from_secs(60);

/// What is prepared of a chunk, for each generation that it goes to.
type PreparedChunk = Vec<(Target, Vec<ImageWrite>)>;

impl Indexer {
    pub(crate) fn new(
        encoders: EncoderPool,
        galleries: Galleries,
        limits: RequestLimits,
        config: IndexingConfig,
    ) -> Self {
        Self { encoders, galleries, limits, config, late: Arc::default() }
    }

    /// Checks that an encoder runs the model of the gallery or generation.
    pub(crate) async fn require_encoder(&self, address: &str) -> Result<(), SearchError> {
        let generation = self.galleries.store().resolve(address).await?;
        self.encoders.of(&generation.gallery, &generation.fingerprint).await.map(drop)
    }

    /// Indexes images as they come. Bounded: at most a few chunks are between the two streams at any time.
    pub(crate) fn index(
        self,
        address: String,
        (mask, comeback): (MetadataMask, Comeback),
        images: impl Stream<Item = NewImage> + Send + 'static,
    ) -> impl Stream<Item = Vec<Acknowledgement>> + Send + 'static {
        let in_flight = Arc::new(InFlight::default());
        let indexer = Arc::new(self);
        let address: Arc<str> = address.into();
        let mask = Arc::new(mask);
        let IndexingConfig { chunk_images, chunks_in_flight, .. } = indexer.config;
        let encoding = {
            let (indexer, in_flight, address) = (Arc::clone(&indexer), Arc::clone(&in_flight), Arc::clone(&address));
            let mask = Arc::clone(&mask);
            images.ready_chunks(chunk_images).map(move |chunk| {
                let ids = chunk.iter().map(|image| image.image_id.clone()).collect::<Vec<_>>();
                let repeated = in_flight.enter(&ids);
                let (indexer, address, mask) = (Arc::clone(&indexer), Arc::clone(&address), Arc::clone(&mask));
                // A task of its own, so that it goes on while an earlier chunk is written; it ends with the stream.
                let preparing =
                    within_request(async move { indexer.prepare(&address, (&mask, comeback), chunk, repeated).await });
                let preparing = AbortOnDropHandle::new(tokio::spawn(preparing));
                async move { (ids, preparing.await) }
            })
        };
        encoding.buffered(chunks_in_flight).then(move |(ids, prepared)| {
            let (indexer, in_flight, mask) = (Arc::clone(&indexer), Arc::clone(&in_flight), Arc::clone(&mask));
            async move {
                let acknowledgements = match prepared {
                    Ok((refused, prepared)) => {
                        let mut acknowledgements = indexer.galleries.write(prepared, &mask, comeback).await;
                        acknowledgements.extend(refused);
                        acknowledgements
                    }
                    Err(error) => {
                        let error = SearchError::Encoder { reason: format!("preparing a chunk: {error}") };
                        ids.iter().map(|image_id| failure(image_id.clone(), &error)).collect::<Vec<_>>()
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
        (mask, comeback): (&MetadataMask, Comeback),
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
        let ids_of = |checked: &[(CheckedImage, bool)]| -> Vec<String> {
            checked.iter().map(|(image, _)| image.image_id.clone()).collect()
        };
        let ids = ids_of(&checked);
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
        let mut checked = match hashing.await {
            Ok(checked) => checked,
            Err(error) => return fail(refused, &SearchError::Encoder { reason: format!("hashing: {error}") }),
        };
        // Asked for each chunk: a model change may begin or end while a stream of hours runs.
        let targets = match self.galleries.targets(address).await {
            Ok(targets) => targets,
            Err(error) => return fail(refused, &error),
        };
        // What would be refused needs no encoder. What is known by then decides when it is written.
        if let (Comeback::Refused, Some(first)) = (comeback, targets.first()) {
            let marks = match self.galleries.marks().of(&first.generation).await {
                Ok(marks) => marks,
                Err(error) => return fail(refused, &error),
            };
            let forbidden = checked.extract_if(.., |(image, _)| marks.forbid(&image.image_id, &image.metadata));
            refused.extend(forbidden.map(|(image, _)| failure(image.image_id, &erased_error(&first.generation))));
        }
        let ids = ids_of(&checked);
        let mut prepared = Vec::with_capacity(targets.len());
        let mut held_by_serving: Option<Held> = None;
        for target in targets {
            let of_target = match &held_by_serving {
                None => self.prepare_for(&target, (&checked, mask), None).await,
                Some(held) => self.prepare_beside(&target, (&checked, mask), held).await,
            };
            let writes = match of_target {
                Ok((writes, held)) => {
                    held_by_serving.get_or_insert(held);
                    writes
                }
                // Nothing is known of what the serving one holds, so nothing can be said of the others.
                Err(error) if held_by_serving.is_none() => {
                    prepared.push((target, all_failed(&ids, &error)));
                    break;
                }
                Err(error) => all_failed(&ids, &error),
            };
            prepared.push((target, writes));
        }
        (refused, prepared)
    }

    async fn prepare_for(
        &self,
        target: &Target,
        chunk: (&[(CheckedImage, bool)], &MetadataMask),
        held_by_serving: Option<&Held>,
    ) -> Result<(Vec<ImageWrite>, Held), SearchError> {
        prepare(&self.encoders, self.galleries.store(), target, chunk, held_by_serving).await
    }

    /// For a generation that does not serve yet. Its encoder must not hold up the gallery.
    async fn prepare_beside(
        &self,
        target: &Target,
        chunk: (&[(CheckedImage, bool)], &MetadataMask),
        held_by_serving: &Held,
    ) -> Result<(Vec<ImageWrite>, Held), SearchError> {
        let address = target.generation.address();
        let late = SearchError::DeadlineExceeded { activity: "encoding for a generation that is being filled" };
        if self.late().get(&address).is_some_and(|until| Instant::now() < *until) {
            return Err(late);
        }
        // What the generation lacks then is found before it may serve.
        let patience = Duration::from_millis(self.config.patience_with_later_generations_ms);
        let preparing = self.prepare_for(target, chunk, Some(held_by_serving));
        let prepared = tokio::time::timeout(patience, preparing).await;
        prepared.unwrap_or_else(|_elapsed| {
            let now = Instant::now();
            let mut passed_over = self.late();
            passed_over.retain(|_, until| now < *until);
            passed_over.insert(address, now + PASSED_OVER_FOR);
            Err(late)
        })
    }

    fn late(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
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

/// One failure of the whole chunk, told to one of its images.
fn failure(image_id: String, error: &SearchError) -> Acknowledgement {
    Acknowledgement { image_id, outcome: Err(error.clone()) }
}

/// The ids of one stream between encoding and writing.
///
/// The store does not know of these images yet, so it cannot tell whether another image of the same id is unchanged.
#[derive(Debug, Default)]
struct InFlight {
    /// How often each id is on its way.
    counts: Mutex<HashMap<String, usize>>,
}

impl InFlight {
    /// Notes ids and tells which of them were on their way already.
    fn enter(&self, ids: &[String]) -> Vec<bool> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter()
            .map(|id| {
                let count = counts.entry(id.clone()).or_default();
                *count += 1;
                *count > 1
            })
            .collect()
    }

    fn leave(&self, ids: &[String]) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(count) = counts.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_ids_are_told_until_all_have_left() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let in_flight = InFlight::default();
        assert_eq!(in_flight.enter(&ids(&["a", "b", "a"])), [false, false, true]);
        in_flight.leave(&ids(&["a"]));
        assert_eq!(in_flight.enter(&ids(&["a"])), [true]);
        in_flight.leave(&ids(&["a", "a", "b"]));
        assert_eq!(in_flight.enter(&ids(&["a", "b"])), [false, false]);
    }
}
