//! Single items: queued, waited for, brought to unit length.

use super::{EncodedImage, EncodedText, Encoder};
use crate::EncodeError;
use crate::preparation::{ItemName, RawImage, RawText};
use crate::scheduler::{Admission, Ticket, Urgency};
use crate::tower::{OnnxTextTower, OnnxVisionTower, Tower};
use descry_model::Embedding;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Texts below this size are tokenized by the calling task: some ten microseconds, less than handing them over costs.
const INLINE_TEXT_BYTES: usize = 1024;
/// How long a caller waits at least before it tries to open a stream again.
const RETRY_STREAM_AFTER_MS: u64 = 1_000;

impl Encoder {
    /// Waits until there is room for a stream's next text, and queues it.
    pub(crate) async fn take_text(&self, text: String, urgency: Urgency) -> Result<Ticket, EncodeError> {
        let raw = RawText { name: ItemName { list: "text", index: None }, text };
        let admission = self.text.admit_waiting(urgency.deadline).await?;
        self.enqueue_text(Some(admission), urgency, raw)
    }

    /// Waits until there is room for a stream's next image file, and queues it.
    pub(crate) async fn take_image<Bytes>(&self, image: Bytes, urgency: Urgency) -> Result<Ticket, EncodeError>
    where
        Bytes: AsRef<[u8]> + Send + 'static,
    {
        let raw = RawImage { name: ItemName { list: "image", index: None }, bytes: Box::new(image) };
        let admission = self.vision.admit_waiting(urgency.deadline).await?;
        self.enqueue_image(Some(admission), urgency, raw)
    }

    /// The embedding of a text that was queued.
    pub(crate) async fn encoded_text(ticket: Result<Ticket, EncodeError>) -> Result<EncodedText, EncodeError> {
        let answer = ticket?.await?;
        let embedding = unit_length::<OnnxTextTower>(answer.features)?;
        Ok(EncodedText { embedding, truncated: answer.truncated, timings: answer.timings })
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

    pub(super) fn enqueue_text(
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

    pub(super) fn enqueue_image(
        &self,
        admission: Option<Admission>,
        urgency: Urgency,
        raw: RawImage,
    ) -> Result<Ticket, EncodeError> {
        self.vision.preparation().check(&raw).inspect_err(|error| self.vision.count_refused(error))?;
        let admission = admission.ok_or(EncodeError::Stopped { tower: OnnxVisionTower::NAME })?;
        Ok(self.vision.enqueue(admission, urgency, raw))
    }
}

fn unit_length<T: Tower>(features: Vec<f32>) -> Result<Embedding, EncodeError> {
    Embedding::normalized(features).map_err(|error| EncodeError::Tower { tower: T::NAME, reason: error.to_string() })
}
