//! What the caller is told of each image that was to be indexed.

use super::messages::{item_error, metadata_message, timestamp};
use crate::galleries::{Acknowledgement, Indexed};
use crate::retention::Retention;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_store::{ImageMetadata, VectorStore, now_ms};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of the year 9999, behind which no client can print a time.
const LAST_TIME_MS: i64 = 253_402_300_799_999;

/// Answers for the images of one request. When it is over, the log says how many of them the gallery does not keep.
pub(super) struct Answering {
    store: Arc<dyn VectorStore>,
    address: String,
    past_retention: AtomicU64,
}

impl Answering {
    pub(super) fn new(store: Arc<dyn VectorStore>, address: String) -> Self {
        Self { store, address, past_retention: AtomicU64::new(0) }
    }

    /// One answer for each image, in order.
    pub(super) async fn answers(&self, acknowledgements: Vec<Acknowledgement>) -> Vec<proto::IndexImagesResponse> {
        // Asked for each chunk: a stream may run for hours, and retention be changed meanwhile.
        let retention = self.retention().await;
        let now_ms = now_ms();
        acknowledgements.into_iter().map(|acknowledgement| self.answer(acknowledgement, &retention, now_ms)).collect()
    }

    /// How many of some images the next sweep removes.
    pub(super) async fn count_past_retention<'a>(&self, known: impl Iterator<Item = &'a ImageMetadata>) -> u64 {
        let (retention, now_ms) = (self.retention().await, now_ms());
        let is_past = |known: &&ImageMetadata| retention.kept_until_ms(known).is_some_and(|until| until <= now_ms);
        let count = known.filter(is_past).count() as u64;
        self.past_retention.store(count, Ordering::Relaxed);
        count
    }

    async fn retention(&self) -> Retention {
        let asked = async { Retention::of(&*self.store, &self.store.resolve(&self.address).await?).await };
        asked.await.unwrap_or_else(|error| {
            // The images are on disk, which is what an answer is for.
            tracing::debug!(%error, "how long images are kept cannot be told");
            Retention::default()
        })
    }

    fn answer(
        &self,
        acknowledgement: Acknowledgement,
        retention: &Retention,
        now_ms: i64,
    ) -> proto::IndexImagesResponse {
        let Acknowledgement { image_id, outcome } = acknowledgement;
        let outcome = match outcome {
            Ok(Indexed { is_unchanged, known, replaced, was_erased }) => {
                let kept_until_ms = retention.kept_until_ms(&known);
                if !is_unchanged && kept_until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
                    self.past_retention.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Indexed(proto::Indexed {
                    unchanged: is_unchanged,
                    replaced: replaced.map(|replaced| metadata_message(*replaced)),
                    was_erased,
                    kept_until: kept_until_ms.filter(|until_ms| *until_ms <= LAST_TIME_MS).map(timestamp),
                })
            }
            Err(error) => Outcome::Error(item_error(error)),
        };
        proto::IndexImagesResponse { image_id, outcome: Some(outcome) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let count = self.past_retention.load(Ordering::Relaxed);
        if count > 0 {
            tracing::warn!(
                gallery = self.address,
                count,
                "images were written that are older than the gallery keeps images; the next sweep removes them"
            );
        }
    }
}
