//! The two stores side by side: the same images and queries, and the same answers.

use super::brute_force::{DECLARED, ROUNDING, random_filter, random_images};
use super::by_address::ByAddress;
use super::gallery::{Random, declaring, model};
use super::groups::GROUPINGS;
use super::stand::Stand;
use descry_model::Embedding;
use descry_store::{GalleryImage, GroupBy, GroupHit, Grouping, NearestQuery};

const DIMENSION: usize = 24;
const PERSONS: u64 = 40;

fn sum(weighted: &[(f32, &Embedding)]) -> Embedding {
    let values = (0..DIMENSION).map(|place| weighted.iter().map(|(weight, of)| weight * of.as_slice()[place]).sum());
    Embedding::normalized(values.collect()).unwrap()
}

/// Images as towers make them: all have something in common, those of a person more, those of a person before one camera
/// most. Some persons have one image and some have dozens; some images are of nobody, or in no track.
fn street(random: &mut Random) -> (Vec<GalleryImage>, Vec<Embedding>) {
    let common = random.embedding(DIMENSION);
    let persons: Vec<Embedding> = (0..PERSONS).map(|_| random.embedding(DIMENSION)).collect();
    let cameras: Vec<Embedding> = (0..4).map(|_| random.embedding(DIMENSION)).collect();
    let mut images = random_images(random, 700, DIMENSION);
    for image in &mut images {
        let (person, camera) = (random.below(PERSONS).min(random.below(PERSONS)), random.below(4));
        let (of_person, before) = (&persons[person as usize], &cameras[camera as usize]);
        image.embedding = sum(&[(1.0, &common), (0.8, of_person), (0.3, before), (0.5, &image.embedding)]);
        image.metadata.person_id = image.metadata.person_id.as_ref().map(|_| format!("person {person}"));
        image.metadata.camera_id = image.metadata.camera_id.as_ref().map(|_| format!("camera/{camera}"));
        image.metadata.track_id = image.metadata.track_id.as_ref().map(|_| format!("track {}", person % 7));
    }
    let wanted = |person: usize| sum(&[(1.0, &common), (0.6, &persons[person]), (0.4, &cameras[person % 4])]);
    (images, (0..PERSONS as usize).map(wanted).collect())
}

fn group(hit: &GroupHit, by: GroupBy) -> (Option<&str>, Option<&str>) {
    let metadata = &hit.best.metadata;
    match by {
        GroupBy::Person => (None, metadata.person_id.as_deref()),
        GroupBy::Track => (metadata.camera_id.as_deref(), metadata.track_id.as_deref()),
    }
}

/// The same groups with the same scores, images and embeddings, in the same order but for scores that rounding may swap.
#[track_caller]
fn assert_same_groups(found: &[GroupHit], expected: &[GroupHit], by: GroupBy) {
    assert_eq!(found.len(), expected.len());
    for (place, (hit, at_place)) in found.iter().zip(expected).enumerate() {
        assert!((hit.score - at_place.score).abs() < ROUNDING, "rank {place}: {} and {}", hit.score, at_place.score);
        let same = |other: &&GroupHit| group(other, by) == group(hit, by);
        // Beyond the last one there may be another that is as near as it.
        let Some(other) = expected.iter().find(same) else {
            assert!(
                (hit.score - expected[expected.len() - 1].score).abs() < ROUNDING,
                "{:?} is missing",
                group(hit, by)
            );
            continue;
        };
        assert!((hit.score - other.score).abs() < ROUNDING && hit.images == other.images, "{:?}", group(hit, by));
        assert!((hit.best.score - other.best.score).abs() < ROUNDING, "{:?}", group(hit, by));
        assert!(hit.best.image_id == other.best.image_id || (hit.best.score - other.best.score).abs() < ROUNDING);
        match (&hit.embedding, &other.embedding) {
            (Some(found), Some(expected)) => assert!(found.cosine(expected).is_some_and(|cosine| cosine > 0.9999)),
            (found, expected) => assert!(found.is_none() && expected.is_none()),
        }
    }
}

async fn pages(store: &ByAddress, query: &NearestQuery, grouping: Grouping, whole: &[GroupHit]) {
    for limit in [1, 7, 14, 21] {
        let query = NearestQuery { limit, ..query.clone() };
        let page = store.nearest_groups("street", query, grouping).await.unwrap();
        let of_whole = &whole[..limit.min(whole.len())];
        let ids = |hits: &[GroupHit]| hits.iter().map(|hit| hit.best.image_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&page), ids(of_whole), "{grouping:?}: page by page as at once");
    }
}

#[tokio::test]
async fn both_stores_find_the_same_groups() {
    let mut random = Random(95);
    let (images, wanted) = street(&mut random);
    let (embedded, qdrant) = (Stand::embedded().await, Stand::qdrant());
    for store in [&embedded.store, &qdrant.store] {
        store.create(declaring("street", DIMENSION, &DECLARED)).await.unwrap();
        store.upsert("street", &model("a"), images.clone()).await.unwrap();
    }
    for (step, direction) in wanted.into_iter().enumerate() {
        let grouping = GROUPINGS[step % 4];
        let mut query = NearestQuery::new(direction, model("a"), 200);
        query.exact = step / 4 % 2 > 0;
        query.with_embeddings = step % 3 > 0;
        if step % 5 > 1 {
            query.filter = random_filter(&mut random);
        }
        let expected = embedded.store.nearest_groups("street", query.clone(), grouping).await.unwrap();
        let found = qdrant.store.nearest_groups("street", query.clone(), grouping).await.unwrap();
        assert_same_groups(&found, &expected, grouping.by);
        if step % 5 < 3 {
            pages(&embedded.store, &query, grouping, &expected).await;
            pages(&qdrant.store, &query, grouping, &found).await;
        }
    }
}
