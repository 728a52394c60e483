//! Single items: queued, waited for, brought to unit length.

use super::{EncodedImage, EncodedText, Encoder};
use crate::EncodeError;
use crate::preparation::{RawImage, RawText};
use crate::scheduler::{Admission, Ticket, Urgency};
use crate::tower::{OnnxTextTower, OnnxVisionTower, Tower};
use descry_model::Embedding;

/// Texts below this size are tokenized by the calling task: some ten microseconds, less than handing them over costs.
const INLINE_TEXT_BYTES: usize = 1024;
impl Encoder {
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
