//! What tells the group of a point: the fields that hold its name, and the conditions that its points meet. Pure.

use super::points::{PayloadField, foreign_point};
use crate::grouping::GroupKey;
use crate::{GroupBy, StoreError};
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{Condition, Filter, Value};
use std::collections::{BTreeMap, HashMap};

/// What a name takes besides its letters.
const NAME_OVERHEAD_BYTES: usize = 16;

/// The fields of a point that tell its image and its group, and nothing else of what is known of it.
pub(super) fn name_fields(by: GroupBy) -> Vec<&'static str> {
    let of_group: &[PayloadField] = match by {
        GroupBy::Person => &[PayloadField::PersonId],
        GroupBy::Track => &[PayloadField::CameraId, PayloadField::TrackId],
    };
    std::iter::once(&PayloadField::ImageId).chain(of_group).map(|field| field.name()).collect()
}

/// The points of the groups of a search: those that are in some group and meet its filter, but for these groups.
pub(super) fn all_groups_but<'a>(
    by: GroupBy,
    filter: Option<Filter>,
    left_out: impl IntoIterator<Item = &'a GroupKey>,
) -> Filter {
    let name = match by {
        GroupBy::Person => PayloadField::PersonId,
        GroupBy::Track => PayloadField::TrackId,
    };
    let must = filter.into_iter().map(Condition::from).collect();
    let mut must_not = vec![Condition::is_empty(name.name())];
    must_not.extend(conditions_of(by, left_out));
    Filter { must, must_not, ..Filter::default() }
}

/// The points of these groups, at least one, that meet a filter.
pub(super) fn these_groups<'a>(
    by: GroupBy,
    filter: Option<Filter>,
    groups: impl IntoIterator<Item = &'a GroupKey>,
) -> Filter {
    let mut must: Vec<Condition> = filter.into_iter().map(Condition::from).collect();
    must.push(Filter::should(conditions_of(by, groups)).into());
    Filter { must, ..Filter::default() }
}

/// Few conditions, one of which each point of the groups meets, and no other point does.
fn conditions_of<'a>(by: GroupBy, groups: impl IntoIterator<Item = &'a GroupKey>) -> Vec<Condition> {
    let mut of_camera: BTreeMap<&Option<String>, Vec<String>> = BTreeMap::new();
    groups.into_iter().for_each(|(camera, name)| of_camera.entry(camera).or_default().push(name.clone()));
    let conditions = of_camera.into_iter().map(|(camera, names)| match (by, camera) {
        (GroupBy::Person, _) => Condition::matches(PayloadField::PersonId.name(), names),
        (GroupBy::Track, camera) => {
            let field = PayloadField::CameraId.name();
            let before = match camera {
                // A list, because the client takes a lone text with spaces for a full-text search.
                Some(camera) => Condition::matches(field, vec![camera.clone()]),
                None => Condition::is_empty(field),
            };
            Filter::must([before, Condition::matches(PayloadField::TrackId.name(), names)]).into()
        }
    });
    conditions.collect()
}

/// The image and the group of a point that was read with its [`name_fields`]; `None` where it is in no group.
///
/// # Errors
/// [`StoreError::Failed`] with a [`QdrantStoreError`](super::QdrantStoreError) when something else wrote the point.
pub(super) fn names_from_payload(
    address: &str,
    by: GroupBy,
    mut payload: HashMap<String, Value>,
) -> Result<Option<(GroupKey, String)>, StoreError> {
    let mut text = |field: PayloadField| match payload.remove(field.name()).and_then(|value| value.kind) {
        None | Some(Kind::NullValue(_)) => Ok(None),
        Some(Kind::StringValue(text)) => Ok(Some(text)),
        Some(_) => Err(foreign_point(address, format!("unexpected {}", field.name()))),
    };
    let image_id = text(PayloadField::ImageId)?;
    let image_id = image_id.ok_or_else(|| foreign_point(address, "no image_id".to_owned()))?;
    let group = match by {
        GroupBy::Person => text(PayloadField::PersonId)?.map(|person| (None, person)),
        GroupBy::Track => {
            let camera = text(PayloadField::CameraId)?;
            text(PayloadField::TrackId)?.map(|track| (camera, track))
        }
    };
    Ok(group.map(|group| (group, image_id)))
}

/// Bytes that a group's name takes in memory and in messages, about.
pub(super) fn name_bytes((camera, name): &GroupKey) -> usize {
    camera.as_ref().map_or(0, String::len) + name.len() + NAME_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(camera: Option<&str>, name: &str) -> GroupKey {
        (camera.map(str::to_owned), name.to_owned())
    }

    #[test]
    fn there_is_one_condition_a_camera() {
        let tracks = [key(Some("a"), "1"), key(Some("a"), "2"), key(None, "1"), key(Some("b"), "1")];
        assert_eq!(conditions_of(GroupBy::Track, &tracks).len(), 3);
        let persons: Vec<GroupKey> = (0..100).map(|person| key(None, &person.to_string())).collect();
        assert_eq!(conditions_of(GroupBy::Person, &persons).len(), 1);
        assert_eq!(all_groups_but(GroupBy::Person, None, []).must_not.len(), 1, "images of nobody");
    }

    #[test]
    fn names_are_read_and_foreign_ones_are_told() {
        let payload = |fields: &[(&str, Value)]| {
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<HashMap<_, _>>()
        };
        let image = ("image_id", Value::from("1.jpg"));
        let read = |by, fields: &[(&str, Value)]| names_from_payload("street", by, payload(fields));
        let whole = [image.clone(), ("camera_id", "c".into()), ("track_id", "7".into())];
        assert_eq!(read(GroupBy::Track, &whole).unwrap(), Some((key(Some("c"), "7"), "1.jpg".to_owned())));
        assert_eq!(read(GroupBy::Person, &whole).unwrap(), None);
        assert!(read(GroupBy::Person, &[("person_id", "7".into())]).is_err());
        assert!(read(GroupBy::Track, &[image, ("track_id", 7.into())]).is_err());
    }
}
