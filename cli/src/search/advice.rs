//! Why a search found little: values of its conditions that no image has.

use descry_client::{ClientError, Connection};
use descry_proto::search::v1::{
    AttributeCondition, Filter, GalleryStatistics, GetGalleryStatisticsRequest, ValueStatistics,
};

/// Values that are asked for, the most frequent ones.
const ASKED_VALUES: u32 = 1000;
/// Values that are named.
const SHOWN_VALUES: usize = 8;
/// How alike a value must be to be suggested, 0 to 1.
const LEAST_SIMILARITY: f64 = 0.6;

/// Says which cameras, people and attributes' values of a filter no image has, and which there are instead. Nothing that
/// goes wrong here is worth a word: the search itself was answered.
pub(super) async fn warn_of_unknown_values(connection: &Connection, gallery: &str, filter: &Filter) {
    let Filter { camera_ids, person_ids, attributes, .. } = filter;
    if camera_ids.is_empty() && person_ids.is_empty() && attributes.is_empty() {
        return;
    }
    let request = GetGalleryStatisticsRequest { gallery: gallery.to_owned(), limit: ASKED_VALUES };
    let statistics = connection.get_gallery_statistics(request).await.unwrap_or_default();
    for (value, known, condition) in named_values(filter, &statistics) {
        let is_counted = known.counts.iter().any(|count| count.value == value);
        // Statistics may name some values only, and those of a service of an earlier version are empty.
        if !is_counted && matches!(has_image(connection, gallery, condition.filter()).await, Ok(false)) {
            tracing::warn!("{}", sentence(gallery, &condition, value, &known));
        }
    }
}

/// What a value is one of.
enum Condition<'a> {
    Camera(&'a str),
    Person(&'a str),
    Attribute(&'a str, &'a str),
}

impl Condition<'_> {
    fn filter(&self) -> Filter {
        let list = |value: &str| vec![value.to_owned()];
        match self {
            Self::Camera(camera) => Filter { camera_ids: list(camera), ..Filter::default() },
            Self::Person(person) => Filter { person_ids: list(person), ..Filter::default() },
            Self::Attribute(name, value) => {
                let condition = AttributeCondition { name: (*name).to_owned(), values: list(value) };
                Filter { attributes: vec![condition], ..Filter::default() }
            }
        }
    }
}

/// The values that a filter names, with those that the gallery's images have.
fn named_values<'a>(
    filter: &'a Filter,
    statistics: &GalleryStatistics,
) -> Vec<(&'a str, ValueStatistics, Condition<'a>)> {
    let cameras = statistics.cameras.clone().unwrap_or_default();
    let camera = |camera: &'a String| (camera.as_str(), cameras.clone(), Condition::Camera(camera));
    // People are too many to be listed.
    let person = |person: &'a String| (person.as_str(), ValueStatistics::default(), Condition::Person(person));
    let attribute = |condition: &'a AttributeCondition| {
        let known = statistics.attributes.get(&condition.name).cloned().unwrap_or_default();
        let named = |value: &'a String| {
            (value.as_str(), known.clone(), Condition::Attribute(condition.name.as_str(), value.as_str()))
        };
        condition.values.iter().map(named).collect::<Vec<_>>()
    };
    let mut named: Vec<_> = filter.camera_ids.iter().map(camera).collect();
    named.extend(filter.person_ids.iter().map(person));
    named.extend(filter.attributes.iter().flat_map(attribute));
    named
}

async fn has_image(connection: &Connection, gallery: &str, filter: Filter) -> Result<bool, ClientError> {
    let first = connection.images(gallery).matching(filter).retry_for(std::time::Duration::ZERO).next().await?;
    Ok(first.is_some_and(|images| !images.is_empty()))
}

fn sentence(gallery: &str, condition: &Condition<'_>, value: &str, known: &ValueStatistics) -> String {
    let what = match condition {
        Condition::Camera(_) => format!("is of camera {value:?}"),
        Condition::Person(_) => format!("shows person {value:?}"),
        Condition::Attribute(name, _) => format!("has {name}={value}"),
    };
    let nearest = nearest(value, known).map(|nearest| format!("; is {nearest:?} meant?")).unwrap_or_default();
    let there_are = match known.counts.as_slice() {
        [] => String::new(),
        counts => {
            let shown: Vec<&str> = counts.iter().take(SHOWN_VALUES).map(|count| count.value.as_str()).collect();
            let more = counts.len().saturating_sub(SHOWN_VALUES) as u64 + known.left_out;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(" There are {}{more}", shown.join(", "))
        }
    };
    format!("no image of gallery {gallery} {what}{nearest}{there_are}")
}

/// The value that is most like another one, whatever the case of its letters.
fn nearest<'a>(value: &str, known: &'a ValueStatistics) -> Option<&'a str> {
    let value = value.trim().to_lowercase();
    let alike = |count: &'a descry_proto::search::v1::value_statistics::Count| {
        let other = count.value.to_lowercase();
        (strsim::normalized_damerau_levenshtein(&value, &other), count.value.as_str())
    };
    let best = known.counts.iter().map(alike).max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 >= LEAST_SIMILARITY).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::value_statistics::Count;

    fn known(values: &[&str], left_out: u64) -> ValueStatistics {
        let counts = values.iter().map(|value| Count { value: (*value).to_owned(), images: 1 }).collect();
        ValueStatistics { counts, left_out, images_without: 0 }
    }

    #[test]
    fn the_nearest_value_is_suggested_and_some_are_named() {
        let cameras = known(&["c1", "c2", "lobby"], 0);
        let told = sentence("city", &Condition::Camera("C2"), "C2", &cameras);
        assert_eq!(told, "no image of gallery city is of camera \"C2\"; is \"c2\" meant? There are c1, c2, lobby");
        let colours = known(&["red", "green", "blue", "a", "b", "c", "d", "e", "f", "g"], 5);
        let told = sentence("city", &Condition::Attribute("coat", "gren"), "gren", &colours);
        assert!(told.contains("has coat=gren; is \"green\" meant?") && told.ends_with("e and 7 more"), "{told}");
        let told = sentence("city", &Condition::Person("7"), "7", &ValueStatistics::default());
        assert_eq!(told, "no image of gallery city shows person \"7\"");
        assert_eq!(nearest("quite another", &cameras), None);
    }
}
