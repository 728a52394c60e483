//! Promises about generations: galleries that change their model while they serve.

use super::gallery::{
    assert_not_found, assert_other_model, declaring, ids, image, model, query, texts, with_attribute,
};
use super::stand::Stand;
use descry_store::{GalleryImage, Generations, Hit, NearestQuery, SearchFilter, StoreError, VectorStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// A query of model `b`, whose embeddings have three values here.
fn query_of_b(limit: usize) -> NearestQuery {
    NearestQuery { fingerprint: model("b"), ..query(&[1.0, 0.0, 0.0], limit) }
}

async fn numbers(stand: &Stand, name: &str) -> Vec<u32> {
    stand.store.generations(name).await.unwrap().iter().map(|gallery| gallery.generation.number).collect()
}

pub(super) async fn a_begun_generation_is_gone_on_with(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    let first = store.create(declaring(&name, 2, &["coat"])).await.unwrap();
    assert_eq!((first.generation.number, first.generation.address()), (1, format!("{name}.1")));
    let second = store.create_generation(&name, &model("b"), 3).await.unwrap();
    assert_eq!(
        (second.generation.number, second.generation.gallery.as_str(), second.generation.dimension, second.images),
        (2, name.as_str(), 3, 0)
    );
    assert_eq!(
        (&second.generation.fingerprint, &second.generation.settings),
        (&model("b"), &first.generation.settings)
    );

    let address = second.generation.address();
    store.upsert(&address, &model("b"), vec![image("1", &[1.0, 0.0, 0.0])]).await.unwrap();
    let again = store.create_generation(&name, &model("b"), 3).await.unwrap();
    assert_eq!(
        (again.generation.number, again.generation.created_at_ms, again.images),
        (2, second.generation.created_at_ms, 1)
    );
    let other_dimension = store.create_generation(&name, &model("b"), 2).await;
    assert!(matches!(&other_dimension, Err(StoreError::DimensionMismatch { gallery: 3, given: 2, .. })));
    let third = store.create_generation(&name, &model("c"), 2).await.unwrap();
    assert_eq!((third.generation.number, third.generation.fingerprint), (3, model("c")));

    let generations = store.generations(&name).await.unwrap();
    let known = generations
        .iter()
        .map(|gallery| (gallery.generation.number, gallery.generation.fingerprint.clone(), gallery.images));
    assert_eq!(known.collect::<Vec<_>>(), [(1, model("a"), 0), (2, model("b"), 1), (3, model("c"), 0)]);
    let listed = store.list_galleries().await.unwrap();
    let listed: Vec<_> = listed.iter().filter(|gallery| gallery.generation.gallery == name).collect();
    assert_eq!(listed.len(), 1, "a gallery is listed once");
    assert_eq!(*listed[0], store.gallery(&name).await.unwrap());
    assert_eq!(listed[0].generation.number, 1);
}

pub(super) async fn generations_are_written_and_read_by_address(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create(declaring(&name, 2, &["coat"])).await.unwrap();
    let (first, second) =
        (format!("{name}.1"), store.create_generation(&name, &model("b"), 3).await.unwrap().generation.address());
    store.upsert(&name, &model("a"), vec![image("1", &[1.0, 0.0]), image("2", &[0.0, 1.0])]).await.unwrap();
    let mut of_b = image("1", &[0.0, 1.0, 0.0]);
    of_b.metadata.attributes.insert("coat".to_owned(), "red".to_owned());
    store.upsert(&second, &model("b"), vec![of_b.clone()]).await.unwrap();
    assert_other_model(store.upsert(&name, &model("b"), Vec::new()).await);
    assert_other_model(store.nearest(&name, query_of_b(9)).await);

    assert_eq!(store.gallery(&name).await.unwrap().images, 2);
    assert_eq!(store.gallery(&second).await.unwrap().images, 1);
    assert_eq!(ids(&store.nearest(&name, query(&[1.0, 0.0], 9)).await.unwrap()), ["1", "2"]);
    let hits = store.nearest(&second, query_of_b(9)).await.unwrap();
    assert_eq!((ids(&hits), &hits[0].metadata), (vec!["1"], &of_b.metadata));
    assert_eq!(store.count(&second, &with_attribute("coat", &["red"])).await.unwrap(), 1);
    assert_eq!(store.count(&name, &with_attribute("coat", &["red"])).await.unwrap(), 0);

    store.activate(&name, 2).await.unwrap();
    let active = store.gallery(&name).await.unwrap();
    assert_eq!((active.generation.number, active.generation.fingerprint, active.images), (2, model("b"), 1));
    assert_eq!(ids(&store.nearest(&name, query_of_b(9)).await.unwrap()), ["1"]);
    assert_eq!(ids(&store.nearest(&first, query(&[1.0, 0.0], 9)).await.unwrap()), ["1", "2"]);
    assert_eq!(store.delete_images(&first, &texts(&["1", "2"])).await.unwrap(), 2);
    assert_eq!(store.images(&name, &texts(&["1", "2"])).await.unwrap().len(), 1);
    assert_eq!(store.create_gallery(&name, &model("b"), 3).await.unwrap().generation.number, 2);
    let other_model = store.create_gallery(&name, &model("a"), 2).await;
    assert!(matches!(&other_model, Err(StoreError::GalleryExists { .. })), "{other_model:?}");
}

/// While generations change places, each answer is whole: of the model that was asked for, or a refusal.
pub(super) async fn switching_is_atomic(stand: Stand) {
    let name = stand.name("street");
    stand.store.create(declaring(&name, 2, &["model"])).await.unwrap();
    stand.store.create_generation(&name, &model("b"), 2).await.unwrap();
    for (generation, own) in [(1, "a"), (2, "b")] {
        let images = (0..20).map(|number| of_model(number, own)).collect();
        stand.store.upsert(&format!("{name}.{generation}"), &model(own), images).await.unwrap();
    }
    let (is_over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut readers = JoinSet::new();
    for own in ["a", "b", "a", "b"] {
        let (store, name) = (stand.store.clone(), name.clone());
        let (is_over, answers) = (Arc::clone(&is_over), Arc::clone(&answers));
        readers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let query = NearestQuery { fingerprint: model(own), ..query(&[1.0, 0.0], 15) };
                assert_whole(store.nearest(&name, query).await, own);
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 0..20 {
        let generation = 2 - round % 2;
        stand.store.activate(&name, generation).await.unwrap();
        let own = if generation == 1 { "a" } else { "b" };
        let query = NearestQuery { fingerprint: model(own), ..query(&[1.0, 0.0], 15) };
        let hits = stand.store.nearest(&name, query).await.unwrap();
        assert_whole(Ok(hits), own);
    }
    is_over.store(true, Ordering::Relaxed);
    readers.join_all().await;
    assert!(answers.load(Ordering::Relaxed) > 0, "somebody asked meanwhile");
}

fn of_model(number: usize, own: &str) -> GalleryImage {
    let mut image = image(&format!("{number:02}"), &[1.0, number as f32]);
    image.metadata.attributes.insert("model".to_owned(), own.to_owned());
    image
}

#[track_caller]
fn assert_whole(answer: Result<Vec<Hit>, StoreError>, own: &str) {
    match answer {
        Ok(hits) => {
            assert_eq!(hits.len(), 15);
            assert!(hits.iter().all(|hit| hit.metadata.attributes["model"] == own), "images of another model");
        }
        Err(StoreError::FingerprintMismatch { given, .. }) => assert_eq!(given, model(own)),
        Err(other) => panic!("neither hits nor a refusal: {other:?}"),
    }
}

pub(super) async fn the_generation_that_serves_is_not_deleted(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    store.create_generation(&name, &model("b"), 3).await.unwrap();
    store.activate(&name, 2).await.unwrap();
    store.activate(&name, 2).await.unwrap();
    let refused = store.delete_generation(&name, 2).await;
    let is_named =
        matches!(&refused, Err(StoreError::ActiveGeneration { name: active, generation: 2 }) if *active == name);
    assert!(is_named, "{refused:?}");
    store.delete_generation(&name, 1).await.unwrap();
    assert_eq!(numbers(&stand, &name).await, [2]);
    assert_not_found(store.gallery(&format!("{name}.1")).await, &format!("{name}.1"));
    assert_not_found(store.activate(&name, 1).await, &format!("{name}.1"));
    assert_eq!(store.create_generation(&name, &model("c"), 2).await.unwrap().generation.number, 3);
}

pub(super) async fn all_generations_go_with_their_gallery(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    // Its name begins like the other's, and it stays.
    let neighbour = stand.name("street-2");
    store.create_gallery(&neighbour, &model("a"), 2).await.unwrap();
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    for (other, generation) in [("b", 2), ("c", 3)] {
        let created = store.create_generation(&name, &model(other), 2).await.unwrap();
        assert_eq!(created.generation.number, generation);
        store.upsert(&created.generation.address(), &model(other), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    }
    store.activate(&name, 2).await.unwrap();
    store.delete_gallery(&name).await.unwrap();
    for generation in 1..=3 {
        let address = format!("{name}.{generation}");
        assert_not_found(store.gallery(&address).await, &address);
    }
    assert_not_found(store.gallery(&name).await, &name);
    assert_eq!(numbers(&stand, &neighbour).await, [1]);
    let anew = store.create_gallery(&name, &model("c"), 2).await.unwrap();
    assert_eq!((anew.generation.number, anew.images), (4, 0));
}

pub(super) async fn unknown_generations_are_named(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let address = format!("{name}.9");
    assert_not_found(store.activate(&name, 9).await, &address);
    assert_not_found(store.delete_generation(&name, 9).await, &address);
    for address in [address, format!("{name}.01"), format!("{name}.")] {
        assert_not_found(store.gallery(&address).await, &address);
        assert_not_found(store.nearest(&address, query(&[1.0, 0.0], 1)).await, &address);
        assert_not_found(store.upsert(&address, &model("a"), vec![image("1", &[1.0, 0.0])]).await, &address);
        assert_not_found(store.images(&address, &texts(&["1"])).await, &address);
        assert_not_found(store.embeddings(&address, &texts(&["1"])).await, &address);
        assert_not_found(store.delete_images(&address, &texts(&["1"])).await, &address);
    }
    assert_eq!(store.gallery(&format!("{name}.1")).await.unwrap(), store.gallery(&name).await.unwrap());
}

/// Whoever looked a gallery up before it was deleted and made anew, of whatever model, works on nothing.
pub(super) async fn a_handle_of_a_gallery_that_was_made_anew_fails(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    let stale = store.create_gallery(&name, &model("a"), 2).await.unwrap().generation;
    store.delete_gallery(&name).await.unwrap();
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let contract: &dyn VectorStore = &**store;
    let written = contract.upsert(&stale, &model("a"), vec![image("1", &[1.0, 0.0])]).await;
    let address = stale.address();
    assert_not_found(written, &address);
    assert_not_found(contract.nearest(&stale, query(&[1.0, 0.0], 1)).await, &address);
    assert_not_found(contract.images(&stale, &texts(&["1"])).await, &address);
    assert_not_found(contract.count(&stale, &SearchFilter::default()).await, &address);
    assert_not_found(contract.put_document(&stale, "plan", Some("text".to_owned())).await, &address);
    assert_not_found(contract.activate(&stale).await, &address);
    assert_not_found(contract.describe(&stale).await, &address);
    assert_eq!(store.gallery(&name).await.unwrap().images, 0, "nothing landed in the new gallery");
    assert_eq!(store.document(&name, "plan").await.unwrap(), None);
}

/// A number that was given once is not given again, neither to a generation nor to a gallery.
pub(super) async fn numbers_are_given_once(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    let first = store.create_gallery(&name, &model("a"), 2).await.unwrap().generation.number;
    let second = store.create_generation(&name, &model("b"), 3).await.unwrap().generation.number;
    store.delete_generation(&name, second).await.unwrap();
    let third = store.create_generation(&name, &model("b"), 3).await.unwrap().generation.number;
    store.delete_gallery(&name).await.unwrap();
    let fourth = store.create_gallery(&name, &model("a"), 2).await.unwrap().generation.number;
    assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
}

/// Of the handles that a gallery's generations come as, exactly one is that of the active one.
pub(super) async fn all_generations_come_at_once(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    let first = store.create_gallery(&name, &model("a"), 2).await.unwrap().generation;
    let second = store.create_generation(&name, &model("b"), 3).await.unwrap().generation;
    let third = store.create_generation(&name, &model("c"), 2).await.unwrap().generation;
    store.activate(&name, second.number).await.unwrap();
    let contract: &dyn VectorStore = &**store;
    let found = contract.generations(&name).await.unwrap();
    assert_eq!(found, Generations { active: second.clone(), others: vec![first.clone(), third.clone()] });
    assert_eq!(found.later().collect::<Vec<_>>(), [&third]);
    assert_eq!((found.find(first.number), found.find(99)), (Some(&first), None));
    assert_eq!(contract.resolve(&name).await.unwrap(), second);
}
