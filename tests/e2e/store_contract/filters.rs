//! Promises about filters, against the plainest search that can be written.

use super::gallery::{Random, ids, image, model, query, texts};
use super::stand::Stand;
use descry_search::vector_store::{GalleryImage, Hit, ImageMetadata, NearestQuery, SearchFilter};

const DIMENSION: usize = 12;

/// Two computations of the same cosine may differ by this much.
const ROUNDING: f32 = 1e-5;

pub(super) async fn every_filter_agrees_with_checking_each_image(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    let mut random = Random(7);
    let images: Vec<GalleryImage> = (0..150).map(|number| random_image(&mut random, number)).collect();
    store.create_gallery(&name, &model("a"), DIMENSION).await.unwrap();
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();

    let mut restricted = 0;
    for _ in 0..80 {
        let query = NearestQuery {
            embedding: random.embedding(DIMENSION),
            fingerprint: model("a"),
            limit: [1, 5, 20, 200][random.below(4) as usize],
            filter: random_filter(&mut random),
        };
        let hits = store.nearest(&name, query.clone()).await.unwrap();
        let matching = images.iter().filter(|image| matches(&image.metadata, &query.filter)).count();
        restricted += usize::from(matching > 0 && matching < images.len());
        assert_hits_are_right(&hits, &query, &images);
    }
    assert!(restricted > 40, "the random filters must choose some images and not others");
}

pub(super) async fn times_are_half_open_and_images_without_time_never_match(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 1).await.unwrap();
    let largest = 1_i64 << 53;
    let times = [None, Some(-largest), Some(-1), Some(0), Some(1_700_000_000_000), Some(largest)];
    let images = times.iter().enumerate().map(|(number, time)| {
        let mut image = image(&number.to_string(), &[1.0]);
        image.metadata.captured_at_ms = *time;
        image
    });
    store.upsert(&name, &model("a"), images.collect()).await.unwrap();

    let check = async |from, before, expected: &[&str]| {
        let mut query = query(&[1.0], 99);
        query.filter = SearchFilter { captured_from_ms: from, captured_before_ms: before, ..SearchFilter::default() };
        let hits = store.nearest(&name, query).await.unwrap();
        assert_eq!(ids(&hits), expected, "from {from:?} before {before:?}");
    };
    check(None, None, &["0", "1", "2", "3", "4", "5"]).await;
    check(Some(-1), Some(1_700_000_000_000), &["2", "3"]).await;
    check(Some(-1), Some(1_700_000_000_001), &["2", "3", "4"]).await;
    check(Some(0), None, &["3", "4", "5"]).await;
    check(None, Some(0), &["1", "2"]).await;
    check(Some(0), Some(0), &[]).await;
    check(Some(5), Some(-5), &[]).await;
    check(Some(i64::MIN), Some(i64::MAX), &["1", "2", "3", "4", "5"]).await;
    check(Some(largest), None, &["5"]).await;
    check(None, Some(largest), &["1", "2", "3", "4"]).await;
}

fn random_image(random: &mut Random, number: usize) -> GalleryImage {
    let mut some = |kinds: u64| Some(random.below(kinds + 1)).filter(|&kind| kind < kinds);
    let metadata = ImageMetadata {
        person_id: some(6).map(|person| format!("person {person}")),
        camera_id: some(4).map(|camera| format!("camera/{camera}")),
        captured_at_ms: some(10).map(|time| time as i64 * 1_000 - 3_000),
        ..ImageMetadata::default()
    };
    GalleryImage { image_id: format!("image {number}"), embedding: random.embedding(DIMENSION), metadata }
}

fn random_filter(random: &mut Random) -> SearchFilter {
    let mut some = |all: &[&str]| texts(all).into_iter().filter(|_| random.below(5) == 0).collect();
    let person_ids = some(&["person 0", "person 1", "person 2", "person 5", "stranger", ""]);
    let camera_ids = some(&["camera/0", "camera/1", "camera/2", "camera/3"]);
    let mut bound = || Some(random.below(14) as i64 * 1_000 - 4_000).filter(|_| random.below(3) == 0);
    SearchFilter { person_ids, camera_ids, captured_from_ms: bound(), captured_before_ms: bound() }
}

fn matches(metadata: &ImageMetadata, filter: &SearchFilter) -> bool {
    let any_of = |wanted: &[String], value: &Option<String>| {
        wanted.is_empty() || value.as_ref().is_some_and(|value| wanted.contains(value))
    };
    any_of(&filter.person_ids, &metadata.person_id)
        && any_of(&filter.camera_ids, &metadata.camera_id)
        && filter.captured_from_ms.is_none_or(|from| metadata.captured_at_ms.is_some_and(|time| time >= from))
        && filter.captured_before_ms.is_none_or(|before| metadata.captured_at_ms.is_some_and(|time| time < before))
}

/// The hits are the best of the matching images, up to the rounding of scores, in the promised order.
#[track_caller]
fn assert_hits_are_right(hits: &[Hit], query: &NearestQuery, images: &[GalleryImage]) {
    let score = |image: &GalleryImage| image.embedding.cosine(&query.embedding).unwrap();
    let mut expected: Vec<f32> =
        images.iter().filter(|image| matches(&image.metadata, &query.filter)).map(score).collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    expected.truncate(query.limit);

    assert_eq!(hits.len(), expected.len(), "{:?}", query.filter);
    for (rank, hit) in hits.iter().enumerate() {
        let image = images.iter().find(|image| image.image_id == hit.image_id).unwrap();
        assert!(matches(&hit.metadata, &query.filter), "{:?} for {:?}", hit.metadata, query.filter);
        assert_eq!(hit.metadata, image.metadata);
        assert!((hit.score - score(image)).abs() < ROUNDING, "the score belongs to the image");
        assert!((hit.score - expected[rank]).abs() < ROUNDING, "no better image is left out");
    }
    let in_order = |pair: &[Hit]| {
        pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].image_id < pair[1].image_id)
    };
    assert!(hits.windows(2).all(in_order), "falling scores, rising ids");
}
