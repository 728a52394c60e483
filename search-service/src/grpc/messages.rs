//! Messages as the service's own types, and back.

mod gallery;
mod statistics;

pub(super) use gallery::{gallery_message, gallery_settings, retention_of, search_accuracy};
pub(super) use statistics::statistics_message;

use crate::SearchError;
use crate::config::RequestLimits;
use crate::metadata_mask::MetadataMask;
use crate::retrieval::{RankedHit, Sighting};
use crate::validation::invalid;
use crate::watches::{Watch, WatchPart, WatchedThing};
use descry_proto::search::v1 as proto;
use descry_proto::status::v1::ItemError;
use descry_store::{AttributeCondition, CropBox, GroupHit, ImageMetadata, SearchFilter};
use prost_types::Timestamp;
use tonic::Status;

/// Why one item of several failed.
pub(super) fn item_error(error: SearchError) -> ItemError {
    let reason = if matches!(error, SearchError::Erased { .. }) { ERASED.to_owned() } else { String::new() };
    let status = Status::from(error);
    ItemError { code: status.code().into(), message: status.message().to_owned(), reason }
}

/// The reason of an error of an image that was erased.
pub(crate) const ERASED: &str = "ERASED";

/// What a caller knows of an image. When it is indexed, and from which file, is the service's to say.
pub(super) fn image_metadata(metadata: proto::ImageMetadata) -> Result<ImageMetadata, SearchError> {
    let captured_at_ms = metadata.captured_at.map(|time| milliseconds("metadata.captured_at", time)).transpose()?;
    Ok(ImageMetadata {
        person_id: metadata.person_id,
        camera_id: metadata.camera_id,
        track_id: metadata.track_id,
        frame_id: metadata.frame_id,
        crop_box: metadata.r#box.map(|proto::CropBox { left, top, width, height }| CropBox {
            left_px: left,
            top_px: top,
            width_px: width,
            height_px: height,
        }),
        captured_at_ms,
        attributes: metadata.attributes.into_iter().collect(),
        content_sha256: String::new(),
        indexed_at_ms: 0,
    })
}

/// Which fields a change of metadata replaces.
pub(super) fn metadata_mask(
    mask: Option<prost_types::FieldMask>,
    limits: &RequestLimits,
) -> Result<MetadataMask, SearchError> {
    match mask {
        // Clients that fill in every message send an empty one.
        None => Ok(MetadataMask::Given),
        Some(mask) if mask.paths.is_empty() => Ok(MetadataMask::Given),
        Some(mask) => MetadataMask::of_paths(&mask.paths, limits.max_attributes),
    }
}

pub(super) fn metadata_message(metadata: ImageMetadata) -> proto::ImageMetadata {
    let ImageMetadata {
        person_id,
        camera_id,
        track_id,
        frame_id,
        crop_box,
        captured_at_ms,
        attributes,
        content_sha256: _,
        indexed_at_ms,
    } = metadata;
    proto::ImageMetadata {
        person_id,
        camera_id,
        captured_at: captured_at_ms.map(timestamp),
        attributes: attributes.into_iter().collect(),
        indexed_at: Some(timestamp(indexed_at_ms)),
        track_id,
        frame_id,
        r#box: crop_box.map(|CropBox { left_px, top_px, width_px, height_px }| proto::CropBox {
            left: left_px,
            top: top_px,
            width: width_px,
            height: height_px,
        }),
    }
}

pub(super) fn hit_message(ranked: RankedHit) -> proto::Hit {
    let RankedHit { found, image_score, contributions, match_probability, sightings, sighting_count } = ranked;
    let GroupHit { best, score, embedding: _, images } = found;
    proto::Hit {
        image_id: best.image_id,
        score,
        metadata: Some(metadata_message(best.metadata)),
        contributions,
        match_probability,
        sightings: sightings.into_iter().map(sighting_message).collect(),
        sighting_count,
        pooled_images: image_score.and(images).unwrap_or_default(),
        image_score,
    }
}

fn sighting_message(sighting: Sighting) -> proto::Sighting {
    let Sighting { image_id, camera_id, track_id, captured_at_ms } = sighting;
    proto::Sighting { image_id, camera_id, captured_at: captured_at_ms.map(timestamp), track_id }
}

pub(super) fn watch_message(gallery: &str, watch: Watch, parts: Vec<WatchPart>) -> proto::Watch {
    proto::Watch {
        gallery: gallery.to_owned(),
        name: watch.name,
        min_score: watch.min_score,
        filter: Some(watch.filter).filter(|filter| *filter != SearchFilter::default()).map(filter_message),
        created_at: Some(timestamp(watch.created_at_ms)),
        fingerprint: watch.fingerprint,
        parts: parts.into_iter().map(watch_part).collect(),
    }
}

fn watch_part(WatchPart { what, weight }: WatchPart) -> proto::WatchPart {
    let what = match what {
        WatchedThing::Text(text) => proto::watch_part::What::Text(text),
        WatchedThing::GalleryImage(image_id) => proto::watch_part::What::ImageId(image_id),
        WatchedThing::Unnamed => proto::watch_part::What::Unnamed(()),
    };
    proto::WatchPart { what: Some(what), weight }
}

/// A filter as the service knows it. protobuf's own limit of nesting keeps the recursion short.
pub(crate) fn search_filter(filter: proto::Filter) -> Result<SearchFilter, SearchError> {
    let time = |field: &str, time: Option<Timestamp>| time.map(|time| milliseconds(field, time)).transpose();
    let nested = |filters: Vec<proto::Filter>| filters.into_iter().map(search_filter).collect::<Result<Vec<_>, _>>();
    let attributes = filter.attributes.into_iter();
    Ok(SearchFilter {
        image_ids: filter.image_ids,
        person_ids: filter.person_ids,
        camera_ids: filter.camera_ids,
        track_ids: filter.track_ids,
        captured_from_ms: time("filter.captured_from", filter.captured_from)?,
        captured_before_ms: time("filter.captured_before", filter.captured_before)?,
        indexed_from_ms: time("filter.indexed_from", filter.indexed_from)?,
        indexed_before_ms: time("filter.indexed_before", filter.indexed_before)?,
        attributes: attributes
            .map(|attribute| AttributeCondition { name: attribute.name, values: attribute.values })
            .collect(),
        all: nested(filter.all)?,
        any: nested(filter.any)?,
        none: nested(filter.none)?,
    })
}

pub(super) fn filter_message(filter: SearchFilter) -> proto::Filter {
    let nested = |filters: Vec<SearchFilter>| filters.into_iter().map(filter_message).collect();
    let attributes = filter.attributes.into_iter();
    proto::Filter {
        image_ids: filter.image_ids,
        person_ids: filter.person_ids,
        camera_ids: filter.camera_ids,
        captured_from: filter.captured_from_ms.map(timestamp),
        captured_before: filter.captured_before_ms.map(timestamp),
        indexed_from: filter.indexed_from_ms.map(timestamp),
        indexed_before: filter.indexed_before_ms.map(timestamp),
        attributes: attributes
            .map(|AttributeCondition { name, values }| proto::AttributeCondition { name, values })
            .collect(),
        all: nested(filter.all),
        any: nested(filter.any),
        none: nested(filter.none),
        track_ids: filter.track_ids,
    }
}

/// Whole milliseconds since the Unix epoch, rounded down. Years 1 to 9999, the range of protobuf's timestamps: beyond
/// it no client could print the reply.
pub(super) fn milliseconds(field: &str, time: Timestamp) -> Result<i64, SearchError> {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    const NANOS: std::ops::Range<i32> = 0..1_000_000_000;
    if !SECONDS.contains(&time.seconds) || !NANOS.contains(&time.nanos) {
        return Err(invalid(field, "is no time of the years 1 to 9999 with nanos of 0 to 999999999"));
    }
    Ok(time.seconds * 1_000 + i64::from(time.nanos / 1_000_000))
}

pub(super) fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1_000), nanos: (ms.rem_euclid(1_000) * 1_000_000) as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_survive_the_way_there_and_back(ms in -62_135_596_800_000..253_402_300_800_000_i64) {
            prop_assert_eq!(milliseconds("time", timestamp(ms)).unwrap(), ms);
        }

        #[test]
        fn any_time_is_accepted_or_refused(seconds: i64, nanos: i32) {
            let _ = milliseconds("time", Timestamp { seconds, nanos });
        }
    }

    #[test]
    fn filters_survive_the_way_there_and_back() {
        let filter = SearchFilter {
            image_ids: vec!["1".to_owned()],
            captured_from_ms: Some(-5),
            indexed_before_ms: Some(7_000),
            attributes: vec![AttributeCondition { name: "coat".to_owned(), values: vec!["red".to_owned()] }],
            any: vec![SearchFilter { camera_ids: vec!["c".to_owned()], ..SearchFilter::default() }],
            none: vec![SearchFilter { person_ids: vec!["p".to_owned()], ..SearchFilter::default() }],
            ..SearchFilter::default()
        };
        assert_eq!(search_filter(filter_message(filter.clone())).unwrap(), filter);
    }
}
