//! Filters as Qdrant's conditions.

use super::points::{PayloadField, attribute_key, point_id};
use crate::SearchFilter;
use qdrant_client::qdrant::{Condition, Filter, Range};

/// The conditions of a filter, `None` when it does not restrict.
pub(super) fn filter_conditions(gallery: &str, filter: &SearchFilter) -> Option<Filter> {
    let SearchFilter {
        image_ids,
        person_ids,
        camera_ids,
        track_ids,
        captured_from_ms,
        captured_before_ms,
        indexed_from_ms,
        indexed_before_ms,
        attributes,
        all,
        any,
        none,
    } = filter;
    let mut must = Vec::new();
    if !image_ids.is_empty() {
        must.push(Condition::has_id(image_ids.iter().map(|image_id| point_id(gallery, image_id))));
    }
    let texts = [
        (PayloadField::PersonId, person_ids),
        (PayloadField::CameraId, camera_ids),
        (PayloadField::TrackId, track_ids),
    ];
    for (field, wanted) in texts {
        if !wanted.is_empty() {
            must.push(Condition::matches(field.name(), wanted.clone()));
        }
    }
    for attribute in attributes {
        must.push(Condition::matches(attribute_key(&attribute.name), attribute.values.clone()));
    }
    let times = [
        (PayloadField::CapturedAtMs, captured_from_ms, captured_before_ms),
        (PayloadField::IndexedAtMs, indexed_from_ms, indexed_before_ms),
    ];
    for (field, from, before) in times {
        if from.is_some() || before.is_some() {
            // Stored times are within the exact range, so rounding a bound beyond it changes nothing.
            let range =
                Range { gte: from.map(|time| time as f64), lt: before.map(|time| time as f64), ..Range::default() };
            must.push(Condition::range(field.name(), range));
        }
    }
    // A filter that restricts nothing holds for everything.
    let nested = |filter: &SearchFilter| match filter_conditions(gallery, filter) {
        Some(filter) => Condition::from(filter),
        None => Condition::from(Filter::must_not([Condition::has_id(Vec::<u64>::new())])),
    };
    must.extend(all.iter().map(nested));
    if !any.is_empty() {
        must.push(Condition::from(Filter::should(any.iter().map(nested))));
    }
    let must_not: Vec<Condition> = none.iter().map(nested).collect();
    (!must.is_empty() || !must_not.is_empty()).then(|| Filter { must, must_not, ..Filter::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_without_conditions_is_none() {
        assert_eq!(filter_conditions("street", &SearchFilter::default()), None);
        let filter = SearchFilter { captured_from_ms: Some(3), ..SearchFilter::default() };
        assert_eq!(filter_conditions("street", &filter).map(|filter| filter.must.len()), Some(1));
        let none = SearchFilter { none: vec![filter], ..SearchFilter::default() };
        assert_eq!(filter_conditions("street", &none).map(|filter| filter.must_not.len()), Some(1));
    }
}
