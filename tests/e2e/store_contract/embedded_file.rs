//! What the embedded store alone promises: its file outlives it, and is nobody else's while it is open.

use super::gallery::{ids, image, model, query, texts};
use super::stand::open_embedded;
use descry_search::SearchError;
use descry_search::vector_store::VectorStore;
use descry_search::vector_store::embedded::{EmbeddedConfig, EmbeddedError, EmbeddedStore};
use std::error::Error;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

async fn refusal(path: &Path) -> EmbeddedError {
    let config = EmbeddedConfig { search_threads: 1, lock_wait_ms: 0 };
    match EmbeddedStore::open(path, config).await {
        Err(SearchError::Store { source, .. }) => *source.downcast::<EmbeddedError>().unwrap(),
        Err(other) => panic!("unexpected refusal {other:?}"),
        Ok(_) => panic!("the file was opened"),
    }
}

fn in_new_folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not made yet").join("galleries.sqlite");
    (folder, path)
}

/// Images of which some were replaced and some deleted, and a gallery that was deleted.
async fn fill(store: &EmbeddedStore) {
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
}

async fn assert_same(store: &EmbeddedStore, before: &EmbeddedStore) {
    let galleries = store.list_galleries().await.unwrap();
    assert_eq!(galleries, before.list_galleries().await.unwrap());
    assert_eq!(galleries.len(), 1);
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
    assert!(matches!(&error, EmbeddedError::InUse { path: named } if *named == path), "{error}");
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    drop(store);
    assert_eq!(open_embedded(&path).await.list_galleries().await.unwrap().len(), 1);
}

#[tokio::test]
async fn damaged_images_are_named() {
    let damages = [
        ("UPDATE image SET embedding = zeroblob(8)", "length 0"),
        ("UPDATE image SET embedding = x'0000c07f0000803f'", "length NaN"),
        ("UPDATE image SET embedding = x'0000803f'", "4 bytes"),
        ("UPDATE image SET attributes = '[1'", "attributes"),
        ("UPDATE gallery SET fingerprint = 'other'", "other"),
        ("UPDATE gallery SET dimension = -1", "dimension -1"),
    ];
    for (damage, expected) in damages {
        let (_folder, path) = in_new_folder();
        let store = open_embedded(&path).await;
        store.create_gallery("street", &model("a"), 2).await.unwrap();
        store.upsert("street", &model("a"), vec![image("7", &[1.0, 0.0])]).await.unwrap();
        drop(store);
        rusqlite::Connection::open(&path).unwrap().execute(damage, []).unwrap();
        let error = refusal(&path).await.to_string();
        assert!(error.contains("\"street\" is damaged") && error.contains(expected), "{damage}: {error}");
    }
}

#[tokio::test]
async fn failures_say_what_sqlite_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(folder.path()).await;
    assert!(error.source().is_some(), "a folder is no file: {error}");
}
