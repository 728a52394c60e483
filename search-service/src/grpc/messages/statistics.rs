//! Counts of a gallery.

use super::timestamp;
use crate::statistics::{Statistics, Values};
use descry_proto::search::v1 as proto;

/// The counts with at most so many values of each list, and half of a reply for the values of all lists together.
pub(in crate::grpc) fn statistics_message(
    statistics: Statistics,
    limit: usize,
    max_reply_bytes: usize,
) -> proto::GalleryStatistics {
    let attributes_left_out = statistics.attributes_left_out();
    let Statistics { images, persons, cameras, attributes, captured, indexed, .. } = statistics;
    let (captured_first, captured_last) = captured.first_and_last_ms.unzip();
    let (indexed_first, indexed_last) = indexed.first_and_last_ms.unzip();
    let mut room_bytes = max_reply_bytes / 2;
    let mut list = |values| values_message(values, images, limit, &mut room_bytes);
    let cameras = Some(list(cameras));
    proto::GalleryStatistics {
        images,
        persons: persons.distinct(),
        images_without_person: images - persons.images,
        cameras,
        attributes: attributes.into_iter().map(|(name, values)| (name, list(values))).collect(),
        captured_first: captured_first.map(timestamp),
        captured_last: captured_last.map(timestamp),
        images_without_capture_time: images - captured.images,
        indexed_first: indexed_first.map(timestamp),
        indexed_last: indexed_last.map(timestamp),
        attributes_left_out,
    }
}

fn values_message(values: Values, images: u64, limit: usize, room_bytes: &mut usize) -> proto::ValueStatistics {
    /// Of a count without its value.
    const COUNT_BYTES: usize = 24;
    let (distinct, images_without) = (values.distinct(), images - values.images);
    let mut counts = Vec::new();
    for (value, images) in values.most_frequent(limit) {
        let Some(left_bytes) = room_bytes.checked_sub(value.len() + COUNT_BYTES) else { break };
        *room_bytes = left_bytes;
        counts.push(proto::value_statistics::Count { value, images });
    }
    let left_out = distinct - counts.len() as u64;
    proto::ValueStatistics { counts, left_out, images_without }
}
