//! What the embedded store alone promises: its file outlives it, and is nobody else's while it is open.

use super::by_address::ByAddress;
use super::gallery::{declaring, ids, image, model, query, texts};
use super::stand::open_embedded;
use descry_store::{EmbeddedConfig, EmbeddedError, EmbeddedStore, Gallery, PageRequest, StoreError, VectorStore as _};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

async fn refusal(path: &Path) -> Arc<dyn Error + Send + Sync> {
    let config = EmbeddedConfig { search_threads: 1, lock_wait_ms: 0, reserve_bytes: 0 };
    match EmbeddedStore::open(path, config).await {
        Err(StoreError::Failed { source, .. }) => source,
        Err(other) => panic!("unexpected refusal {other:?}"),
        Ok(_) => panic!("the file was opened"),
    }
}

fn in_new_folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not made yet").join("galleries.sqlite");
    (folder, path)
}

/// Images of which some were replaced and some deleted, a gallery that was deleted, a generation that was begun, and a
/// document.
async fn fill(store: &ByAddress) {
    for gallery in ["street", "yard"] {
        store.create_gallery(gallery, &model("a"), 2).await.unwrap();
        let images = ["1", "2", "3"].map(|id| image(id, &[1.0, 0.0])).to_vec();
        store.upsert(gallery, &model("a"), images).await.unwrap();
    }
    let mut replaced = image("2", &[0.0, 1.0]);
    replaced.metadata.person_id = Some("ann".to_owned());
    replaced.metadata.captured_at_ms = Some(5);
    replaced.metadata.attributes.insert("coat".to_owned(), "red \"wool\"".to_owned());
    store.upsert("street", &model("a"), vec![replaced]).await.unwrap();
    store.delete_images("street", &texts(&["1"])).await.unwrap();
    store.delete_gallery("yard").await.unwrap();
    store.create_generation("street", &model("b"), 3).await.unwrap();
    store.upsert("street.2", &model("b"), vec![image("9", &[1.0, 0.0, 0.0])]).await.unwrap();
    store.put_document("street", "plan", Some("text".to_owned())).await.unwrap();
}

/// All generations, without their size in memory: rows of deleted images are given up some time later.
async fn generations(store: &ByAddress) -> Vec<Gallery> {
    let generations = store.generations("street").await.unwrap();
    generations.into_iter().map(|gallery| Gallery { bytes: 0, ..gallery }).collect()
}

async fn assert_same(store: &ByAddress, before: &ByAddress) {
    let found = generations(store).await;
    assert_eq!(found, generations(before).await);
    assert_eq!(
        found.iter().map(|gallery| (gallery.generation.number, gallery.images)).collect::<Vec<_>>(),
        [(1, 2), (2, 1)]
    );
    assert_eq!(store.documents("street").await.unwrap(), before.documents("street").await.unwrap());
    assert_eq!(store.list_galleries().await.unwrap().len(), 1);
    let hits = store.nearest("street", query(&[0.3, 1.0], 9)).await.unwrap();
    assert_eq!(hits, before.nearest("street", query(&[0.3, 1.0], 9)).await.unwrap());
    assert_eq!(ids(&hits), ["2", "3"]);
    assert_eq!(hits[0].metadata.person_id.as_deref(), Some("ann"));
}

#[tokio::test]
async fn closing_and_opening_changes_nothing() {
    let (_folder, path) = in_new_folder();
    let store = open_embedded(&path).await;
    fill(&store).await;
    let (_other_folder, other_path) = in_new_folder();
    let reference = open_embedded(&other_path).await;
    fill(&reference).await;
    drop(store);

    let reopened = open_embedded(&path).await;
    let hits = reopened.nearest("street", query(&[0.3, 1.0], 9)).await.unwrap();
    assert_eq!(hits, reference.nearest("street", query(&[0.3, 1.0], 9)).await.unwrap());
    assert_eq!(reopened.gallery("street").await.unwrap().images, 2);
    assert_eq!(reopened.list_galleries().await.unwrap().len(), 1);
    assert_eq!(reopened.document("street", "plan").await.unwrap().as_deref(), Some("text"));

    // The begun generation is gone on with, and the switch to it outlives the process as well.
    assert_eq!(reopened.create_generation("street", &model("b"), 3).await.unwrap().images, 1);
    reopened.activate("street", 2).await.unwrap();
    drop(reopened);
    let switched = open_embedded(&path).await.gallery("street").await.unwrap();
    assert_eq!((switched.generation.number, switched.generation.fingerprint, switched.images), (2, model("b"), 1));
}

/// What a killed process leaves on disk is what can be copied while it runs: no closing code takes part.
#[tokio::test]
async fn what_was_acknowledged_is_on_disk() {
    let (folder, path) = in_new_folder();
    let store = open_embedded(&path).await;
    fill(&store).await;
    let left_behind = folder.path().join("left behind");
    std::fs::create_dir(&left_behind).unwrap();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), left_behind.join(file.file_name())).unwrap();
    }
    let recovered = open_embedded(&left_behind.join("galleries.sqlite")).await;
    assert_same(&recovered, &store).await;
}

#[tokio::test]
async fn a_file_is_open_once() {
    let (_folder, path) = in_new_folder();
    let store = open_embedded(&path).await;
    let error = refusal(&path).await;
    let named = matches!(error.downcast_ref(), Some(EmbeddedError::InUse { path: named }) if *named == path);
    assert!(named, "{error}");
    assert!(path.with_file_name("galleries.sqlite.lock").exists());
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    drop(store);
    assert_eq!(open_embedded(&path).await.list_galleries().await.unwrap().len(), 1);
}

/// A service that is restarted may overlap its predecessor.
#[tokio::test]
async fn opening_waits_for_the_file() {
    let (_folder, path) = in_new_folder();
    let predecessor = open_embedded(&path).await;
    predecessor.create_gallery("street", &model("a"), 2).await.unwrap();
    let config = EmbeddedConfig { search_threads: 1, lock_wait_ms: 60_000, reserve_bytes: 0 };
    let opening = tokio::spawn(EmbeddedStore::open(path, config));
    tokio::task::yield_now().await;
    drop(predecessor);
    assert_eq!(opening.await.unwrap().unwrap().galleries().await.unwrap().len(), 1);
}

/// A gallery of one image, and then a damage to its file.
async fn damaged_file(path: &Path, declared: &[&str], damage: &str) {
    let store = open_embedded(path).await;
    store.create(declaring("street", 2, declared)).await.unwrap();
    store.upsert("street", &model("a"), vec![image("7", &[1.0, 0.0])]).await.unwrap();
    drop(store);
    let changed = rusqlite::Connection::open(path).unwrap().execute(damage, []).unwrap();
    assert_eq!(changed, 1, "{damage}");
}

const DAMAGED_IMAGE: &str = "row 1 of the table of images is damaged";

#[tokio::test]
async fn damage_to_what_is_loaded_is_named_at_opening() {
    let gallery = "\"street\" is damaged";
    let damages = [
        ("UPDATE image SET code = zeroblob(9)", DAMAGED_IMAGE, "9 bytes instead of 10"),
        ("UPDATE image SET code = x''", DAMAGED_IMAGE, "0 bytes instead of 10"),
        ("UPDATE image SET code = x'0000c07f000000000000'", DAMAGED_IMAGE, "scale NaN"),
        ("UPDATE image SET attributes = '[1'", DAMAGED_IMAGE, "attributes"),
        ("UPDATE generation SET fingerprint = 'other'", gallery, "other"),
        ("UPDATE generation SET dimension = -1", gallery, "dimension -1"),
        ("UPDATE gallery SET settings = '{'", gallery, "settings"),
        ("UPDATE gallery SET active = 7", gallery, "generation 7"),
    ];
    for (damage, named, expected) in damages {
        let (_folder, path) = in_new_folder();
        damaged_file(&path, &["coat"], damage).await;
        let error = refusal(&path).await.to_string();
        assert!(error.contains(named) && error.contains(expected), "{damage}: {error}");
    }
}

#[tokio::test]
async fn damage_to_embeddings_is_named_when_they_are_read() {
    let damages = [
        ("UPDATE embedding SET vector = zeroblob(8)", "length 0"),
        ("UPDATE embedding SET vector = x'0000c07f0000803f'", "length NaN"),
        ("UPDATE embedding SET vector = x'0000803f'", "4 bytes"),
    ];
    for (damage, expected) in damages {
        let (_folder, path) = in_new_folder();
        damaged_file(&path, &[], damage).await;
        let store = open_embedded(&path).await;
        let results = [
            store.nearest("street", query(&[1.0, 0.0], 9)).await.map(drop),
            store.page("street", PageRequest { limit: 9, ..PageRequest::default() }).await.map(drop),
            store.embeddings("street", &texts(&["7"])).await.map(drop),
        ];
        for result in results {
            let error = source_of(result);
            assert!(error.contains(DAMAGED_IMAGE) && error.contains(expected), "{damage}: {error}");
        }
        // What is whole can still be read, and the image be written anew.
        assert_eq!(store.images("street", &texts(&["7"])).await.unwrap().len(), 1);
        store.upsert("street", &model("a"), vec![image("7", &[1.0, 0.0])]).await.unwrap();
        assert_eq!(ids(&store.nearest("street", query(&[1.0, 0.0], 9)).await.unwrap()), ["7"]);
    }
}

/// Attributes that no filter names are read with the hits alone.
#[tokio::test]
async fn damage_to_attributes_is_noticed_when_they_are_read() {
    let (_folder, path) = in_new_folder();
    damaged_file(&path, &[], "UPDATE image SET attributes = '[1'").await;
    let store = open_embedded(&path).await;
    source_of(store.nearest("street", query(&[1.0, 0.0], 9)).await.map(drop));
    source_of(store.images("street", &texts(&["7"])).await.map(drop));
    assert_eq!(store.gallery("street").await.unwrap().images, 1);
}

fn source_of(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::Failed { source, .. }) => source.to_string(),
        other => panic!("expected that the store fails, got {other:?}"),
    }
}

#[tokio::test]
async fn failures_say_what_sqlite_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(folder.path()).await;
    assert!(error.source().is_some(), "a folder is no file: {error}");
}
