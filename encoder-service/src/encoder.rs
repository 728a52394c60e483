//! From texts and image files to embeddings: admit, decode and resize or tokenize, run, bring to unit length.

mod lifecycle;

pub use lifecycle::{Intake, Workers};

use crate::EncodeError;
use crate::config::InputLimits;
use crate::device::DeviceReport;
use crate::scheduler::{Admission, Flow, Lost, Prepare, Prepared, Scheduler, Ticket, Timings, Urgency};
use crate::tower::{OnnxTextTower, OnnxVisionTower, Pixels, TokenIds, Tower};
use descry_model::{
    Embedding, Fingerprint, ImageInput, Manifest, ModelError, Patience, TextTokenizer, image_cost, preprocess_patiently,
};
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A text's embedding, and whether all of the text is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedText {
    /// Of unit length.
    pub embedding: Embedding,
    /// The text was longer than the model reads.
    pub truncated: bool,
    /// Letters that the model's vocabulary has no token for, in words; they are not in the embedding.
    pub unknown_letters: Option<String>,
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

/// Texts below this size are tokenized by the calling task: some ten microseconds, less than handing them over costs.
const INLINE_TEXT_BYTES: usize = 1024;
/// After this many of them the task lets others go on.
const INLINE_TEXTS: usize = 16;
/// What any image costs beside its pixels, in pixels: it is handed over, resized to the model's size, and normalised.
const IMAGE_COST: u64 = 1 << 16;
/// How long a caller waits at least before it tries to open a stream again.
const RETRY_STREAM_AFTER_MS: u64 = 1_000;

impl Encoder {
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
        let costs: Vec<u64> = texts.iter().map(|text| text_cost(text)).collect();
        let mut admission = self.text.admit(&costs, urgency)?;
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

    /// Encodes image files as they are stored; each succeeds or fails by itself.
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
        self.encode_turned_images(images, false, urgency).await
    }

    /// As [`Encoder::encode_images`], the images turned upright first as their EXIF data says, where that is asked for.
    ///
    /// # Errors
    /// As [`Encoder::encode_texts`].
    pub async fn encode_turned_images<Bytes>(
        &self,
        images: Vec<Bytes>,
        apply_exif_orientation: bool,
        urgency: Urgency,
    ) -> Result<Vec<Result<EncodedImage, EncodeError>>, EncodeError>
    where
        Bytes: AsRef<[u8]> + Send + 'static,
    {
        self.check_count("images", images.len())?;
        let costs: Vec<u64> = images.iter().map(|image| self.vision.preparation().cost(image.as_ref())).collect();
        let mut admission = self.vision.admit(&costs, urgency)?;
        let enqueue = |(index, image)| {
            let name = ItemName { list: "images", index: Some(index) };
            let raw = RawImage { name, bytes: Box::new(image), apply_exif_orientation };
            self.enqueue_image(admission.split_one(), urgency, raw)
        };
        let tickets: Vec<_> = images.into_iter().enumerate().map(enqueue).collect();
        let mut encoded = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            encoded.push(Self::encoded_image(ticket).await);
        }
        Ok(encoded)
    }

    /// Waits until there is room for a stream's next text, and queues it.
    ///
    /// - `flow`: the stream's
    pub(crate) async fn take_text(&self, text: String, flow: Flow, urgency: Urgency) -> Result<Ticket, EncodeError> {
        let admission = self.text.admit_waiting(text_cost(&text), flow, urgency.deadline).await?;
        let raw = RawText { name: ItemName { list: "text", index: None }, text };
        self.enqueue_text(Some(admission), urgency, raw)
    }

    /// Waits until there is room for a stream's next image file, and queues it.
    ///
    /// - `flow`: the stream's
    pub(crate) async fn take_image<Bytes>(
        &self,
        image: Bytes,
        apply_exif_orientation: bool,
        flow: Flow,
        urgency: Urgency,
    ) -> Result<Ticket, EncodeError>
    where
        Bytes: AsRef<[u8]> + Send + 'static,
    {
        let name = ItemName { list: "image", index: None };
        let cost = self.vision.preparation().cost(image.as_ref());
        let raw = RawImage { name, bytes: Box::new(image), apply_exif_orientation };
        let admission = self.vision.admit_waiting(cost, flow, urgency.deadline).await?;
        self.enqueue_image(Some(admission), urgency, raw)
    }

    /// The embedding of a text that was queued.
    pub(crate) async fn encoded_text(ticket: Result<Ticket, EncodeError>) -> Result<EncodedText, EncodeError> {
        let answer = ticket?.await?;
        let embedding = unit_length::<OnnxTextTower>(answer.features)?;
        let Lost { truncated, unknown_letters } = answer.lost;
        Ok(EncodedText { embedding, truncated, unknown_letters, timings: answer.timings })
    }

    /// The embedding of an image that was queued.
    pub(crate) async fn encoded_image(ticket: Result<Ticket, EncodeError>) -> Result<EncodedImage, EncodeError> {
        let answer = ticket?.await?;
        Ok(EncodedImage { embedding: unit_length::<OnnxVisionTower>(answer.features)?, timings: answer.timings })
    }

    /// Lets one more stream in, until the permit is dropped.
    ///
    /// # Errors
    /// [`EncodeError::TooManyStreams`].
    pub(crate) fn admit_stream(&self) -> Result<OwnedSemaphorePermit, EncodeError> {
        Arc::clone(&self.shared.streams).try_acquire_owned().map_err(|_| EncodeError::TooManyStreams {
            max_streams: self.shared.limits.max_streams,
            // A stream lasts at least as long as what is queued.
            retry_after_ms: self.vision.retry_after_ms().max(self.text.retry_after_ms()).max(RETRY_STREAM_AFTER_MS),
        })
    }

    fn enqueue_text(
        &self,
        admission: Option<Admission>,
        urgency: Urgency,
        raw: RawText,
    ) -> Result<Ticket, EncodeError> {
        self.text.preparation().check(&raw).inspect_err(|error| self.text.count_refused(error))?;
        let admission = admission.ok_or(EncodeError::Stopped { tower: OnnxTextTower::NAME })?;
        if raw.text.len() < INLINE_TEXT_BYTES {
            self.text.prepare_and_enqueue(admission, urgency, raw)
        } else {
            Ok(self.text.enqueue(admission, urgency, raw))
        }
    }

    fn enqueue_image(
        &self,
        admission: Option<Admission>,
        urgency: Urgency,
        raw: RawImage,
    ) -> Result<Ticket, EncodeError> {
        self.vision.preparation().check(&raw).inspect_err(|error| self.vision.count_refused(error))?;
        let admission = admission.ok_or(EncodeError::Stopped { tower: OnnxVisionTower::NAME })?;
        Ok(self.vision.enqueue(admission, urgency, raw))
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

/// What it costs to prepare a text.
fn text_cost(text: &str) -> u64 {
    text.len() as u64
}

fn unit_length<T: Tower>(features: Vec<f32>) -> Result<Embedding, EncodeError> {
    Embedding::normalized(features).map_err(|error| EncodeError::Tower { tower: T::NAME, reason: error.to_string() })
}

/// What messages call an item: its index in a list, or its kind where it is one of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemName {
    /// `texts` or `images` for a list; `text` or `image` for a single item.
    pub(crate) list: &'static str,
    pub(crate) index: Option<usize>,
}

impl fmt::Display for ItemName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(formatter, "{}[{index}]", self.list),
            None => formatter.write_str(self.list),
        }
    }
}

impl ItemName {
    fn invalid(self, source: ModelError) -> EncodeError {
        EncodeError::InvalidItem { item: self.to_string(), source }
    }
}

/// A text as a caller sent it.
pub(crate) struct RawText {
    pub(crate) name: ItemName,
    pub(crate) text: String,
}

/// How texts become token ids.
pub(crate) struct TextPreparation {
    /// Some bundles have none.
    pub(crate) tokenizer: Option<TextTokenizer>,
    pub(crate) max_text_bytes: usize,
    pub(crate) allow_blank_texts: bool,
}

impl TextPreparation {
    /// Refuses what needs no preparation to be refused.
    pub(crate) fn check(&self, raw: &RawText) -> Result<(), EncodeError> {
        let (bytes, max_bytes) = (raw.text.len(), self.max_text_bytes);
        if bytes > max_bytes {
            return Err(raw.name.invalid(ModelError::TextTooLong { bytes, max_bytes }));
        }
        Ok(())
    }
}

impl Prepare<OnnxTextTower> for TextPreparation {
    type Raw = RawText;

    fn prepare(&self, raw: RawText, _patience: Patience<'_>) -> Result<Prepared<TokenIds>, EncodeError> {
        let RawText { name, text } = raw;
        let Some(tokenizer) = &self.tokenizer else {
            let reason = "the bundle was exported without one".to_owned();
            return Err(name.invalid(ModelError::Tokenizer { reason }));
        };
        let tokenized = tokenizer.tokenize(&text).map_err(|source| name.invalid(source))?;
        if tokenized.is_blank() && !self.allow_blank_texts {
            let reason = match tokenized.unknown_letters {
                Some(letters) => ModelError::UnknownLetters { letters },
                None => ModelError::EmptyText,
            };
            return Err(name.invalid(reason));
        }
        let lost = Lost { truncated: tokenized.truncated, unknown_letters: tokenized.unknown_letters };
        Ok(Prepared { item: tokenized.token_ids, lost })
    }
}

/// An image file as a caller sent it.
pub(crate) struct RawImage {
    pub(crate) name: ItemName,
    pub(crate) bytes: Box<dyn AsRef<[u8]> + Send>,
    pub(crate) apply_exif_orientation: bool,
}

/// How image files become pixels.
pub(crate) struct ImagePreparation {
    pub(crate) input: ImageInput,
    pub(crate) max_image_bytes: usize,
    pub(crate) max_image_pixels: u64,
}

impl ImagePreparation {
    /// What it costs to prepare an image, in pixels.
    pub(crate) fn cost(&self, bytes: &[u8]) -> u64 {
        // It is refused without a look at what it holds.
        if bytes.len() > self.max_image_bytes {
            return bytes.len() as u64;
        }
        // On the caller's task, where a defect of a header's reader would take the other requests of its connection along.
        let cost = std::panic::catch_unwind(|| image_cost(bytes, self.max_image_pixels));
        cost.unwrap_or(bytes.len() as u64).saturating_add(IMAGE_COST)
    }

    /// Refuses what needs no preparation to be refused.
    pub(crate) fn check(&self, raw: &RawImage) -> Result<(), EncodeError> {
        let (bytes, max_bytes) = ((*raw.bytes).as_ref().len(), self.max_image_bytes);
        if bytes > max_bytes {
            let reason = format!("file of {bytes} bytes is over the limit of {max_bytes} bytes");
            return Err(raw.name.invalid(ModelError::Image { reason }));
        }
        Ok(())
    }
}

impl Prepare<OnnxVisionTower> for ImagePreparation {
    type Raw = RawImage;

    fn prepare(&self, raw: RawImage, patience: Patience<'_>) -> Result<Prepared<Pixels>, EncodeError> {
        // A model that was trained on upright images turns every one, whatever is asked for.
        let exif_rotation = self.input.exif_rotation || raw.apply_exif_orientation;
        let input = ImageInput { exif_rotation, ..self.input.clone() };
        let pixels = preprocess_patiently((*raw.bytes).as_ref(), &input, self.max_image_pixels, patience);
        let item = pixels.map_err(|source| {
            if matches!(source, ModelError::Abandoned) {
                EncodeError::Stopped { tower: OnnxVisionTower::NAME }
            } else {
                raw.name.invalid(source)
            }
        })?;
        Ok(Prepared { item, lost: Lost::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversized_items_are_refused_by_their_names() {
        let preparation = TextPreparation { tokenizer: None, max_text_bytes: 3, allow_blank_texts: false };
        let check = |text: &str, index| {
            let name = ItemName { list: "texts", index };
            preparation.check(&RawText { name, text: text.to_owned() }).map_err(|error| error.to_string())
        };
        assert_eq!(check("abc", Some(7)), Ok(()));
        assert!(check("abcd", Some(7)).unwrap_err().starts_with("texts[7]: "));
        let raw = RawText { name: ItemName { list: "text", index: None }, text: "abc".to_owned() };
        let refused = preparation.prepare(raw, Patience::ENDLESS).err().unwrap();
        assert!(matches!(&refused, EncodeError::InvalidItem { item, .. } if item == "text"), "{refused}");
    }

    #[test]
    fn a_text_of_unknown_letters_is_refused_with_them_where_blank_ones_are() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/tokenizer.json");
        let bytes = std::fs::read(folder).unwrap();
        let vocabulary = descry_model::Vocabulary::of_tokenizer(&bytes).unwrap();
        let input = descry_model::TextInput {
            context_length: 24,
            vocabulary_size: usize::try_from(vocabulary.highest_id + 1).unwrap(),
            start_of_text_id: vocabulary.start_of_text_id,
            end_of_text_id: vocabulary.end_of_text_id,
            mask_id: vocabulary.mask_id,
            padding_id: 0,
            caption_rules: None,
        };
        let prepare = |text: &str, allow_blank_texts| {
            let tokenizer = Some(TextTokenizer::from_bytes(&bytes, input.clone()).unwrap());
            let preparation = TextPreparation { tokenizer, max_text_bytes: 100, allow_blank_texts };
            let name = ItemName { list: "texts", index: Some(0) };
            preparation.prepare(RawText { name, text: text.to_owned() }, Patience::ENDLESS)
        };
        let refused = prepare("x", false).err().unwrap().to_string();
        assert!(refused.contains("no token for 'x'"), "{refused}");
        assert!(prepare(" ", false).err().unwrap().to_string().contains("empty"));
        let taken = prepare("x", true).ok().unwrap();
        assert!(taken.lost.unknown_letters.is_some() && taken.item.len() == 2);
    }
}
