//! Whatever is deleted, and however: no file of the store's folder holds any byte of it.

mod earlier_release;
mod needles;
mod price;

use super::super::{EmbeddedConfig, EmbeddedStore};
use crate::{Generation, PageRequest, SearchFilter, VectorStore as _};
use descry_model::Fingerprint;
use needles::{Ledger, Random, contents};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

async fn open(folder: &Path) -> EmbeddedStore {
    let config = EmbeddedConfig { search_threads: 1, reserve_bytes: 1 << 20, ..EmbeddedConfig::default() };
    EmbeddedStore::open(folder.join("galleries.sqlite3"), config).await.unwrap()
}

async fn scrub(store: &EmbeddedStore) {
    assert_eq!(store.scrub("any").await.unwrap().pending, Vec::<String>::new());
}

/// A store with an image for each number, written in an order of the seed's.
async fn filled(store: &EmbeddedStore, ledger: &mut Ledger, random: &mut Random, images: usize) -> Generation {
    let name = format!("gallery-{}", random.number());
    let gallery = store.create_gallery(&name, &Fingerprint::of_parts([]), ledger.dimension()).await.unwrap();
    let mut images: Vec<_> = (0..images).map(|_| ledger.new_image(random)).collect();
    random.shuffle(&mut images);
    for some in images.chunks(37) {
        store.upsert(&gallery, &gallery.fingerprint, some.to_vec()).await.unwrap();
    }
    gallery
}

/// Deletes and replaces in every way.
async fn change(store: &EmbeddedStore, gallery: &Generation, ledger: &mut Ledger, random: &mut Random) {
    match random.below(8) {
        0 => {
            let ids = ledger.any_ids(random, 25);
            ledger.forget(&ids);
            assert_eq!(store.delete_images(gallery, &ids).await.unwrap(), ids.len() as u64);
        }
        1 => {
            for id in ledger.any_ids(random, 6) {
                ledger.forget(std::slice::from_ref(&id));
                store.delete_images(gallery, &[id]).await.unwrap();
            }
        }
        2 => {
            let ids = ledger.any_ids(random, 9);
            ledger.forget(&ids);
            let filter = SearchFilter { image_ids: ids.clone(), ..SearchFilter::default() };
            assert_eq!(store.delete_matching(gallery, &filter).await.unwrap(), ids.len() as u64);
        }
        3 => {
            let updates = ledger.any_ids(random, 12).into_iter();
            let updates: Vec<_> = updates.map(|id| (id.clone(), ledger.new_metadata_of(&id, random))).collect();
            store.update_metadata(gallery, updates).await.unwrap();
        }
        4 => {
            let images = ledger.any_ids(random, 12);
            let images = images.iter().map(|id| ledger.new_version_of(id, random)).collect();
            store.upsert(gallery, &gallery.fingerprint, images).await.unwrap();
        }
        5 => {
            let images = (0..random.below(30)).map(|_| ledger.new_image(random)).collect();
            store.upsert(gallery, &gallery.fingerprint, images).await.unwrap();
        }
        6 => {
            let (key, text) = ledger.new_document(random);
            store.put_document(gallery, &key, text).await.unwrap();
        }
        _ => {
            let (key, known, text) = ledger.replaced_document(random);
            assert!(store.replace_document(gallery, &key, known.as_deref(), text).await.unwrap());
        }
    }
}

async fn check_changes(seed: u64, dimension: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut ledger) = (Random(seed), Ledger::new(dimension));
    let mut store = open(folder.path()).await;
    let gallery = filled(&store, &mut ledger, &mut random, 250).await;
    for step in 0..48 {
        change(&store, &gallery, &mut ledger, &mut random).await;
        if random.below(6) == 0 {
            scrub(&store).await;
            ledger.check(folder.path(), &format!("seed {seed}, open, step {step}"));
        }
        if random.below(24) == 0 {
            drop(store);
            ledger.check(folder.path(), &format!("seed {seed}, closed, step {step}"));
            store = open(folder.path()).await;
        }
    }
    let unused = {
        scrub(&store).await;
        let mut database = store.database.lock().await;
        (database.erasing.blanked_bytes, database.sweep_file().unwrap())
    };
    assert_eq!(unused.1, 0, "seed {seed}: bytes that nobody uses hold something");
    store.delete_gallery(&gallery.gallery).await.unwrap();
    ledger.forget_all();
    scrub(&store).await;
    ledger.check(folder.path(), &format!("seed {seed}, without galleries"));
    drop(store);
    ledger.check(folder.path(), &format!("seed {seed}, at the end"));
}

#[tokio::test]
async fn nothing_that_was_deleted_is_in_any_file() {
    for seed in 0..6 {
        check_changes(seed, 24).await;
    }
}

/// Embeddings that do not fit a page.
#[tokio::test]
async fn nothing_of_large_embeddings_is_in_any_file() {
    check_changes(77, 2_300).await;
}

/// What SQLite's own secure deletion leaves: the reason for looking at pages at all.
#[tokio::test]
async fn pages_that_were_divided_keep_copies_that_are_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut ledger) = (Random(8), Ledger::new(16));
    let store = open(folder.path()).await;
    filled(&store, &mut ledger, &mut random, 900).await;
    scrub(&store).await;
    assert!(store.database.lock().await.erasing.blanked_bytes > 0);
}

#[tokio::test]
async fn a_generation_goes_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut ledger) = (Random(9), Ledger::new(16));
    let store = open(folder.path()).await;
    let first = filled(&store, &mut ledger, &mut random, 300).await;
    let model = Fingerprint::of_parts([("model", b"2".as_slice())]);
    let next = store.create_generation(&first.gallery, &model, 16).await.unwrap();
    store.activate(&next).await.unwrap();
    store.delete_generation(&first).await.unwrap();
    ledger.forget_all();
    scrub(&store).await;
    ledger.check(folder.path(), "open");
}

#[tokio::test]
async fn what_is_deleted_is_overwritten_a_moment_later_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut ledger) = (Random(3), Ledger::new(16));
    let store = open(folder.path()).await;
    let gallery = filled(&store, &mut ledger, &mut random, 120).await;
    let ids = ledger.any_ids(&mut random, 60);
    ledger.forget(&ids);
    store.delete_images(&gallery, &ids).await.unwrap();
    let began = Instant::now();
    while ledger.found(folder.path()) > 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A service that is killed leaves its log to the next one.
#[tokio::test]
async fn what_a_killed_service_did_not_overwrite_the_next_one_does() {
    let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut random, mut ledger) = (Random(4), Ledger::new(16));
    let store = open(folder.path()).await;
    let gallery = filled(&store, &mut ledger, &mut random, 120).await;
    let ids = ledger.any_ids(&mut random, 60);
    ledger.forget(&ids);
    {
        // The thread does not get to it.
        let mut database = store.database.lock().await;
        let id = store.galleries.held(&gallery).unwrap().id;
        database.delete_images(id, &ids).unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), killed.path().join(entry.file_name())).unwrap();
        }
    }
    assert!(ledger.found(killed.path()) > 0);
    let store = open(killed.path()).await;
    ledger.check(killed.path(), "after the next start");
    drop(store);
    ledger.check(killed.path(), "after it is closed");
}

#[tokio::test]
async fn a_reader_keeps_the_log_for_as_long_as_it_reads_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut ledger) = (Random(6), Ledger::new(16));
    let store = open(folder.path()).await;
    let gallery = filled(&store, &mut ledger, &mut random, 60).await;
    let reader = store.readers.take().unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM image").unwrap();
    let ids = ledger.any_ids(&mut random, 30);
    ledger.forget(&ids);
    store.delete_images(&gallery, &ids).await.unwrap();
    let pending = store.scrub("any").await.unwrap().pending;
    assert!(matches!(pending.as_slice(), [log] if log.contains("as long as a search reads")), "{pending:?}");
    assert!(ledger.found(folder.path()) > 0);
    // Nobody waits meanwhile.
    let image = ledger.new_image(&mut random);
    store.upsert(&gallery, &gallery.fingerprint, vec![image]).await.unwrap();
    reader.execute_batch("COMMIT").unwrap();
    drop(reader);
    scrub(&store).await;
    ledger.check(folder.path(), "after the reader");
}

/// A store that is closed under a reader leaves its log, and the reader does not work it in.
#[tokio::test]
async fn a_last_reader_leaves_the_log_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut ledger) = (Random(8), Ledger::new(16));
    let store = open(folder.path()).await;
    let gallery = filled(&store, &mut ledger, &mut random, 60).await;
    let readers = store.readers();
    let reader = readers.take().unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM image").unwrap();
    let ids = ledger.any_ids(&mut random, 30);
    ledger.forget(&ids);
    store.delete_images(&gallery, &ids).await.unwrap();
    drop(store);
    drop(reader);
    drop(readers);
    assert!(folder.path().join("galleries.sqlite3-wal").metadata().unwrap().len() > 0);
    let store = open(folder.path()).await;
    ledger.check(folder.path(), "after the next start");
    drop(store);
    let left: Vec<String> = contents(folder.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["galleries.sqlite3", "galleries.sqlite3.lock", "galleries.sqlite3.reserve"]);
}

/// Many short searches at a time do not keep the log: sooner or later none of them holds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn searches_without_end_do_not_keep_what_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut ledger) = (Random(12), Ledger::new(16));
    let store = Arc::new(open(folder.path()).await);
    let gallery = filled(&store, &mut ledger, &mut random, 300).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let searches: Vec<_> = (0..12)
        .map(|_| {
            let (store, gallery, is_over) = (Arc::clone(&store), gallery.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let (mut longest, mut count) = (Duration::ZERO, 0);
                while !is_over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let request = PageRequest { limit: 100, ..PageRequest::default() };
                    store.page(&gallery, request).await.unwrap();
                    longest = longest.max(began.elapsed());
                    count += 1;
                }
                (longest, count)
            })
        })
        .collect();
    for _ in 0..5 {
        let ids = ledger.any_ids(&mut random, 20);
        ledger.forget(&ids);
        store.delete_images(&gallery, &ids).await.unwrap();
        scrub(&store).await;
        assert_eq!(ledger.found(folder.path()), 0);
    }
    is_over.store(true, Ordering::Relaxed);
    for search in searches {
        let (longest, count) = search.await.unwrap();
        assert!(count > 0 && longest < Duration::from_secs(2), "{count} searches, the longest of {longest:?}");
    }
}
