//! All encoders of one model, as one.

use super::EncoderPool;
use super::asking::Unanswered;
use crate::SearchError;
use crate::encoder_client::{EncodedQuery, Uncounted, Work, again, from_status};
use descry_model::{Embedding, Fingerprint};
use descry_retry::{Again, RetryPolicy};
use descry_serving::deadline;
use std::time::Duration;
use tonic::{Code, Status};

/// What encodes for one model, whichever member does it.
pub(crate) struct EncoderGroup {
    pub(super) pool: EncoderPool,
    /// For errors.
    pub(super) gallery: String,
    pub(super) fingerprint: Fingerprint,
}

impl EncoderGroup {
    /// Encodes a description. Not repeated with pauses: a person waits.
    /// `field` is what the caller knows the text by.
    pub(crate) async fn encode_text(&self, text: String, field: &str) -> Result<EncodedQuery, SearchError> {
        self.encode_query(&Work::Text(text), field).await
    }

    /// Encodes one image as a query. `field` is what the caller knows it by.
    pub(crate) async fn encode_query_image(
        &self,
        image: bytes::Bytes,
        apply_exif_orientation: bool,
        field: &str,
    ) -> Result<EncodedQuery, SearchError> {
        self.encode_query(&Work::QueryImage { image, apply_exif_orientation }, field).await
    }

    async fn encode_query(&self, work: &Work, field: &str) -> Result<EncodedQuery, SearchError> {
        let mut items = self.give(work, field).await?;
        let (embedding, uncounted) =
            items.pop().unwrap_or_else(missing).map_err(|status| from_status(status, field))?;
        Ok(EncodedQuery { embedding, fingerprint: self.fingerprint.clone(), uncounted })
    }

    /// Encodes images for a gallery, each for itself, patiently: while the encoders are unavailable or full a call is
    /// repeated. Large images go in several calls.
    pub(crate) async fn encode_images(
        &self,
        images: Vec<bytes::Bytes>,
        apply_exif_orientation: bool,
    ) -> Result<Vec<Result<Embedding, SearchError>>, SearchError> {
        let mut embeddings = Vec::with_capacity(images.len());
        for images in groups_by_size(images) {
            embeddings.extend(self.encode_together(images, apply_exif_orientation).await?);
        }
        Ok(embeddings)
    }

    async fn encode_together(
        &self,
        images: Vec<bytes::Bytes>,
        apply_exif_orientation: bool,
    ) -> Result<Vec<Result<Embedding, SearchError>>, SearchError> {
        let work = Work::Images { images, apply_exif_orientation };
        let given = self.policy().repeat("encoding images", || self.pool.give(&self.fingerprint, &work), is_passing);
        let items = match given.await {
            Ok(encoded) => encoded.items,
            Err(Unanswered::Failed(status)) if status.code() == Code::InvalidArgument => {
                let Work::Images { images, .. } = work else { return Err(from_status(status, CONTENT)) };
                return self.encode_refused(status, images, apply_exif_orientation).await;
            }
            Err(unanswered) => return Err(self.error(unanswered, CONTENT)),
        };
        let embedding = |item: Result<(Embedding, Uncounted), Status>| {
            item.map(|(embedding, _)| embedding).map_err(|status| from_status(status, CONTENT))
        };
        Ok(items.into_iter().map(embedding).collect())
    }

    /// The encoder refuses so when each and every image is bad. Tells each of several what is wrong with it.
    async fn encode_refused(
        &self,
        status: Status,
        images: Vec<bytes::Bytes>,
        apply_exif_orientation: bool,
    ) -> Result<Vec<Result<Embedding, SearchError>>, SearchError> {
        if images.len() == 1 {
            return Ok(vec![Err(from_status(status, CONTENT))]);
        }
        let mut embeddings = Vec::with_capacity(images.len());
        for image in images {
            embeddings.extend(Box::pin(self.encode_together(vec![image], apply_exif_orientation)).await?);
        }
        Ok(embeddings)
    }

    async fn give(&self, work: &Work, field: &str) -> Result<Vec<Result<(Embedding, Uncounted), Status>>, SearchError> {
        match self.pool.give(&self.fingerprint, work).await {
            Ok(encoded) => Ok(encoded.items),
            Err(unanswered) => Err(self.error(unanswered, field)),
        }
    }

    fn error(&self, unanswered: Unanswered, field: &str) -> SearchError {
        match unanswered {
            Unanswered::Failed(status) => from_status(status, field),
            Unanswered::OtherModel => self.pool.no_encoder(&self.gallery, &self.fingerprint),
        }
    }

    fn policy(&self) -> RetryPolicy {
        let config = self.pool.config();
        RetryPolicy {
            retry_for: Duration::from_millis(config.retry_for_ms),
            first_pause: Duration::from_millis(config.min_retry_pause_ms),
            longest_pause: Duration::from_millis(config.max_retry_pause_ms),
            remaining_time: deadline::remaining,
        }
    }
}

fn missing<Item>() -> Result<Item, Status> {
    Err(Status::data_loss("malformed reply: it is empty"))
}

/// What may be over soon is worth another try for work that nobody waits for.
fn is_passing(unanswered: &Unanswered) -> Again {
    match unanswered {
        Unanswered::Failed(status) => again(status),
        Unanswered::OtherModel => Again::Never,
    }
}

/// An indexed image's bytes, as the stream's messages call them.
const CONTENT: &str = "content";

/// Image bytes of one call, well under the encoder's limit of a message.
const MAX_CALL_BYTES: usize = 24 << 20;

fn groups_by_size(images: Vec<bytes::Bytes>) -> Vec<Vec<bytes::Bytes>> {
    let mut groups: Vec<Vec<bytes::Bytes>> = Vec::new();
    let mut room = 0;
    for image in images {
        match groups.last_mut() {
            Some(group) if image.len() <= room => {
                room -= image.len();
                group.push(image);
            }
            _ => {
                room = MAX_CALL_BYTES.saturating_sub(image.len());
                groups.push(vec![image]);
            }
        }
    }
    groups
}
