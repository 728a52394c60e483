//! Messages as the service's own types, and back.

mod filter;
mod gallery;
mod time;

pub(super) use filter::{filter_message, search_filter};
pub(super) use gallery::{gallery_message, gallery_settings, retention_of};
pub(super) use time::{milliseconds, timestamp};

use crate::SearchError;
use crate::retrieval::{RankedHit, Sighting};
use crate::vector_store::{ImageMetadata, SearchFilter};
use crate::watches::Watch;
use descry_proto::search::v1 as proto;
use descry_proto::status::v1::ItemError;
use tonic::Status;

/// Why one item of several failed.
pub(super) fn item_error(error: SearchError) -> ItemError {
    let status = Status::from(error);
    ItemError { code: status.code().into(), message: status.message().to_owned() }
}

/// What a caller knows of an image. When it is indexed, and from which file, is the service's to say.
pub(super) fn image_metadata(metadata: proto::ImageMetadata) -> Result<ImageMetadata, SearchError> {
    let captured_at_ms = metadata.captured_at.map(|time| milliseconds("metadata.captured_at", time)).transpose()?;
    Ok(ImageMetadata {
        person_id: metadata.person_id,
        camera_id: metadata.camera_id,
        captured_at_ms,
        attributes: metadata.attributes.into_iter().collect(),
        content_sha256: String::new(),
        indexed_at_ms: 0,
    })
}

pub(super) fn metadata_message(metadata: ImageMetadata) -> proto::ImageMetadata {
    let ImageMetadata { person_id, camera_id, captured_at_ms, attributes, content_sha256: _, indexed_at_ms } = metadata;
    proto::ImageMetadata {
        person_id,
        camera_id,
        captured_at: captured_at_ms.map(timestamp),
        attributes: attributes.into_iter().collect(),
        indexed_at: Some(timestamp(indexed_at_ms)),
    }
}

pub(super) fn hit_message(ranked: RankedHit) -> proto::Hit {
    let RankedHit { hit, contributions, match_probability, sightings } = ranked;
    proto::Hit {
        image_id: hit.image_id,
        score: hit.score,
        metadata: Some(metadata_message(hit.metadata)),
        contributions,
        match_probability,
        sightings: sightings.into_iter().map(sighting_message).collect(),
    }
}

fn sighting_message(sighting: Sighting) -> proto::Sighting {
    let Sighting { image_id, camera_id, captured_at_ms } = sighting;
    proto::Sighting { image_id, camera_id, captured_at: captured_at_ms.map(timestamp) }
}

pub(super) fn watch_message(gallery: &str, watch: Watch) -> proto::Watch {
    proto::Watch {
        gallery: gallery.to_owned(),
        name: watch.name,
        min_score: watch.min_score,
        filter: Some(watch.filter).filter(|filter| *filter != SearchFilter::default()).map(filter_message),
        created_at: Some(timestamp(watch.created_at_ms)),
        fingerprint: watch.fingerprint,
    }
}
