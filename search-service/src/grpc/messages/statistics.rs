//! Counts of a gallery.

use super::timestamp;
use crate::statistics::{Statistics, Values};
use descry_proto::search::v1 as proto;

/// The counts with at most so many values of each list.
pub(in crate::grpc) fn statistics_message(statistics: Statistics, limit: usize) -> proto::GalleryStatistics {
    let attributes_left_out = statistics.attributes_left_out();
    let Statistics { images, persons, cameras, attributes, captured, indexed, .. } = statistics;
    let (captured_first, captured_last) = captured.first_and_last_ms.unzip();
    let (indexed_first, indexed_last) = indexed.first_and_last_ms.unzip();
    let attributes = attributes.into_iter().map(|(name, values)| (name, values_message(values, images, limit)));
    proto::GalleryStatistics {
        images,
        persons: persons.distinct(),
        images_without_person: images - persons.images,
        cameras: Some(values_message(cameras, images, limit)),
        attributes: attributes.collect(),
        captured_first: captured_first.map(timestamp),
        captured_last: captured_last.map(timestamp),
        images_without_capture_time: images - captured.images,
        indexed_first: indexed_first.map(timestamp),
        indexed_last: indexed_last.map(timestamp),
        attributes_left_out,
    }
}

fn values_message(values: Values, images: u64, limit: usize) -> proto::ValueStatistics {
    let (distinct, images_without) = (values.distinct(), images - values.images);
    let count = |(value, images)| proto::value_statistics::Count { value, images };
    let counts: Vec<_> = values.most_frequent(limit).into_iter().map(count).collect();
    let left_out = distinct - counts.len() as u64;
    proto::ValueStatistics { counts, left_out, images_without }
}
