//! Promises about finding persons: each by the best of its images.

use super::brute_force::{DECLARED, ROUNDING, assert_in_order, matches, random_filter, random_images, score};
use super::gallery::{
    Random, assert_other_dimension, assert_other_model, declaring, ids, image, model, of_person, query,
};
use super::stand::Stand;
use descry_store::{GalleryImage, Hit, NearestQuery, SearchFilter};
use std::collections::BTreeMap;

const DIMENSION: usize = 12;

pub(super) async fn persons_agree_with_comparing_each_image(stand: Stand) {
    let (store, name, mut random) = (&stand.store, stand.name("street"), Random(17));
    let mut images = random_images(&mut random, 240, DIMENSION);
    // Many persons with few images, besides few persons with many.
    for image in &mut images[..80] {
        image.metadata.person_id = Some(format!("rare {}", random.below(40)));
    }
    store.create(declaring(&name, DIMENSION, &DECLARED)).await.unwrap();
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();

    for step in 0..60 {
        let limit = [1, 3, 10, 200][random.below(4) as usize];
        let mut query = NearestQuery::new(random.embedding(DIMENSION), model("a"), limit);
        if step % 3 > 0 {
            query.filter = random_filter(&mut random);
        }
        if step % 2 > 0 {
            // Between the scores of two images, so that rounding does not decide.
            let mut scores: Vec<f32> = images.iter().map(|image| score(image, &query)).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            query.min_score = Some((scores[40] + scores[41]) / 2.0);
        }
        let hits = store.nearest_persons(&name, query.clone()).await.unwrap();
        assert_persons_are_right(&hits, &query, &images);
    }
}

#[track_caller]
fn assert_persons_are_right(hits: &[Hit], query: &NearestQuery, images: &[GalleryImage]) {
    let mut best_of: BTreeMap<&str, f32> = BTreeMap::new();
    for image in images.iter().filter(|image| matches(image, &query.filter)) {
        let score = score(image, query);
        if let Some(person) = &image.metadata.person_id
            && query.min_score.is_none_or(|least| score >= least)
        {
            let best = best_of.entry(person).or_insert(score);
            *best = best.max(score);
        }
    }
    let mut expected: Vec<f32> = best_of.values().copied().collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    expected.truncate(query.limit);

    assert_eq!(hits.len(), expected.len(), "{:?} {:?}", query.filter, query.min_score);
    for (hit, expected) in hits.iter().zip(expected) {
        let image = images.iter().find(|image| image.image_id == hit.image_id).unwrap();
        assert_eq!(hit.metadata, image.metadata);
        assert!(matches(image, &query.filter), "{:?} for {:?}", hit.metadata, query.filter);
        assert!((hit.score - score(image, query)).abs() < ROUNDING, "the score belongs to the image");
        assert!((hit.score - expected).abs() < ROUNDING, "no better person is left out");
        let person = hit.metadata.person_id.as_deref().unwrap();
        let best = best_of.remove(person).unwrap_or_else(|| panic!("{person} is found twice"));
        assert!((hit.score - best).abs() < ROUNDING, "no better image of {person} is left out");
    }
    assert_in_order(hits);
}

pub(super) async fn each_person_is_found_by_its_best_image(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let images = [
        ("ann far", Some("ann"), [0.0, 1.0]),
        ("ann near", Some("ann"), [2.0, 1.0]),
        ("bob 3", Some("bob"), [1.0, 1.0]),
        ("bob 1", Some("bob"), [1.0, 1.0]),
        ("bob 2", Some("bob"), [1.0, 1.0]),
        ("nobody", None, [1.0, 0.0]),
        ("empty", Some(""), [-1.0, 0.0]),
    ];
    let images = images.map(|(id, person, values)| {
        let mut image = image(id, &values);
        image.metadata.person_id = person.map(str::to_owned);
        image
    });
    store.upsert(&name, &model("a"), images.to_vec()).await.unwrap();

    for limit in [0, 1, 2, 3, 99, usize::MAX] {
        let hits = store.nearest_persons(&name, query(&[1.0, 0.0], limit)).await.unwrap();
        assert_eq!(ids(&hits), ["ann near", "bob 1", "empty"][..limit.min(3)], "limit {limit}");
    }
    let only_bob = NearestQuery { filter: of_person("bob"), ..query(&[1.0, 0.0], 9) };
    assert_eq!(ids(&store.nearest_persons(&name, only_bob).await.unwrap()), ["bob 1"]);
    let far = SearchFilter { image_ids: vec!["ann far".to_owned(), "nobody".to_owned()], ..SearchFilter::default() };
    let far = NearestQuery { filter: far, exact: true, ..query(&[1.0, 0.0], 9) };
    assert_eq!(ids(&store.nearest_persons(&name, far).await.unwrap()), ["ann far"]);
}

pub(super) async fn persons_of_other_models_are_not_asked_for(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    assert!(store.nearest_persons(&name, query(&[1.0, 0.0], 9)).await.unwrap().is_empty());
    let other_model = NearestQuery { fingerprint: model("b"), ..query(&[1.0, 0.0], 1) };
    assert_other_model(store.nearest_persons(&name, other_model).await);
    assert_other_dimension(store.nearest_persons(&name, query(&[1.0, 0.0, 0.0], 1)).await);
}
