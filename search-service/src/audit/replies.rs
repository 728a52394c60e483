//! What each answer tells, as a record says it.

use crate::grpc::ERASED;
use descry_audit::{Record, Returned};
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_response::Outcome;

/// A message that the service answers with.
pub(crate) trait AuditedReply {
    /// Writes down what it tells.
    fn told(&self, _record: &mut Record) {}
}

impl AuditedReply for proto::Gallery {
    fn told(&self, record: &mut Record) {
        of_gallery(self, record);
    }
}

impl AuditedReply for proto::ListGalleriesResponse {
    fn told(&self, record: &mut Record) {
        record.count("galleries", self.galleries.len() as u64);
    }
}

impl AuditedReply for proto::ListGenerationsResponse {
    fn told(&self, record: &mut Record) {
        record.generation = Some(self.active);
        record.count("generations", self.generations.len() as u64);
    }
}

impl AuditedReply for proto::CompareGenerationsResponse {
    fn told(&self, record: &mut Record) {
        record.count("missing", self.missing);
        record.count("surplus", self.surplus);
        // Ids of images, whichever side lacks them.
        record.returned.extend(self.missing_ids.iter().chain(&self.surplus_ids).map(|image_id| alone(image_id)));
    }
}

impl AuditedReply for proto::GalleryStatistics {
    fn told(&self, record: &mut Record) {
        record.count("images", self.images);
    }
}

impl AuditedReply for proto::CheckGalleryResponse {
    fn told(&self, record: &mut Record) {
        record.count("examined", self.examined);
        record.count("deleted", self.damaged.iter().filter(|damaged| damaged.removed).count() as u64);
        record.returned.extend(self.damaged.iter().map(|damaged| alone(&damaged.image_id)));
    }
}

impl AuditedReply for proto::IndexEmbeddingsResponse {
    fn told(&self, record: &mut Record) {
        counts_of(&self.results).into_iter().for_each(|(what, number)| record.count(what, number));
    }
}

/// How many of some images failed; and, where there are any, how many were refused because they had been erased, and how many
/// of these were let back.
pub(crate) fn counts_of(results: &[proto::IndexImagesResponse]) -> Vec<(&'static str, u64)> {
    let count = |is_counted: fn(&Option<Outcome>) -> bool| {
        results.iter().filter(|result| is_counted(&result.outcome)).count() as u64
    };
    let failed = count(|outcome| !matches!(outcome, Some(Outcome::Indexed(_))));
    let erased = count(|outcome| matches!(outcome, Some(Outcome::Error(error)) if error.reason == ERASED));
    let let_back = count(|outcome| matches!(outcome, Some(Outcome::Indexed(indexed)) if indexed.was_erased));
    let of_erasures = [("refused_as_erased", erased), ("let_back", let_back)];
    let of_erasures = of_erasures.into_iter().filter(|(_, number)| *number > 0);
    std::iter::once(("failed", failed)).chain(of_erasures).collect()
}

impl AuditedReply for proto::EraseImagesResponse {
    fn told(&self, record: &mut Record) {
        record.count("images", self.images);
        record.count("deleted", self.generations.iter().map(|generation| generation.images).sum());
        record.count("generations", self.generations.len() as u64);
        record.count("watches", self.watches.len() as u64);
        record.count("marks", self.marks);
        record.count("held", self.held);
        // What was erased is in the receipt of this number, and not here: the log outlives it.
        let pending: String = self.pending.iter().map(|pending| format!("; pending: {pending}")).collect();
        record.note = Some(format!("erasure {}{pending}", self.erasure_id)).filter(|_| !self.erasure_id.is_empty());
    }
}

impl AuditedReply for proto::ListImagesResponse {
    fn told(&self, record: &mut Record) {
        record.fingerprint = Some(self.fingerprint.clone());
        record.count("images", self.images.len() as u64);
        record.returned.extend(self.images.iter().map(|image| alone(&image.image_id)));
    }
}

impl AuditedReply for proto::UpdateImagesResponse {
    fn told(&self, record: &mut Record) {
        record.count("updated", self.updated);
    }
}

impl AuditedReply for proto::DeleteImagesResponse {
    fn told(&self, record: &mut Record) {
        record.count("deleted", self.deleted);
        record.count("held", self.held);
    }
}

impl AuditedReply for proto::Hold {
    fn told(&self, record: &mut Record) {
        record.count("held", self.images);
    }
}

impl AuditedReply for proto::ListHoldsResponse {
    fn told(&self, record: &mut Record) {
        record.count("holds", self.holds.len() as u64);
    }
}

impl AuditedReply for proto::LiftHoldResponse {
    fn told(&self, record: &mut Record) {
        record.count("released", self.released);
        record.count("past_retention", self.past_retention);
    }
}

impl AuditedReply for proto::SearchResponse {
    fn told(&self, record: &mut Record) {
        record.fingerprint = Some(self.fingerprint.clone());
        record.count("hits", self.hits.len() as u64);
        for hit in &self.hits {
            record.returned.push(of_hit(hit));
            // By person or track, the other images of a hit are told as well.
            let others = hit.sightings.iter().filter(|sighting| sighting.image_id != hit.image_id);
            record.returned.extend(others.map(|sighting| alone(&sighting.image_id)));
        }
    }
}

impl AuditedReply for proto::SearchBatchResponse {}

impl AuditedReply for proto::Calibration {
    fn told(&self, record: &mut Record) {
        record.fingerprint = Some(self.fingerprint.clone());
        record.calibrated_at_ms =
            self.calibrated_at.map(|time| time.seconds * 1_000 + i64::from(time.nanos / 1_000_000));
    }
}

impl AuditedReply for proto::Watch {
    fn told(&self, record: &mut Record) {
        record.fingerprint = Some(self.fingerprint.clone());
    }
}

impl AuditedReply for proto::ListWatchesResponse {
    fn told(&self, record: &mut Record) {
        record.count("watches", self.watches.len() as u64);
    }
}

impl AuditedReply for proto::ListEncodersResponse {}
impl AuditedReply for proto::DeleteGalleryResponse {}
impl AuditedReply for proto::DeleteGenerationResponse {}
impl AuditedReply for proto::DeleteWatchResponse {}

fn of_gallery(gallery: &proto::Gallery, record: &mut Record) {
    record.generation = Some(gallery.generation);
    record.fingerprint = Some(gallery.fingerprint.clone());
    record.count("images", gallery.images);
}

/// A hit as it is told.
pub(crate) fn of_hit(hit: &proto::Hit) -> Returned {
    Returned {
        image_id: hit.image_id.clone(),
        score: Some(hit.score).filter(|score| score.is_finite()),
        probability: hit.match_probability,
    }
}

fn alone(image_id: &str) -> Returned {
    Returned { image_id: image_id.to_owned(), score: None, probability: None }
}
