//! Promises about what comes back.

use super::brute_force::{assert_hits_are_right, random_filter, random_images};
use super::gallery::{
    Random, assert_other_dimension, assert_other_model, assert_same_embedding, declaring, ids, image, model, query,
    texts,
};
use super::stand::Stand;
use descry_store::{CropBox, ImageMetadata, NearestQuery};
use std::collections::BTreeMap;

pub(super) async fn metadata_survives_unchanged(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 1).await.unwrap();
    let attributes: [(&str, &str); 8] = [
        ("", "empty key"),
        ("empty value", ""),
        ("a.b[0].c", "a path?"),
        ("quotes \"'`", "'); DROP TABLE image; --"),
        ("ключ", "значение 😀"),
        ("line\nbreak", "tab\tnul\u{0}"),
        ("image_id", "like a field of the store"),
        ("long", &"x".repeat(10_000)),
    ];
    let attributes: BTreeMap<String, String> =
        attributes.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let full = ImageMetadata {
        person_id: Some("person \"7\"/ü".to_owned()),
        camera_id: Some(String::new()),
        track_id: Some("track \"9\"/ß".to_owned()),
        frame_id: Some("c1/000001.jpg".to_owned()),
        crop_box: Some(CropBox { left_px: i32::MIN, top_px: -1, width_px: u32::MAX, height_px: 1 }),
        captured_at_ms: Some(-1),
        attributes,
        content_sha256: "0123456789abcdef".repeat(4),
        indexed_at_ms: 1_700_000_000_123,
    };
    let zero = ImageMetadata { captured_at_ms: Some(0), indexed_at_ms: -1, ..ImageMetadata::default() };
    let expected = [("full", full), ("zero", zero), ("bare", ImageMetadata::default())];
    let images = expected.iter().map(|(id, metadata)| {
        let mut image = image(id, &[1.0]);
        image.metadata = metadata.clone();
        image
    });
    store.upsert(&name, &model("a"), images.collect()).await.unwrap();

    let asked = texts(&["full", "zero", "bare", "unknown", "full"]);
    let found = store.images(&name, &asked).await.unwrap();
    let hits = store.nearest(&name, query(&[1.0], 9)).await.unwrap();
    assert_eq!((found.len(), hits.len()), (3, 3));
    for (id, metadata) in &expected {
        assert_eq!(&found[*id], metadata, "images: {id}");
        let hit = hits.iter().find(|hit| hit.image_id == *id).unwrap();
        assert_eq!(&hit.metadata, metadata, "nearest: {id}");
    }
}

pub(super) async fn ids_may_be_any_text(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 1).await.unwrap();
    let long = format!("{}/0001.jpg", "folder".repeat(600));
    let mut all = texts(&[
        "cam1/2024-01-01/0001.jpg",
        "../../etc/passwd",
        "C:\\images\\1.png",
        "it's \"quoted\"; -- %s {}",
        "写真 №1 😀",
        "e\u{301}",
        "\u{e9}",
        "",
        " ",
        "nul\u{0}",
        "nul",
        "line\r\nbreak",
        "8b1d5c52-6a0f-4c6e-9f0c-3c7e52a1d9b4",
        "42",
        &long,
    ]);
    store.upsert(&name, &model("a"), all.iter().map(|id| image(id, &[1.0])).collect()).await.unwrap();
    all.sort();
    assert_eq!(ids(&store.nearest(&name, query(&[1.0], 99)).await.unwrap()), all);
    let found = store.images(&name, &all).await.unwrap();
    for id in &all {
        assert_eq!(found[id].content_sha256, format!("sha of {id}"));
    }
    assert_eq!(store.delete_images(&name, &all[3..]).await.unwrap(), all.len() as u64 - 3);
    assert_eq!(ids(&store.nearest(&name, query(&[1.0], 99)).await.unwrap()), all[..3]);
}

pub(super) async fn galleries_do_not_mix(stand: Stand) {
    let store = &stand.store;
    let names = [stand.name("a"), stand.name("ab"), stand.name("a-b")];
    for name in &names {
        store.create_gallery(name, &model("a"), 2).await.unwrap();
        let mut own = image("b1", &[1.0, 0.0]);
        own.metadata.content_sha256 = name.clone();
        store.upsert(name, &model("a"), vec![own, image("1", &[0.0, 1.0])]).await.unwrap();
    }
    assert_eq!(store.delete_images(&names[0], &texts(&["b1"])).await.unwrap(), 1);
    assert_eq!(ids(&store.nearest(&names[0], query(&[1.0, 0.0], 9)).await.unwrap()), ["1"]);
    for name in &names[1..] {
        let hits = store.nearest(name, query(&[1.0, 0.0], 9)).await.unwrap();
        assert_eq!(ids(&hits), ["b1", "1"]);
        assert_eq!(&hits[0].metadata.content_sha256, name);
    }
}

pub(super) async fn scores_are_cosines_in_falling_order(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 3).await.unwrap();
    let images = vec![
        image("opposite", &[-2.0, 0.0, 0.0]),
        image("near", &[3.0, 4.0, 0.0]),
        image("same", &[5.0, 0.0, 0.0]),
        image("across", &[0.0, 0.0, 7.0]),
    ];
    store.upsert(&name, &model("a"), images).await.unwrap();
    let hits = store.nearest(&name, query(&[9.0, 0.0, 0.0], 9)).await.unwrap();
    assert_eq!(ids(&hits), ["same", "near", "across", "opposite"]);
    for (hit, expected) in hits.iter().zip([1.0, 0.6, 0.0, -1.0]) {
        assert!((hit.score - expected).abs() < 1e-6, "{}: {}", hit.image_id, hit.score);
        assert!((-1.0..=1.0).contains(&hit.score), "{}: {}", hit.image_id, hit.score);
    }
}

pub(super) async fn ties_are_broken_by_image_id(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    // Written in an order that is neither rising nor falling, with a better and a worse image around the ties.
    let mut images: Vec<_> = (0..60).map(|step| image(&format!("{:02}", step * 37 % 60), &[1.0, 1.0])).collect();
    images.insert(20, image("worst", &[0.0, 1.0]));
    images.insert(40, image("zz best", &[1.0, 0.0]));
    store.upsert(&name, &model("a"), images).await.unwrap();

    let mut expected = vec!["zz best".to_owned()];
    expected.extend((0..60).map(|number| format!("{number:02}")));
    expected.push("worst".to_owned());
    // Every limit cuts the ties somewhere else.
    for limit in [1, 2, 7, 31, 60, 61, 62, 63] {
        let hits = store.nearest(&name, query(&[1.0, 0.0], limit)).await.unwrap();
        assert_eq!(ids(&hits), expected[..limit.min(62)], "limit {limit}");
    }
}

pub(super) async fn limits_may_be_anything(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let images = ["1", "2", "3"].map(|id| image(id, &[1.0, 0.0])).to_vec();
    store.upsert(&name, &model("a"), images).await.unwrap();
    for (limit, expected) in [(0, 0), (1, 1), (3, 3), (4, 3), (100_000, 3), (usize::MAX, 3)] {
        let hits = store.nearest(&name, query(&[1.0, 0.0], limit)).await.unwrap();
        assert_eq!(hits.len(), expected, "limit {limit}");
    }
}

pub(super) async fn an_empty_gallery_has_no_hits(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    store.upsert(&name, &model("a"), Vec::new()).await.unwrap();
    for limit in [0, 10, usize::MAX] {
        assert!(store.nearest(&name, query(&[1.0, 0.0], limit)).await.unwrap().is_empty());
    }
    assert!(store.images(&name, &texts(&["1"])).await.unwrap().is_empty());
    assert_eq!(store.delete_images(&name, &texts(&["1"])).await.unwrap(), 0);
}

pub(super) async fn queries_of_other_models_are_refused(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let mut other_model = query(&[1.0, 0.0], 1);
    other_model.fingerprint = model("b");
    assert_other_model(store.nearest(&name, other_model).await);
    assert_other_dimension(store.nearest(&name, query(&[1.0, 0.0, 0.0], 1)).await);
    assert_other_dimension(store.nearest(&name, query(&[1.0, 0.0, 0.0], 0)).await);
}

pub(super) async fn embeddings_come_back_by_image_id(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 24).await.unwrap();
    let images = random_images(&mut Random(11), 300, 24);
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    let mut asked: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
    asked.extend(texts(&["unknown", "image 7"]));
    let found = store.embeddings(&name, &asked).await.unwrap();
    assert_eq!(found.len(), 300);
    for image in &images {
        assert_same_embedding(&found[&image.image_id], &image.embedding);
    }
    assert!(store.embeddings(&name, &[]).await.unwrap().is_empty());
}

pub(super) async fn hits_bring_embeddings_when_asked(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 24).await.unwrap();
    let images = random_images(&mut Random(12), 60, 24);
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    let mut query = NearestQuery::new(images[5].embedding.clone(), model("a"), 20);
    let mut hits = store.nearest(&name, query.clone()).await.unwrap();
    hits.extend(store.nearest_persons(&name, query.clone()).await.unwrap());
    assert!(hits.iter().all(|hit| hit.embedding.is_none()));
    query.with_embeddings = true;
    let mut hits = store.nearest(&name, query.clone()).await.unwrap();
    hits.extend(store.nearest_persons(&name, query).await.unwrap());
    assert_eq!(hits[0].image_id, images[5].image_id);
    for hit in &hits {
        let image = images.iter().find(|image| image.image_id == hit.image_id).unwrap();
        assert_same_embedding(hit.embedding.as_ref().unwrap(), &image.embedding);
    }
}

pub(super) async fn hits_below_the_least_score_are_left_out(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let mut images = [("same", 1.0, 0.0), ("near", 3.0, 4.0), ("across", 0.0, 1.0), ("opposite", -1.0, 0.0)]
        .map(|(id, x, y)| image(id, &[x, y]));
    for image in &mut images {
        image.metadata.person_id = Some(format!("person {}", image.image_id));
    }
    store.upsert(&name, &model("a"), images.to_vec()).await.unwrap();
    for (least, expected) in [(-1.5, 4), (-0.5, 3), (0.1, 2), (0.59, 2), (0.61, 1), (0.99, 1), (1.5, 0)] {
        for limit in [9, 2] {
            let query = NearestQuery { min_score: Some(least), ..query(&[1.0, 0.0], limit) };
            let hits = store.nearest(&name, query.clone()).await.unwrap();
            assert_eq!(ids(&hits), ["same", "near", "across", "opposite"][..expected.min(limit)], "{least}");
            let persons = store.nearest_persons(&name, query).await.unwrap();
            assert_eq!(ids(&persons), ids(&hits), "{least}");
        }
    }
}

pub(super) async fn exact_queries_agree_with_comparing_each_image(stand: Stand) {
    let (store, name, mut random) = (&stand.store, stand.name("street"), Random(13));
    store.create(declaring(&name, 32, &["coat", "bag"])).await.unwrap();
    let images = random_images(&mut random, 400, 32);
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    for _ in 0..20 {
        let query = NearestQuery {
            exact: true,
            filter: random_filter(&mut random),
            ..NearestQuery::new(random.embedding(32), model("a"), 10)
        };
        let hits = store.nearest(&name, query.clone()).await.unwrap();
        assert_hits_are_right(&hits, &query, &images);
    }
}

pub(super) async fn a_running_store_is_ready(stand: Stand) {
    stand.store.ready().await.unwrap();
}
