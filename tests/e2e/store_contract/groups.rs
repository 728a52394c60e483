//! Promises about finding persons and tracks, each by its best image or by the mean embedding of its images.

use super::brute_force::{DECLARED, ROUNDING, matches, random_filter, random_images, score};
use super::gallery::{
    Random, assert_not_found, assert_other_dimension, assert_other_model, assert_same_embedding, assert_undeclared,
    declaring, embedding, image, model, of_person, query, with_attribute,
};
use super::stand::Stand;
use descry_model::Embedding;
use descry_store::{GalleryImage, GroupBy, GroupHit, Grouping, ImageMetadata, NearestQuery, Pool, SearchFilter};
use std::collections::BTreeMap;

const DIMENSION: usize = 12;

pub(super) const GROUPINGS: [Grouping; 4] = [
    Grouping { by: GroupBy::Person, pool: Pool::Best },
    Grouping { by: GroupBy::Person, pool: Pool::Mean },
    Grouping { by: GroupBy::Track, pool: Pool::Best },
    Grouping { by: GroupBy::Track, pool: Pool::Mean },
];

/// A person, or a track with its camera.
type Key<'a> = (Option<&'a str>, &'a str);

fn key(metadata: &ImageMetadata, by: GroupBy) -> Option<Key<'_>> {
    match by {
        GroupBy::Person => Some((None, metadata.person_id.as_deref()?)),
        GroupBy::Track => Some((metadata.camera_id.as_deref(), metadata.track_id.as_deref()?)),
    }
}

/// A group as the plainest computation has it.
struct Expected {
    score: f32,
    best_score: f32,
    embedding: Embedding,
    images: u64,
}

/// Adds all embeddings and compares the mean, or compares them one by one.
fn expected(images: &[&GalleryImage], query: &NearestQuery, pool: Pool) -> Expected {
    let best = images.iter().max_by(|a, b| score(a, query).total_cmp(&score(b, query))).unwrap();
    let best_score = score(best, query);
    let embedding = match pool {
        Pool::Best => best.embedding.clone(),
        Pool::Mean => {
            let mut sum = vec![0.0_f64; query.embedding.dimension()];
            for image in images {
                sum.iter_mut().zip(image.embedding.as_slice()).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
            embedding(&sum.iter().map(|value| (value / length) as f32).collect::<Vec<_>>())
        }
    };
    let score = embedding.cosine(&query.embedding).unwrap();
    Expected { score, best_score, embedding, images: images.len() as u64 }
}

/// Every group of the images that meet the filter.
fn all_groups<'a>(
    images: &'a [GalleryImage],
    query: &NearestQuery,
    Grouping { by, pool }: Grouping,
) -> BTreeMap<Key<'a>, Expected> {
    let mut members: BTreeMap<Key<'_>, Vec<&GalleryImage>> = BTreeMap::new();
    for image in images.iter().filter(|image| matches(image, &query.filter)) {
        if let Some(key) = key(&image.metadata, by) {
            members.entry(key).or_default().push(image);
        }
    }
    members.into_iter().map(|(key, images)| (key, expected(&images, query, pool))).collect()
}

/// The hits are the best of all groups, up to the rounding of scores, in the promised order, and say of each what is so.
#[track_caller]
pub(super) fn assert_groups_are_right(
    hits: &[GroupHit],
    query: &NearestQuery,
    grouping: Grouping,
    images: &[GalleryImage],
) {
    let mut groups = all_groups(images, query, grouping);
    groups.retain(|_, group| query.min_score.is_none_or(|least| group.score >= least));
    let mut scores: Vec<f32> = groups.values().map(|group| group.score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.truncate(query.limit);

    assert_eq!(hits.len(), scores.len(), "{grouping:?} {:?} {:?}", query.filter, query.min_score);
    for (hit, best_left) in hits.iter().zip(scores) {
        let image = images.iter().find(|image| image.image_id == hit.best.image_id).unwrap();
        assert_eq!(hit.best.metadata, image.metadata);
        assert!(matches(image, &query.filter), "{:?} for {:?}", hit.best.metadata, query.filter);
        let key = key(&image.metadata, grouping.by).unwrap();
        let group = groups.remove(&key).unwrap_or_else(|| panic!("{key:?} is found twice, or is none"));
        assert!((hit.score - best_left).abs() < ROUNDING, "{grouping:?}: a better group than {key:?} is left out");
        assert!((hit.score - group.score).abs() < ROUNDING, "{grouping:?}: {} for {}", hit.score, group.score);
        assert!((hit.best.score - group.best_score).abs() < ROUNDING, "a better image of {key:?} is left out");
        assert!((hit.best.score - score(image, query)).abs() < ROUNDING, "the best image has its own score");
        match grouping.pool {
            Pool::Best => assert!(hit.images.is_none_or(|count| count == group.images)),
            Pool::Mean => assert_eq!(hit.images, Some(group.images), "{key:?}"),
        }
        assert_eq!(
            (hit.embedding.is_some(), hit.best.embedding.is_some()),
            (query.with_embeddings, query.with_embeddings)
        );
        if let (Some(of_group), Some(of_best)) = (&hit.embedding, &hit.best.embedding) {
            assert_same_embedding(of_best, &image.embedding);
            match grouping.pool {
                Pool::Best => assert_same_embedding(of_group, &image.embedding),
                Pool::Mean => assert_same_embedding(of_group, &group.embedding),
            }
        }
    }
    let in_order = |pair: &[GroupHit]| {
        let (first, next) = (&pair[0], &pair[1]);
        first.score > next.score || (first.score == next.score && first.best.image_id < next.best.image_id)
    };
    assert!(hits.windows(2).all(in_order), "falling scores, rising ids of the best images");
}

/// Images of which some have much in common with others of their group, as those of a person have, and some nothing.
pub(super) fn random_groups(random: &mut Random, count: usize, dimension: usize) -> Vec<GalleryImage> {
    let mut images = random_images(random, count, dimension);
    let directions: Vec<Embedding> = (0..30).map(|_| random.embedding(dimension)).collect();
    for image in &mut images[..count / 2] {
        // Many groups with few images, besides few groups with many.
        let person = random.below(30) as usize;
        image.metadata.person_id = Some(format!("rare {person}"));
        image.metadata.track_id = Some(format!("rare {}", random.below(20)));
        let near = directions[person].as_slice().iter().zip(image.embedding.as_slice());
        image.embedding = embedding(&near.map(|(common, own)| common + 0.5 * own).collect::<Vec<_>>());
    }
    // Names that would be the same where camera and track are joined, and a camera without name besides no camera.
    let alike = [(Some("a"), "b/1"), (Some("a/b"), "1"), (None, "1"), (Some(""), "1"), (Some("a/b/1"), "")];
    for (image, (camera, track)) in images.iter_mut().rev().zip(alike.iter().cycle()).take(25) {
        image.metadata.camera_id = camera.map(str::to_owned);
        image.metadata.track_id = Some((*track).to_owned());
    }
    images
}

/// A least score that lies between those of two groups, so that rounding does not decide.
fn between_two(images: &[GalleryImage], query: &NearestQuery, grouping: Grouping) -> Option<f32> {
    let groups = all_groups(images, query, grouping);
    let mut scores: Vec<f32> = groups.values().map(|group| group.score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let middle = scores.len() / 2;
    (middle > 0 && scores[middle - 1] - scores[middle] > 4.0 * ROUNDING)
        .then(|| (scores[middle - 1] + scores[middle]) / 2.0)
}

pub(super) async fn groups_agree_with_scoring_all_of_them(stand: Stand) {
    for seed in [71, 72, 73] {
        let (store, name, mut random) = (&stand.store, stand.name(&format!("street{seed}")), Random(seed));
        let images = random_groups(&mut random, 200, DIMENSION);
        store.create(declaring(&name, DIMENSION, &DECLARED)).await.unwrap();
        store.upsert(&name, &model("a"), images.clone()).await.unwrap();
        for step in 0..48 {
            let grouping = GROUPINGS[step % 4];
            let limit = [1, 3, 10, 200][random.below(4) as usize];
            let mut query = NearestQuery::new(random.embedding(DIMENSION), model("a"), limit);
            if step % 3 > 0 {
                query.filter = random_filter(&mut random);
            }
            if random.below(2) > 0 {
                query.min_score = between_two(&images, &query, grouping);
            }
            query.exact = random.below(3) == 0;
            query.with_embeddings = random.below(2) > 0;
            let hits = store.nearest_groups(&name, query.clone(), grouping).await.unwrap();
            assert_groups_are_right(&hits, &query, grouping, &images);
        }
    }
}

pub(super) async fn groups_follow_what_is_written_and_removed(stand: Stand) {
    let (store, name, mut random) = (&stand.store, stand.name("street"), Random(74));
    let mut images = random_groups(&mut random, 120, DIMENSION);
    store.create(declaring(&name, DIMENSION, &DECLARED)).await.unwrap();
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    for step in 0..12 {
        let at = random.below(images.len() as u64) as usize;
        match step % 3 {
            0 => {
                let gone = images.remove(at);
                assert_eq!(store.delete_images(&name, &[gone.image_id]).await.unwrap(), 1);
            }
            1 => {
                images[at].embedding = random.embedding(DIMENSION);
                store.upsert(&name, &model("a"), vec![images[at].clone()]).await.unwrap();
            }
            _ => {
                images[at].metadata.person_id = Some("rare 3".to_owned());
                images[at].metadata.track_id = None;
                let changed = (images[at].image_id.clone(), images[at].metadata.clone());
                assert_eq!(store.update_metadata(&name, vec![changed]).await.unwrap(), 1);
            }
        }
        for grouping in GROUPINGS {
            let query = NearestQuery::new(random.embedding(DIMENSION), model("a"), 20);
            let hits = store.nearest_groups(&name, query.clone(), grouping).await.unwrap();
            assert_groups_are_right(&hits, &query, grouping, &images);
        }
    }
}

fn of(image_id: &str, person: &str, camera: Option<&str>, track: Option<&str>, values: [f32; 2]) -> GalleryImage {
    let mut image = image(image_id, &values);
    image.metadata.person_id = Some(person.to_owned());
    image.metadata.camera_id = camera.map(str::to_owned);
    image.metadata.track_id = track.map(str::to_owned);
    image
}

pub(super) async fn equal_groups_come_by_their_best_images(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let images = [
        of("6", "ann", Some("c1"), Some("1"), [0.0, 1.0]),
        of("5", "ann", Some("c1"), Some("1"), [1.0, 0.0]),
        of("4", "bob", Some("c2"), Some("1"), [1.0, 0.0]),
        of("3", "bob", Some("c2"), Some("1"), [0.0, 1.0]),
        of("2", "cat", Some("c1"), Some("2"), [1.0, 0.0]),
        of("1", "cat", Some("c1"), Some("2"), [-1.0, 0.0]),
        of("0", "dan", None, None, [1.0, 0.1]),
    ];
    store.upsert(&name, &model("a"), images.to_vec()).await.unwrap();
    let found = async |by, pool, limit| {
        let hits = store.nearest_groups(&name, query(&[1.0, 0.0], limit), Grouping { by, pool }).await.unwrap();
        hits.into_iter().map(|hit| hit.best.image_id).collect::<Vec<_>>()
    };
    for limit in [0, 1, 2, 3, 99, usize::MAX] {
        // The mean of a person that is seen from two sides that cancel each other out has no direction.
        assert_eq!(found(GroupBy::Person, Pool::Mean, limit).await, ["0", "4", "5"][..limit.min(3)], "limit {limit}");
        assert_eq!(found(GroupBy::Person, Pool::Best, limit).await, ["2", "4", "5", "0"][..limit.min(4)]);
        assert_eq!(found(GroupBy::Track, Pool::Mean, limit).await, ["4", "5"][..limit.min(2)]);
        assert_eq!(found(GroupBy::Track, Pool::Best, limit).await, ["2", "4", "5"][..limit.min(3)]);
    }
    // Of what meets the filter alone the mean is taken.
    let filter = SearchFilter { none: vec![one("6")], ..of_person("ann") };
    let only = NearestQuery { filter, with_embeddings: true, ..query(&[1.0, 0.0], 9) };
    let hits = store.nearest_groups(&name, only, GROUPINGS[1]).await.unwrap();
    assert_eq!((hits.len(), hits[0].images), (1, Some(1)));
    assert_same_embedding(hits[0].embedding.as_ref().unwrap(), &embedding(&[1.0, 0.0]));
}

fn one(image_id: &str) -> SearchFilter {
    SearchFilter { image_ids: vec![image_id.to_owned()], ..SearchFilter::default() }
}

pub(super) async fn groups_of_other_models_are_not_asked_for(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    for grouping in GROUPINGS {
        let ask = async |query| store.nearest_groups(&name, query, grouping).await;
        assert!(ask(query(&[1.0, 0.0], 9)).await.unwrap().is_empty());
        assert_other_model(ask(NearestQuery { fingerprint: model("b"), ..query(&[1.0, 0.0], 1) }).await);
        assert_other_dimension(ask(query(&[1.0, 0.0, 0.0], 1)).await);
        let filter = with_attribute("hat", &["red"]);
        assert_undeclared(ask(NearestQuery { filter, ..query(&[1.0, 0.0], 1) }).await, "hat");
        let nowhere = stand.name("nowhere");
        assert_not_found(store.nearest_groups(&nowhere, query(&[1.0, 0.0], 1), grouping).await, &nowhere);
    }
}
