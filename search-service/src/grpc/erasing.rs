//! Erasing people, tracks and images.

use super::SearchGrpc;
use super::messages::timestamp;
use super::reply_room::{PREFIX_BYTES, ReplyRoom};
use crate::SearchError;
use crate::erasure::{Erased, Subject, TrackName, erase, preview};
use crate::validation::{check_gallery_name, check_id, invalid};
use descry_proto::search::v1 as proto;

impl SearchGrpc {
    pub(super) async fn erase_images(
        &self,
        request: proto::EraseImagesRequest,
    ) -> Result<proto::EraseImagesResponse, SearchError> {
        let proto::EraseImagesRequest { gallery, person_ids, tracks, image_ids, preview: is_preview } = request;
        check_gallery_name(&gallery)?;
        let subject = self.subject(person_ids, tracks, image_ids)?;
        let erased = if is_preview {
            preview(&self.galleries, &self.descriptions, &gallery, &subject).await?
        } else {
            erase(&self.galleries, &self.descriptions, &gallery, subject).await?
        };
        Ok(receipt(erased, self.limits.max_reply_bytes))
    }

    fn subject(
        &self,
        person_ids: Vec<String>,
        tracks: Vec<proto::Track>,
        image_ids: Vec<String>,
    ) -> Result<Subject, SearchError> {
        let (max_values, max_ids) = (self.limits.max_filter_values, self.limits.max_deleted_ids);
        for (field, count, max) in [
            ("person_ids", person_ids.len(), max_values),
            ("tracks", tracks.len(), max_values),
            ("image_ids", image_ids.len(), max_ids),
        ] {
            if count > max {
                return Err(invalid(field, format!("{count}, at most {max} are allowed")));
            }
        }
        person_ids.iter().try_for_each(|person_id| check_id("person_ids", person_id, &self.limits))?;
        image_ids.iter().try_for_each(|image_id| check_id("image_ids", image_id, &self.limits))?;
        for proto::Track { camera_id, track_id } in &tracks {
            check_id("tracks.track_id", track_id, &self.limits)?;
            if !camera_id.is_empty() {
                check_id("tracks.camera_id", camera_id, &self.limits)?;
            }
        }
        let tracks = tracks.into_iter().map(|proto::Track { camera_id, track_id }| TrackName { camera_id, track_id });
        let subject = Subject {
            person_ids: person_ids.into_iter().collect(),
            tracks: tracks.collect(),
            image_ids: image_ids.into_iter().collect(),
        };
        if subject.is_empty() {
            return Err(invalid("person_ids", "name at least one person, track or image to erase"));
        }
        Ok(subject)
    }
}

/// The receipt, with as many names as it has room for. What is short and must be told comes first.
fn receipt(erased: Erased, max_reply_bytes: usize) -> proto::EraseImagesResponse {
    let Erased { erasure_id, erased_at_ms, generations, image_ids, watches, pending, held, marks } = erased;
    let told: usize = pending.iter().chain(&watches).map(|text| text.len() + PREFIX_BYTES).sum();
    let numbers = generations.len() * (16 + PREFIX_BYTES);
    let mut room = ReplyRoom::new(max_reply_bytes.saturating_sub(told + numbers));
    let images = image_ids.len() as u64;
    proto::EraseImagesResponse {
        erased_at: Some(timestamp(erased_at_ms)).filter(|_| !erasure_id.is_empty()),
        erasure_id,
        generations: generations
            .into_iter()
            .map(|(generation, images)| proto::ErasedGeneration { generation, images })
            .collect(),
        images,
        image_ids: image_ids.into_iter().take_while(|image_id| room.takes(image_id.len())).collect(),
        watches,
        pending,
        held,
        marks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn a_receipt_counts_what_it_has_no_room_to_name() {
        let erased = Erased {
            erasure_id: "e".repeat(32),
            erased_at_ms: 1_800_000_000_000,
            generations: vec![(1, 100_000), (2, 90_000)],
            image_ids: (0..100_000).map(|number| format!("{number}.jpg")).collect(),
            watches: (0..100).map(|number| format!("watch-{number}")).collect(),
            pending: vec!["later".repeat(100)],
            held: 3,
            marks: 200_001,
        };
        let receipt = receipt(erased, 1 << 16);
        assert!(receipt.encoded_len() <= 1 << 16, "{}", receipt.encoded_len());
        assert_eq!((receipt.images, receipt.watches.len(), receipt.pending.len()), (100_000, 100, 1));
        assert!(receipt.image_ids.len() > 1_000, "{}", receipt.image_ids.len());
    }
}
