//! Promises about galleries, and about writing and deleting images.

use super::gallery::{
    assert_not_found, assert_other_dimension, assert_other_model, declaring, ids, image, model, of_person, query, texts,
};
use super::stand::Stand;
use descry_store::{NewGallery, PageRequest, SearchFilter, StoreError};

pub(super) async fn creating_again_returns_the_existing_gallery(stand: Stand) {
    let name = stand.name("street");
    let created = stand.store.create_gallery(&name, &model("a"), 2).await.unwrap();
    assert_eq!(
        (created.generation.gallery.as_str(), created.generation.dimension, created.images),
        (name.as_str(), 2, 0)
    );
    assert_eq!(created.generation.fingerprint, model("a"));
    assert!(
        created.generation.created_at_ms > 1_600_000_000_000,
        "milliseconds since 1970: {}",
        created.generation.created_at_ms
    );
    assert_eq!(stand.store.gallery(&name).await.unwrap(), created);

    stand.store.upsert(&name, &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    let again = stand.store.create_gallery(&name, &model("a"), 2).await.unwrap();
    assert_eq!((again.generation.created_at_ms, again.images), (created.generation.created_at_ms, 1));
}

pub(super) async fn a_name_belongs_to_one_model(stand: Stand) {
    let name = stand.name("street");
    stand.store.create_gallery(&name, &model("a"), 2).await.unwrap();
    match stand.store.create_gallery(&name, &model("b"), 2).await {
        Err(StoreError::GalleryExists { name: taken, fingerprint }) => {
            assert_eq!((taken, fingerprint), (name.clone(), model("a")));
        }
        other => panic!("expected that the gallery exists, got {other:?}"),
    }
    assert_other_dimension(stand.store.create_gallery(&name, &model("a"), 3).await);
    let without_dimension = stand.store.create_gallery(&stand.name("none"), &model("a"), 0).await;
    assert!(matches!(&without_dimension, Err(StoreError::Invalid { field, .. }) if field == "dimension"));
}

pub(super) async fn unknown_galleries_are_named(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("nowhere"));
    assert_not_found(store.gallery(&name).await, &name);
    assert_not_found(store.delete_gallery(&name).await, &name);
    assert_not_found(store.upsert(&name, &model("a"), vec![image("1", &[1.0])]).await, &name);
    assert_not_found(store.upsert(&name, &model("a"), Vec::new()).await, &name);
    assert_not_found(store.delete_images(&name, &texts(&["1"])).await, &name);
    assert_not_found(store.delete_images(&name, &[]).await, &name);
    assert_not_found(store.images(&name, &texts(&["1"])).await, &name);
    assert_not_found(store.images(&name, &[]).await, &name);
    assert_not_found(store.nearest(&name, query(&[1.0], 1)).await, &name);
    assert_not_found(store.nearest(&name, query(&[1.0], 0)).await, &name);
    assert_not_found(store.nearest_persons(&name, query(&[1.0], 1)).await, &name);
    let image = image("1", &[1.0]);
    assert_not_found(store.update_metadata(&name, vec![(image.image_id, image.metadata)]).await, &name);
    assert_not_found(store.update_metadata(&name, Vec::new()).await, &name);
    let everything = SearchFilter::default();
    assert_not_found(store.delete_matching(&name, &everything).await, &name);
    assert_not_found(store.count(&name, &everything).await, &name);
    assert_not_found(store.embeddings(&name, &texts(&["1"])).await, &name);
    assert_not_found(store.page(&name, PageRequest { limit: 7, ..PageRequest::default() }).await, &name);
    assert_not_found(store.create_generation(&name, &model("a"), 1).await, &name);
    assert_not_found(store.generations(&name).await, &name);
    assert_not_found(store.activate(&name, 1).await, &format!("{name}.1"));
    assert_not_found(store.delete_generation(&name, 1).await, &format!("{name}.1"));
    assert_not_found(store.documents(&name).await, &name);
    assert_not_found(store.document(&name, "key").await, &name);
    assert_not_found(store.put_document(&name, "key", Some("text".to_owned())).await, &name);
    assert_not_found(store.put_document(&name, "key", None).await, &name);
}

pub(super) async fn settings_are_kept_as_given_first(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    let mut new = declaring(&name, 8, &["coat", "bag"]);
    new.settings.qdrant.shard_number = Some(1);
    new.settings.qdrant.on_disk_vectors = Some(true);
    new.settings.qdrant.hnsw_m = Some(24);
    let created = store.create(new.clone()).await.unwrap();
    assert_eq!(created.generation.settings, new.settings);
    assert_eq!(store.gallery(&name).await.unwrap(), created);
    let again = store.create(NewGallery::new(&name, &model("a"), 8)).await.unwrap();
    assert_eq!(again, created);
    let next = store.create_generation(&name, &model("b"), 8).await.unwrap();
    assert_eq!(next.generation.settings, new.settings);
}

pub(super) async fn galleries_are_listed_by_name(stand: Stand) {
    for (gallery, images) in [("yard", 0), ("a-street", 2), ("a_street", 1)] {
        let name = stand.name(gallery);
        stand.store.create_gallery(&name, &model(gallery), 1).await.unwrap();
        let images = (0..images).map(|id| image(&id.to_string(), &[1.0])).collect();
        stand.store.upsert(&name, &model(gallery), images).await.unwrap();
    }
    let own_prefix = stand.name("");
    let listed = stand.store.list_galleries().await.unwrap();
    let listed: Vec<_> = listed
        .into_iter()
        .filter(|gallery| gallery.generation.gallery.starts_with(&own_prefix))
        .map(|gallery| (gallery.generation.gallery, gallery.generation.fingerprint, gallery.images))
        .collect();
    let expected = |gallery: &str, images| (stand.name(gallery), model(gallery), images);
    assert_eq!(listed, [expected("a-street", 2), expected("a_street", 1), expected("yard", 0)]);
}

pub(super) async fn a_deleted_gallery_leaves_nothing_behind(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("b"), 3).await.unwrap();
    store.upsert(&name, &model("b"), vec![image("1", &[1.0, 0.0, 0.0])]).await.unwrap();
    store.delete_gallery(&name).await.unwrap();
    assert_not_found(store.gallery(&name).await, &name);
    assert_not_found(store.delete_gallery(&name).await, &name);

    let anew = store.create_gallery(&name, &model("a"), 2).await.unwrap();
    assert_eq!((anew.images, anew.generation.fingerprint), (0, model("a")));
    assert!(store.images(&name, &texts(&["1"])).await.unwrap().is_empty());
    assert!(store.nearest(&name, query(&[1.0, 0.0], 5)).await.unwrap().is_empty());
}

pub(super) async fn writing_again_replaces(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let mut first = image("1", &[1.0, 0.0]);
    first.metadata.person_id = Some("ann".to_owned());
    first.metadata.attributes.insert("coat".to_owned(), "red".to_owned());
    store.upsert(&name, &model("a"), vec![first, image("2", &[0.0, 1.0])]).await.unwrap();
    let mut second = image("1", &[-1.0, 0.0]);
    second.metadata.person_id = Some("bob".to_owned());
    store.upsert(&name, &model("a"), vec![second.clone()]).await.unwrap();

    assert_eq!(store.gallery(&name).await.unwrap().images, 2);
    let hits = store.nearest(&name, query(&[1.0, 0.0], 5)).await.unwrap();
    assert_eq!(ids(&hits), ["2", "1"], "the new embedding counts");
    assert_eq!(hits[1].metadata, second.metadata, "nothing of the old metadata is left");
    for (person, expected) in [("ann", 0), ("bob", 1)] {
        let mut filtered = query(&[1.0, 0.0], 5);
        filtered.filter = of_person(person);
        assert_eq!(store.nearest(&name, filtered).await.unwrap().len(), expected, "{person}");
    }
}

pub(super) async fn of_equal_ids_in_one_write_the_last_wins(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let mut images: Vec<_> = (0..4).map(|_| image("1", &[1.0, 0.0])).collect();
    images.push(image("2", &[1.0, 1.0]));
    let mut last = image("1", &[0.0, 1.0]);
    last.metadata.content_sha256 = "the last".to_owned();
    images.push(last);
    store.upsert(&name, &model("a"), images).await.unwrap();

    assert_eq!(store.gallery(&name).await.unwrap().images, 2);
    let hits = store.nearest(&name, query(&[0.0, 1.0], 5)).await.unwrap();
    assert_eq!(ids(&hits), ["1", "2"]);
    assert_eq!(hits[0].metadata.content_sha256, "the last");
}

pub(super) async fn other_models_are_refused_before_anything_is_written(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    assert_other_model(store.upsert(&name, &model("b"), vec![image("1", &[1.0, 0.0])]).await);
    assert_other_model(store.upsert(&name, &model("b"), Vec::new()).await);
    let mixed = vec![image("1", &[1.0, 0.0]), image("2", &[1.0, 0.0, 0.0])];
    assert_other_dimension(store.upsert(&name, &model("a"), mixed).await);
    assert_eq!(store.gallery(&name).await.unwrap().images, 0);
}

pub(super) async fn deleting_counts_what_existed(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let images = ["1", "2", "3", "4"].map(|id| image(id, &[1.0, 0.0])).to_vec();
    store.upsert(&name, &model("a"), images).await.unwrap();

    assert_eq!(store.delete_images(&name, &[]).await.unwrap(), 0);
    assert_eq!(store.delete_images(&name, &texts(&["2", "unknown", "4", "2"])).await.unwrap(), 2);
    assert_eq!(store.delete_images(&name, &texts(&["2"])).await.unwrap(), 0);
    assert_eq!(store.gallery(&name).await.unwrap().images, 2);
    assert_eq!(ids(&store.nearest(&name, query(&[1.0, 0.0], 9)).await.unwrap()), ["1", "3"]);

    store.upsert(&name, &model("a"), vec![image("2", &[1.0, 0.0])]).await.unwrap();
    assert_eq!(ids(&store.nearest(&name, query(&[1.0, 0.0], 9)).await.unwrap()), ["1", "2", "3"]);
}

pub(super) async fn large_writes_arrive_whole(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let all: Vec<String> = (0..700).map(|number| format!("{number:03}")).collect();
    let images = all.iter().map(|id| image(id, &[1.0, 0.0])).collect();
    store.upsert(&name, &model("a"), images).await.unwrap();
    assert_eq!(store.gallery(&name).await.unwrap().images, 700);
    assert_eq!(store.images(&name, &all).await.unwrap().len(), 700);
    assert_eq!(ids(&store.nearest(&name, query(&[1.0, 0.0], 700)).await.unwrap()), all);
    assert_eq!(store.delete_images(&name, &all).await.unwrap(), 700);
    assert_eq!(store.gallery(&name).await.unwrap().images, 0);
}

pub(super) async fn concurrent_writes_all_arrive(stand: Stand) {
    let name = stand.name("street");
    stand.store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (store, name) = (stand.store.clone(), name.clone());
        writers.spawn(async move {
            for step in 0..5 {
                let images = vec![image(&format!("{writer}-{step}"), &[1.0, 0.0]), image("shared", &[0.0, 1.0])];
                store.upsert(&name, &model("a"), images).await.unwrap();
                let hits = store.nearest(&name, query(&[1.0, 0.0], 100)).await.unwrap();
                let own = hits.iter().filter(|hit| hit.image_id.starts_with(&format!("{writer}-"))).count();
                assert_eq!(own, step + 1, "what was acknowledged is found");
            }
        });
    }
    writers.join_all().await;
    assert_eq!(stand.store.gallery(&name).await.unwrap().images, 41);
}
