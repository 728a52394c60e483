//! What the embedded store alone promises: its file outlives it, and is nobody else's while it is open.

use super::by_address::ByAddress;
use super::gallery::{declaring, ids, image, model, query, texts};
use super::stand::open_embedded;
use descry_store::{
    CheckRequest, EmbeddedConfig, EmbeddedError, EmbeddedStore, Gallery, PageRequest, StoreError, VectorStore as _,
};
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

#[tokio::test]
async fn damage_to_a_gallery_is_named_at_opening() {
    let damages = [
        ("UPDATE generation SET fingerprint = 'other'", "other"),
        ("UPDATE generation SET dimension = -1", "dimension -1"),
        ("UPDATE gallery SET settings = '{'", "settings"),
        ("UPDATE gallery SET active = 7", "generation 7"),
    ];
    for (damage, expected) in damages {
        let (_folder, path) = in_new_folder();
        damaged_file(&path, &["coat"], damage).await;
        let error = refusal(&path).await.to_string();
        assert!(error.contains("\"street\" is damaged") && error.contains(expected), "{damage}: {error}");
    }
}

/// One damaged image does not keep a service from starting, nor a search from finding the others.
#[tokio::test]
async fn a_damaged_image_is_passed_over_named_and_repaired() {
    let damages = [
        ("UPDATE image SET code = zeroblob(9)", "code"),
        ("UPDATE image SET code = x'0000c07f000000000000'", "code"),
        ("UPDATE image SET attributes = '[1'", "column 5"),
        ("UPDATE embedding SET vector = zeroblob(8)", "length 0"),
        ("UPDATE embedding SET vector = x'0000c07f0000803f'", "length NaN"),
        ("UPDATE embedding SET vector = x'0000803f'", "4 bytes"),
        ("DELETE FROM embedding", "no embedding"),
    ];
    for (damage, expected) in damages {
        let (_folder, path) = in_new_folder();
        damaged_file(&path, &["coat"], damage).await;
        let store = open_embedded(&path).await;
        store.upsert("street", &model("a"), vec![image("8", &[1.0, 0.1])]).await.unwrap();
        let found = async || ids(&store.nearest("street", query(&[1.0, 0.0], 9)).await.unwrap()).join(" ");
        assert_eq!(found().await, "8", "{damage}");
        let page = store.page("street", PageRequest { limit: 9, ..PageRequest::default() }).await.unwrap();
        assert_eq!(page.images.len(), 1, "{damage}");
        // What is damaged is left out; what can still be read of the image may be asked for by its id.
        if damage.contains("embedding") {
            assert!(store.embeddings("street", &texts(&["7"])).await.unwrap().is_empty(), "{damage}");
        }

        let street = store.resolve("street").await.unwrap();
        let request = CheckRequest { limit: 9, ..CheckRequest::default() };
        let checked = store.check(&street, request.clone()).await.unwrap();
        assert_eq!((checked.examined, checked.damaged.len()), (2, 1), "{damage}");
        assert_eq!(checked.damaged[0].image_id, "7");
        assert!(checked.damaged[0].reason.contains(expected), "{damage}: {}", checked.damaged[0].reason);
        assert_eq!(store.condition().damaged_images, 1, "{damage}");

        // Writing it anew repairs it, and so does removing it.
        store.upsert("street", &model("a"), vec![image("7", &[1.0, 0.0])]).await.unwrap();
        assert_eq!((found().await.as_str(), store.condition().damaged_images), ("7 8", 0), "{damage}");
        drop(store);
        let store = open_embedded(&path).await;
        assert_eq!(ids(&store.nearest("street", query(&[1.0, 0.0], 9)).await.unwrap()), ["7", "8"], "{damage}");
        drop(store);

        rusqlite::Connection::open(&path).unwrap().execute(damage, []).unwrap();
        let store = open_embedded(&path).await;
        let repaired = store.check(&street, CheckRequest { repair: true, ..request.clone() }).await.unwrap();
        assert!(repaired.damaged.iter().all(|image| image.is_removed), "{damage}");
        assert_eq!(store.check(&street, request).await.unwrap().examined, 2 - repaired.damaged.len() as u64);
        assert_eq!(store.condition().damaged_images, 0, "{damage}");
        drop(store);
        open_embedded(&path).await;
    }
}

/// Pages of a check are bounded, and one goes on where the last ended.
#[tokio::test]
async fn a_check_goes_page_by_page_and_reads_one_generation() {
    let (_folder, path) = in_new_folder();
    let store = open_embedded(&path).await;
    for gallery in ["street", "yard"] {
        store.create_gallery(gallery, &model("a"), 2).await.unwrap();
        let images = (0..5).map(|number| image(&number.to_string(), &[1.0, 0.0])).collect();
        store.upsert(gallery, &model("a"), images).await.unwrap();
    }
    let street = store.resolve("street").await.unwrap();
    let (mut request, mut examined) = (CheckRequest { limit: 2, ..CheckRequest::default() }, 0);
    loop {
        let page = store.check(&street, request.clone()).await.unwrap();
        assert!(page.examined <= 2 && page.damaged.is_empty());
        examined += page.examined;
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    assert_eq!(examined, 5);
    let nowhere = CheckRequest { after: Some("x".to_owned()), limit: 2, repair: false };
    assert!(
        matches!(store.check(&street, nowhere).await, Err(StoreError::Invalid { field, .. }) if field == "page_token")
    );
}

#[tokio::test]
async fn a_file_that_is_gone_or_empty_is_not_taken_for_a_new_store() {
    let take_away: [fn(&Path); 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, b"").unwrap(),
        |path| {
            std::fs::remove_file(path).unwrap();
            drop(rusqlite::Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 0; VACUUM"));
        },
    ];
    for take_away in take_away {
        let (_folder, path) = in_new_folder();
        let store = open_embedded(&path).await;
        store.create_gallery("street", &model("a"), 2).await.unwrap();
        drop(store);
        take_away(&path);
        let error = refusal(&path).await;
        assert!(matches!(error.downcast_ref(), Some(EmbeddedError::Vanished { .. })), "{error}");
        assert!(error.to_string().contains("galleries.sqlite.lock"), "{error}");
        // Whoever wants to begin anew says so.
        std::fs::remove_file(path.with_file_name("galleries.sqlite.lock")).unwrap();
        assert!(open_embedded(&path).await.list_galleries().await.unwrap().is_empty());
    }
    // A store without galleries has nothing to lose.
    let (_folder, path) = in_new_folder();
    let store = open_embedded(&path).await;
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    store.delete_gallery("street").await.unwrap();
    drop(store);
    std::fs::remove_file(&path).unwrap();
    open_embedded(&path).await;
}

#[tokio::test]
async fn a_file_that_vanishes_under_a_running_store_takes_no_write() {
    let (_folder, path) = in_new_folder();
    let store = open_embedded(&path).await;
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    store.ready().await.unwrap();
    let aside = path.with_file_name("aside");
    std::fs::rename(&path, &aside).unwrap();
    for result in [
        store.ready().await,
        store.upsert("street", &model("a"), vec![image("7", &[1.0, 0.0])]).await,
        store.delete_gallery("street").await,
    ] {
        assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
    }
    std::fs::rename(&aside, &path).unwrap();
    store.ready().await.unwrap();
    store.upsert("street", &model("a"), vec![image("7", &[1.0, 0.0])]).await.unwrap();
}

#[tokio::test]
async fn failures_say_what_sqlite_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(folder.path()).await;
    assert!(error.source().is_some(), "a folder is no file: {error}");
}
