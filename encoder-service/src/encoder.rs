//! From texts and image files to embeddings: admit, prepare, run, normalise.

mod items;
mod sizes;

use crate::EncodeError;
use crate::config::{EncoderConfig, InputLimits};
use crate::device::DeviceReport;
use crate::metrics;
use crate::opening::open_towers;
use crate::preparation::{ImagePreparation, ItemName, RawImage, RawText, TextPreparation};
use crate::scheduler::{Scheduler, Timings, Urgency};
use crate::tower::{OnnxTextTower, OnnxVisionTower, OpenedTowers};
use descry_model::{Bundle, Embedding, Fingerprint, Manifest};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A text's embedding, and whether all of the text is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedText {
    /// Of unit length.
    pub embedding: Embedding,
    /// The text was longer than the model reads.
    pub truncated: bool,
    /// Where the time went.
    pub timings: Timings,
}

/// An image's embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedImage {
    /// Of unit length.
    pub embedding: Embedding,
    /// Where the time went.
    pub timings: Timings,
}

/// One model, ready to encode. Clones share it.
#[derive(Clone)]
pub struct Encoder {
    shared: Arc<Shared>,
    vision: Scheduler<OnnxVisionTower, ImagePreparation>,
    text: Scheduler<OnnxTextTower, TextPreparation>,
}

struct Shared {
    manifest: Manifest,
    device: DeviceReport,
    fingerprint: Fingerprint,
    limits: InputLimits,
    /// One permit for each stream.
    streams: Arc<Semaphore>,
    intake: Intake,
}

/// Whether streams take further items. Clones share the switch; none of them keeps the model in memory.
#[derive(Clone, Default)]
pub struct Intake {
    stopped: CancellationToken,
}

impl Intake {
    /// Takes no further item from running streams; what was taken in is still answered.
    pub fn stop(&self) {
        self.stopped.cancel();
    }

    /// Resolves when no further item is to be taken.
    pub(crate) async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

/// The threads that prepare items and own the towers; join them to know that no work is left.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Waits until every [`Encoder`] of these workers is dropped and the last batch has run.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

/// After this many short texts, which are tokenized at once, the task lets others go on.
const INLINE_TEXTS: usize = 16;

impl Encoder {
    /// Opens a bundle, loads its towers and checks them against the bundle's stored outputs. A metrics recorder is to be
    /// installed before.
    ///
    /// # Errors
    /// [`EncodeError`] for a damaged bundle, a missing ONNX Runtime, a graph that does not load, or towers that do not
    /// repeat the stored outputs.
    pub fn open(config: &EncoderConfig) -> Result<(Self, Workers), EncodeError> {
        let bundle = Bundle::open(&config.model)?;
        let manifest = bundle.manifest().clone();
        let OpenedTowers { vision, text, device } = open_towers(&bundle, config)?;
        metrics::report_device(&device);
        let tokenizer = match bundle.tokenizer() {
            Ok(tokenizer) => Some(tokenizer),
            Err(error) => {
                tracing::warn!(%error, "texts cannot be encoded");
                None
            }
        };
        let limits = &config.limits;
        let image_preparation = ImagePreparation {
            input: manifest.image.clone(),
            max_image_bytes: limits.max_image_bytes,
            max_image_pixels: limits.max_image_pixels,
        };
        let text_preparation = TextPreparation {
            tokenizer,
            max_text_bytes: limits.max_text_bytes,
            allow_blank_texts: limits.allow_blank_texts,
        };
        let vision_limits = sizes::vision_limits(config, vision.len());
        let (vision, mut threads) = Scheduler::start(vision, image_preparation, vision_limits)?;
        let (text, text_threads) = Scheduler::start(text, text_preparation, sizes::text_limits(config))?;
        threads.extend(text_threads);
        let shared = Arc::new(Shared {
            fingerprint: device.fingerprint(&bundle),
            device,
            manifest,
            streams: Arc::new(Semaphore::new(limits.max_streams)),
            limits: limits.clone(),
            intake: Intake::default(),
        });
        Ok((Self { shared, vision, text }, Workers { threads }))
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
        self.text.preparation().tokenizer.is_some()
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

    /// Resolves when both towers work, or when one of them no longer does, whichever `works` is not: a tower that fails
    /// several runs in a row does not work until a run succeeds.
    pub async fn condition_changed(&self, works: bool) {
        let (mut vision, mut text) = (self.vision.condition(), self.text.condition());
        loop {
            if (*vision.borrow_and_update() && *text.borrow_and_update()) != works {
                return;
            }
            let changed = tokio::select! {
                changed = vision.changed() => changed,
                changed = text.changed() => changed,
            };
            if changed.is_err() {
                // The schedulers are gone; nothing will change any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The switch that ends streams at shutdown.
    pub fn intake(&self) -> Intake {
        self.shared.intake.clone()
    }

    /// Encodes texts; each succeeds or fails by itself.
    ///
    /// # Errors
    /// For the request as a whole: [`EncodeError::InvalidRequest`], [`EncodeError::Overloaded`].
    pub async fn encode_texts(
        &self,
        texts: Vec<String>,
        urgency: Urgency,
    ) -> Result<Vec<Result<EncodedText, EncodeError>>, EncodeError> {
        self.check_count("texts", texts.len())?;
        let mut admission = self.text.admit(texts.len(), urgency.priority)?;
        let mut tickets = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            if index > 0 && index % INLINE_TEXTS == 0 {
                tokio::task::yield_now().await;
            }
            let raw = RawText { name: ItemName { list: "texts", index: Some(index) }, text };
            tickets.push(self.enqueue_text(admission.split_one(), urgency, raw));
        }
        let mut encoded = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            encoded.push(Self::encoded_text(ticket).await);
        }
        Ok(encoded)
    }

    /// Encodes image files; each succeeds or fails by itself.
    ///
    /// # Errors
    /// As [`Encoder::encode_texts`].
    pub async fn encode_images<Bytes>(
        &self,
        images: Vec<Bytes>,
        urgency: Urgency,
    ) -> Result<Vec<Result<EncodedImage, EncodeError>>, EncodeError>
    where
        Bytes: AsRef<[u8]> + Send + 'static,
    {
        self.check_count("images", images.len())?;
        let mut admission = self.vision.admit(images.len(), urgency.priority)?;
        let enqueue = |(index, image)| {
            let raw = RawImage { name: ItemName { list: "images", index: Some(index) }, bytes: Box::new(image) };
            self.enqueue_image(admission.split_one(), urgency, raw)
        };
        let tickets: Vec<_> = images.into_iter().enumerate().map(enqueue).collect();
        let mut encoded = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            encoded.push(Self::encoded_image(ticket).await);
        }
        Ok(encoded)
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
