//! The plainest search that can be written, over random images and filters.

use super::gallery::{Random, texts};
use descry_store::{AttributeCondition, GalleryImage, Hit, ImageMetadata, NearestQuery, SearchFilter};
use std::collections::BTreeMap;

/// Two computations of the same cosine may differ by this much.
pub(super) const ROUNDING: f32 = 1e-5;

/// The attributes of random images that random filters name: a gallery must declare them.
pub(super) const DECLARED: [&str; 2] = ["coat", "bag"];

const COATS: [&str; 5] = ["red", "dark  blue", "\"wool\"", "ключ 😀", ""];
const BAGS: [&str; 2] = ["red", "it's \\ none"];

/// Filters within filters within a filter.
const MAX_DEPTH: u64 = 2;

pub(super) fn random_images(random: &mut Random, count: usize, dimension: usize) -> Vec<GalleryImage> {
    (0..count).map(|number| random_image(random, number, dimension)).collect()
}

fn values_of(attribute: &str) -> &'static [&'static str] {
    if attribute == "coat" { &COATS } else { &BAGS }
}

fn random_image(random: &mut Random, number: usize, dimension: usize) -> GalleryImage {
    let mut some = |kinds: u64| Some(random.below(kinds + 1)).filter(|&kind| kind < kinds);
    let mut attributes = BTreeMap::from([("note".to_owned(), "declared by nobody".to_owned())]);
    for name in DECLARED {
        let values = values_of(name);
        let value = some(values.len() as u64).map(|kind| values[kind as usize].to_owned());
        attributes.extend(value.map(|value| (name.to_owned(), value)));
    }
    let metadata = ImageMetadata {
        person_id: some(6).map(|person| format!("person {person}")),
        camera_id: some(4).map(|camera| format!("camera/{camera}")),
        track_id: some(5).map(|track| format!("track {track}")),
        captured_at_ms: some(10).map(|time| time as i64 * 1_000 - 3_000),
        attributes,
        content_sha256: format!("sha of {number}"),
        indexed_at_ms: some(10).unwrap_or(10) as i64 * 1_000 - 3_000,
        ..ImageMetadata::default()
    };
    GalleryImage { image_id: format!("image {number}"), embedding: random.embedding(dimension), metadata }
}

/// Every kind of condition, alone and together, some of them in nested filters.
pub(super) fn random_filter(random: &mut Random) -> SearchFilter {
    filter_at(random, 0)
}

fn filter_at(random: &mut Random, depth: u64) -> SearchFilter {
    let persons = ["person 0", "person 1", "person 2", "person 5", "stranger", ""];
    let cameras = ["camera/0", "camera/1", "camera/2", "camera/3"];
    let ids = (0..200).map(|number| format!("image {number}")).chain(["unknown".to_owned()]);
    SearchFilter {
        image_ids: sometimes(random, 8, ids),
        person_ids: sometimes(random, 5, texts(&persons)),
        camera_ids: sometimes(random, 5, texts(&cameras)),
        track_ids: sometimes(random, 8, texts(&["track 0", "track 2", "track 4", "no track"])),
        captured_from_ms: bound(random),
        captured_before_ms: bound(random),
        indexed_from_ms: bound(random),
        indexed_before_ms: bound(random),
        attributes: DECLARED.iter().filter_map(|name| condition(random, name)).collect(),
        all: nested(random, depth),
        any: nested(random, depth),
        none: nested(random, depth),
    }
}

/// In one of `cases` cases some of the texts, otherwise none.
fn sometimes(random: &mut Random, cases: u64, texts: impl IntoIterator<Item = String>) -> Vec<String> {
    if random.below(cases) > 0 {
        return Vec::new();
    }
    texts.into_iter().filter(|_| random.below(2) == 0).collect()
}

fn bound(random: &mut Random) -> Option<i64> {
    let time = random.below(14) as i64 * 1_000 - 4_000;
    (random.below(6) == 0).then_some(time)
}

fn condition(random: &mut Random, name: &str) -> Option<AttributeCondition> {
    let values = sometimes(random, 5, texts(values_of(name)));
    (!values.is_empty()).then(|| AttributeCondition { name: name.to_owned(), values })
}

fn nested(random: &mut Random, depth: u64) -> Vec<SearchFilter> {
    if depth == MAX_DEPTH || random.below(4) > 0 {
        return Vec::new();
    }
    (0..=random.below(2)).map(|_| filter_at(random, depth + 1)).collect()
}

/// Whether an image meets a filter: decided here, and the same in the library.
pub(super) fn matches(image: &GalleryImage, filter: &SearchFilter) -> bool {
    let GalleryImage { image_id, metadata, .. } = image;
    let one_of = |wanted: &[String], value: Option<&str>| {
        wanted.is_empty() || wanted.iter().any(|wanted| Some(wanted.as_str()) == value)
    };
    let within = |from: Option<i64>, before: Option<i64>, time: Option<i64>| match time {
        Some(time) => from.is_none_or(|from| from <= time) && before.is_none_or(|before| time < before),
        None => from.is_none() && before.is_none(),
    };
    let has = |condition: &AttributeCondition| {
        metadata.attributes.get(&condition.name).is_some_and(|value| condition.values.contains(value))
    };
    let own = one_of(&filter.image_ids, Some(image_id))
        && one_of(&filter.person_ids, metadata.person_id.as_deref())
        && one_of(&filter.camera_ids, metadata.camera_id.as_deref())
        && one_of(&filter.track_ids, metadata.track_id.as_deref())
        && within(filter.captured_from_ms, filter.captured_before_ms, metadata.captured_at_ms)
        && within(filter.indexed_from_ms, filter.indexed_before_ms, Some(metadata.indexed_at_ms))
        && filter.attributes.iter().all(has)
        && filter.all.iter().all(|nested| matches(image, nested))
        && (filter.any.is_empty() || filter.any.iter().any(|nested| matches(image, nested)))
        && filter.none.iter().all(|nested| !matches(image, nested));
    assert_eq!(own, filter.matches(image_id, metadata), "{filter:?} for {metadata:?}");
    own
}

pub(super) fn score(image: &GalleryImage, query: &NearestQuery) -> f32 {
    image.embedding.cosine(&query.embedding).unwrap()
}

/// The hits are the best of the matching images, up to the rounding of scores, in the promised order.
#[track_caller]
pub(super) fn assert_hits_are_right(hits: &[Hit], query: &NearestQuery, images: &[GalleryImage]) {
    let by_id: BTreeMap<&str, &GalleryImage> = images.iter().map(|image| (image.image_id.as_str(), image)).collect();
    let matching = images.iter().filter(|image| matches(image, &query.filter));
    let mut expected: Vec<f32> = matching.map(|image| score(image, query)).collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    expected.truncate(query.limit);

    assert_eq!(hits.len(), expected.len(), "{:?}", query.filter);
    for (hit, expected) in hits.iter().zip(expected) {
        let image = by_id[hit.image_id.as_str()];
        assert!(matches(image, &query.filter), "{:?} for {:?}", hit.metadata, query.filter);
        assert_eq!(hit.metadata, image.metadata);
        assert!((hit.score - score(image, query)).abs() < ROUNDING, "the score belongs to the image");
        assert!((hit.score - expected).abs() < ROUNDING, "no better image is left out");
    }
    assert_in_order(hits);
}

#[track_caller]
pub(super) fn assert_in_order(hits: &[Hit]) {
    let in_order = |pair: &[Hit]| {
        pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].image_id < pair[1].image_id)
    };
    assert!(hits.windows(2).all(in_order), "falling scores, rising ids");
}
