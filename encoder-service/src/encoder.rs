//! From texts and image files to embeddings: admit, prepare, run, normalise.

use crate::EncodeError;
use crate::batcher::{Admission, Batcher, BatcherConfig};
use crate::config::{BatchingConfig, EncoderConfig, InputLimits};
use crate::device::DeviceReport;
use crate::opening::open_towers;
use crate::tower::{OnnxTextTower, OnnxVisionTower, OpenedTowers, Tower};
use descry_model::{Bundle, Embedding, Fingerprint, ImageInput, Manifest, ModelError, TextTokenizer, preprocess_image};
use futures::future::join_all;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::Semaphore;

/// A text's embedding, and whether all of the text is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedText {
    /// Of unit length.
    pub embedding: Embedding,
    /// The text was longer than the model reads.
    pub truncated: bool,
}

/// One model, ready to encode. Clones share it.
#[derive(Clone)]
pub struct Encoder {
    shared: Arc<Shared>,
    vision: Batcher<OnnxVisionTower>,
    text: Batcher<OnnxTextTower>,
}

struct Shared {
    manifest: Manifest,
    device: DeviceReport,
    fingerprint: Fingerprint,
    tokenizer: Option<TextTokenizer>,
    limits: InputLimits,
    // Decoding and tokenizing is bounded to the CPU quota, or a burst of large images would take every thread and
    // gigabytes of memory.
    preparation: Arc<Semaphore>,
}

/// The threads that own the towers; join them to know that no work is left.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Waits until every [`Encoder`] of these workers is dropped and the last batch has run.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a tower's thread had panicked");
            }
        }
    }
}

impl Encoder {
    /// Opens a bundle, loads its towers and checks them against the bundle's stored outputs.
    ///
    /// # Errors
    /// [`EncodeError`] for a damaged bundle, a missing ONNX Runtime, a graph that does not load, or towers that do not
    /// repeat the stored outputs.
    pub fn open(config: &EncoderConfig) -> Result<(Self, Workers), EncodeError> {
        let bundle = Bundle::open(&config.model)?;
        let manifest = bundle.manifest().clone();
        let OpenedTowers { vision, text, device } = open_towers(&bundle, config)?;
        let (Some(vision_tower), Some(text_tower)) = (vision.into_iter().next(), text.into_iter().next()) else {
            unreachable!("the settings are checked for at least one worker")
        };
        let tokenizer = match bundle.tokenizer() {
            Ok(tokenizer) => Some(tokenizer),
            Err(error) => {
                tracing::warn!(%error, "texts cannot be encoded");
                None
            }
        };
        let BatchingConfig { max_queued_images, max_queued_texts, max_batch_images, max_batch_texts } = config.batching;
        let (vision, vision_thread) =
            Batcher::start(vision_tower, BatcherConfig { max_queued: max_queued_images, max_batch: max_batch_images })?;
        let (text, text_thread) =
            Batcher::start(text_tower, BatcherConfig { max_queued: max_queued_texts, max_batch: max_batch_texts })?;
        let shared = Arc::new(Shared {
            fingerprint: device.fingerprint(&bundle),
            device,
            manifest,
            tokenizer,
            limits: config.limits.clone(),
            preparation: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, NonZero::get))),
        });
        Ok((Self { shared, vision, text }, Workers { threads: vec![vision_thread, text_thread] }))
    }

    /// Everything about the model that is not a weight.
    pub fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// Name of everything that can change an embedding.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.shared.fingerprint
    }

    /// Whether texts can be encoded: some bundles have no tokenizer.
    pub fn has_tokenizer(&self) -> bool {
        self.shared.tokenizer.is_some()
    }

    /// The limits in force.
    pub fn limits(&self) -> &InputLimits {
        &self.shared.limits
    }

    /// What runs the towers.
    pub fn device(&self) -> &DeviceReport {
        &self.shared.device
    }

    /// The execution provider that runs the towers.
    pub fn execution_provider(&self) -> &'static str {
        self.shared.device.execution_provider
    }

    /// Encodes texts; each succeeds or fails by itself.
    ///
    /// # Errors
    /// For the request as a whole: [`EncodeError::InvalidRequest`], [`EncodeError::Overloaded`].
    pub async fn encode_texts(&self, texts: Vec<String>) -> Result<Vec<Result<EncodedText, EncodeError>>, EncodeError> {
        self.check_count("texts", texts.len())?;
        let admission = self.text.admit(texts.len())?;
        let items = split(admission, texts);
        Ok(join_all(items.enumerate().map(|(index, (admission, text))| self.encode_text(index, admission, text))).await)
    }

    /// Encodes image files; each succeeds or fails by itself.
    ///
    /// # Errors
    /// As [`Encoder::encode_texts`].
    pub async fn encode_images<Bytes>(
        &self,
        images: Vec<Bytes>,
    ) -> Result<Vec<Result<Embedding, EncodeError>>, EncodeError>
    where
        Bytes: AsRef<[u8]> + Send + 'static,
    {
        self.check_count("images", images.len())?;
        let admission = self.vision.admit(images.len())?;
        let items = split(admission, images);
        Ok(join_all(items.enumerate().map(|(index, (admission, image))| self.encode_image(index, admission, image)))
            .await)
    }

    async fn encode_text(&self, index: usize, admission: Admission, text: String) -> Result<EncodedText, EncodeError> {
        let invalid = |source| EncodeError::InvalidItem { item: format!("texts[{index}]"), source };
        let max_bytes = self.shared.limits.max_text_bytes;
        if text.len() > max_bytes {
            return Err(invalid(ModelError::TextTooLong { bytes: text.len(), max_bytes }));
        }
        let (tokenized, mut admission) = self
            .prepare(OnnxTextTower::NAME, admission, move |shared| match &shared.tokenizer {
                Some(tokenizer) => tokenizer.tokenize(&text),
                None => Err(ModelError::Tokenizer { reason: "the bundle was exported without one".to_owned() }),
            })
            .await?;
        let tokenized = tokenized.map_err(invalid)?;
        if tokenized.is_blank() && !self.shared.limits.allow_blank_texts {
            return Err(invalid(ModelError::EmptyText));
        }
        let features = self.text.submit(&mut admission, tokenized.token_ids).await?;
        Ok(EncodedText { embedding: unit_length::<OnnxTextTower>(features)?, truncated: tokenized.truncated })
    }

    async fn encode_image<Bytes>(
        &self,
        index: usize,
        admission: Admission,
        image: Bytes,
    ) -> Result<Embedding, EncodeError>
    where
        Bytes: AsRef<[u8]> + Send + 'static,
    {
        let invalid = |source| EncodeError::InvalidItem { item: format!("images[{index}]"), source };
        let bytes = image.as_ref().len();
        let max_bytes = self.shared.limits.max_image_bytes;
        if bytes > max_bytes {
            let reason = format!("file of {bytes} bytes is over the limit of {max_bytes} bytes");
            return Err(invalid(ModelError::Image { reason }));
        }
        let (pixels, mut admission) = self
            .prepare(OnnxVisionTower::NAME, admission, move |shared| {
                let input: &ImageInput = &shared.manifest.image;
                preprocess_image(image.as_ref(), input, shared.limits.max_image_pixels)
            })
            .await?;
        let pixels = pixels.map_err(invalid)?;
        let features = self.vision.submit(&mut admission, pixels).await?;
        unit_length::<OnnxVisionTower>(features)
    }

    /// Runs CPU work off the asynchronous runtime, as much at once as there are CPUs. The permit and the item's
    /// admission go along with the work: when the caller leaves, work that has begun still counts until it ends.
    async fn prepare<Prepared: Send + 'static>(
        &self,
        tower: &'static str,
        admission: Admission,
        work: impl FnOnce(&Shared) -> Prepared + Send + 'static,
    ) -> Result<(Prepared, Admission), EncodeError> {
        let waiting = Arc::clone(&self.shared.preparation).acquire_owned();
        let permit = waiting.await.map_err(|_| EncodeError::Stopped { tower })?;
        let shared = Arc::clone(&self.shared);
        let working = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (work(&shared), admission)
        });
        working.await.map_err(|error| EncodeError::Tower { tower, reason: format!("preparation: {error}") })
    }

    fn check_count(&self, items: &str, count: usize) -> Result<(), EncodeError> {
        let max_items = self.shared.limits.max_items;
        if count == 0 || count > max_items {
            let reason = format!("{items}: 1 to {max_items} items allowed in a request, got {count}");
            return Err(EncodeError::InvalidRequest { reason });
        }
        Ok(())
    }
}

/// Gives each item its own share of the admission, so that an item that fails early frees its place early.
fn split<Item>(mut admission: Admission, items: Vec<Item>) -> impl Iterator<Item = (Admission, Item)> {
    items.into_iter().map(move |item| (admission.split_one(), item))
}

fn unit_length<T: Tower>(features: Vec<f32>) -> Result<Embedding, EncodeError> {
    Embedding::normalized(features).map_err(|error| EncodeError::Tower { tower: T::NAME, reason: error.to_string() })
}
