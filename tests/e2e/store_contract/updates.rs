//! Promises about changing metadata, and about all images that meet a filter.

use super::brute_force::{DECLARED, matches, random_filter, random_images};
use super::gallery::{
    Random, assert_same_embedding, declaring, ids, image, model, of_person, query, texts, with_attribute,
};
use super::stand::Stand;
use descry_store::{CropBox, ImageMetadata, NearestQuery, SearchFilter};
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn updating_metadata_replaces_all_of_it(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create(declaring(&name, 2, &["coat"])).await.unwrap();
    let mut old = image("1", &[3.0, 4.0]);
    old.metadata.person_id = Some("ann".to_owned());
    old.metadata.camera_id = Some("north".to_owned());
    old.metadata.captured_at_ms = Some(5);
    let attributes = [("coat", "red"), ("hat", "none")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    old.metadata.attributes = BTreeMap::from(attributes);
    let other = image("2", &[0.0, 1.0]);
    store.upsert(&name, &model("a"), vec![old.clone(), other.clone()]).await.unwrap();

    let new = ImageMetadata {
        person_id: Some("bob \"7\"".to_owned()),
        camera_id: None,
        track_id: Some("4".to_owned()),
        frame_id: Some("f".to_owned()),
        crop_box: Some(CropBox { left_px: 1, top_px: 2, width_px: 3, height_px: 4 }),
        captured_at_ms: Some(-9),
        attributes: BTreeMap::from([("coat".to_owned(), "dark  blue".to_owned())]),
        content_sha256: "another".to_owned(),
        indexed_at_ms: 77,
    };
    let update = vec![("1".to_owned(), new.clone()), ("unknown".to_owned(), old.metadata.clone())];
    assert_eq!(store.update_metadata(&name, update).await.unwrap(), 1);
    assert_eq!(store.update_metadata(&name, Vec::new()).await.unwrap(), 0);
    // These two belong to the embedding.
    let (content_sha256, indexed_at_ms) = (old.metadata.content_sha256.clone(), old.metadata.indexed_at_ms);
    let new = ImageMetadata { content_sha256, indexed_at_ms, ..new };

    let found = store.images(&name, &texts(&["1", "2", "unknown"])).await.unwrap();
    assert_eq!((found.len(), &found["1"], &found["2"]), (2, &new, &other.metadata));
    let hits = store.nearest(&name, query(&[3.0, 4.0], 9)).await.unwrap();
    assert_eq!((ids(&hits), &hits[0].metadata), (vec!["1", "2"], &new));
    assert!((hits[0].score - 1.0).abs() < 1e-6, "the embedding is as it was: {}", hits[0].score);
    let embeddings = store.embeddings(&name, &texts(&["1"])).await.unwrap();
    assert_same_embedding(&embeddings["1"], &old.embedding);

    let captured = |from, before| SearchFilter {
        captured_from_ms: Some(from),
        captured_before_ms: Some(before),
        ..SearchFilter::default()
    };
    let camera = SearchFilter { camera_ids: texts(&["north"]), ..SearchFilter::default() };
    let filters = [
        (of_person("ann"), 0),
        (of_person("bob \"7\""), 1),
        (camera, 0),
        (captured(5, 6), 0),
        (captured(-9, -8), 1),
        (with_attribute("coat", &["red"]), 0),
        (with_attribute("coat", &["dark  blue"]), 1),
    ];
    for (filter, expected) in filters {
        assert_eq!(store.count(&name, &filter).await.unwrap(), expected, "{filter:?}");
        let hits = store.nearest(&name, NearestQuery { filter, ..query(&[1.0, 0.0], 9) }).await.unwrap();
        assert_eq!(hits.len() as u64, expected);
    }
}

pub(super) async fn many_updates_arrive_whole(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create(declaring(&name, 8, &DECLARED)).await.unwrap();
    let mut images = random_images(&mut Random(21), 300, 8);
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    for image in &mut images {
        image.metadata.person_id = Some(format!("new {}", image.image_id));
    }
    let updates = images.iter().map(|image| (image.image_id.clone(), image.metadata.clone())).collect();
    assert_eq!(store.update_metadata(&name, updates).await.unwrap(), 300);
    let all: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
    let found = store.images(&name, &all).await.unwrap();
    assert!(images.iter().all(|image| found[&image.image_id] == image.metadata));
    assert_eq!(store.count(&name, &of_person("new image 123")).await.unwrap(), 1);
}

pub(super) async fn what_meets_a_filter_is_counted_and_deleted(stand: Stand) {
    let (store, name, mut random) = (&stand.store, stand.name("street"), Random(23));
    let mut images = random_images(&mut random, 200, 6);
    store.create(declaring(&name, 6, &DECLARED)).await.unwrap();
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    let mut deletions = 0;
    while images.len() > 40 {
        let filter = random_filter(&mut random);
        let matching = images.iter().filter(|image| matches(image, &filter)).count();
        assert_eq!(store.count(&name, &filter).await.unwrap(), matching as u64, "{filter:?}");
        if matching == 0 || matching > images.len() / 2 {
            continue;
        }
        assert_eq!(store.delete_matching(&name, &filter).await.unwrap(), matching as u64, "{filter:?}");
        assert_eq!(store.delete_matching(&name, &filter).await.unwrap(), 0, "{filter:?}");
        images.retain(|image| !matches(image, &filter));
        deletions += 1;
        let hits = store.nearest(&name, NearestQuery::new(random.embedding(6), model("a"), 999)).await.unwrap();
        let found: BTreeSet<&str> = ids(&hits).into_iter().collect();
        let left: BTreeSet<&str> = images.iter().map(|image| image.image_id.as_str()).collect();
        assert_eq!(found, left);
    }
    assert!(deletions > 1);
    let everything = SearchFilter::default();
    let left = images.len() as u64;
    assert_eq!(store.count(&name, &everything).await.unwrap(), left);
    assert_eq!(store.delete_matching(&name, &everything).await.unwrap(), left);
    assert_eq!(store.count(&name, &everything).await.unwrap(), 0);
    assert_eq!(store.gallery(&name).await.unwrap().images, 0);
}

pub(super) async fn scrubbing_takes_nothing_that_was_not_deleted(stand: Stand) {
    let (store, name, mut random) = (&stand.store, stand.name("street"), Random(29));
    let images = random_images(&mut random, 60, 6);
    store.create(declaring(&name, 6, &DECLARED)).await.unwrap();
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    let (gone, left) = images.split_at(20);
    let gone: Vec<String> = gone.iter().map(|image| image.image_id.clone()).collect();
    store.delete_images(&name, &gone).await.unwrap();
    let what_is_kept = store.scrub(&name).await.unwrap().pending;
    assert_eq!(what_is_kept.is_empty(), !store.is_shared(), "{what_is_kept:?}");
    for _again in 0..2 {
        store.scrub(&name).await.unwrap();
        let ids: Vec<String> = left.iter().map(|image| image.image_id.clone()).collect();
        let found = store.embeddings(&name, &ids).await.unwrap();
        assert_eq!(found.len(), left.len());
        left.iter().for_each(|image| assert_same_embedding(&found[&image.image_id], &image.embedding));
        assert_eq!(store.gallery(&name).await.unwrap().images, left.len() as u64);
    }
    store.delete_gallery(&name).await.unwrap();
    store.scrub(&name).await.unwrap();
    assert!(store.galleries().await.unwrap().iter().all(|gallery| gallery.gallery != name));
}
