//! What the caller is told of each image that was to be indexed.

use super::messages::{item_error, metadata_message, timestamp};
use crate::SearchError;
use crate::galleries::{Acknowledgement, Indexed};
use crate::holds::Holds;
use crate::retention::Retention;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_store::{ImageMetadata, VectorStore, now_ms};
use std::collections::HashMap;
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
        let keeping = self.keeping().await;
        let now_ms = now_ms();
        acknowledgements.into_iter().map(|acknowledgement| self.answer(acknowledgement, &keeping, now_ms)).collect()
    }

    /// How many of some images the next sweep removes.
    pub(super) async fn count_past_retention(&self, known: &HashMap<String, ImageMetadata>) -> u64 {
        let (keeping, now_ms) = (self.keeping().await, now_ms());
        let is_past = |(image_id, known): &(&String, &ImageMetadata)| {
            keeping.kept_until_ms(image_id, known).is_some_and(|until| until <= now_ms)
        };
        let count = known.iter().filter(is_past).count() as u64;
        self.past_retention.store(count, Ordering::Relaxed);
        count
    }

    async fn keeping(&self) -> Keeping {
        let asked = async {
            let gallery = self.store.resolve(&self.address).await?;
            let retention = Retention::of(&*self.store, &gallery).await?;
            // What is kept for ever needs no hold.
            let is_for_ever = retention == Retention::default();
            let holds = if is_for_ever { Holds::default() } else { Holds::of(&*self.store, &gallery).await? };
            Ok::<_, SearchError>(Keeping { retention, holds })
        };
        asked.await.unwrap_or_else(|error| {
            // The images are on disk, which is what an answer is for.
            tracing::debug!(%error, "how long images are kept cannot be told");
            Keeping::default()
        })
    }

    fn answer(&self, acknowledgement: Acknowledgement, keeping: &Keeping, now_ms: i64) -> proto::IndexImagesResponse {
        let Acknowledgement { image_id, outcome } = acknowledgement;
        let outcome = match outcome {
            Ok(Indexed { is_unchanged, known, replaced, was_erased }) => {
                let kept_until_ms = keeping.kept_until_ms(&image_id, &known);
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

/// How long images are kept.
#[derive(Default)]
struct Keeping {
    retention: Retention,
    holds: Holds,
}

impl Keeping {
    /// When an image goes, in milliseconds since the Unix epoch; none for one that stays for ever, or as long as it is held.
    fn kept_until_ms(&self, image_id: &str, known: &ImageMetadata) -> Option<i64> {
        self.retention.kept_until_ms(known).filter(|_| !self.holds.hold(image_id, known))
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
