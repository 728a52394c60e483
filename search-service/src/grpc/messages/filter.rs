//! Filters. protobuf's own limit of nesting keeps the recursion short.

use super::{milliseconds, timestamp};
use crate::SearchError;
use crate::vector_store::{AttributeCondition, SearchFilter};
use descry_proto::search::v1 as proto;
use prost_types::Timestamp;

pub(in crate::grpc) fn search_filter(filter: proto::Filter) -> Result<SearchFilter, SearchError> {
    let time = |field: &str, time: Option<Timestamp>| time.map(|time| milliseconds(field, time)).transpose();
    let nested = |filters: Vec<proto::Filter>| filters.into_iter().map(search_filter).collect::<Result<Vec<_>, _>>();
    let attributes = filter.attributes.into_iter();
    Ok(SearchFilter {
        image_ids: filter.image_ids,
        person_ids: filter.person_ids,
        camera_ids: filter.camera_ids,
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

pub(in crate::grpc) fn filter_message(filter: SearchFilter) -> proto::Filter {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
