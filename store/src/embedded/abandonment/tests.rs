use super::Caller;
use crate::embedded::error::EmbeddedError;
use crate::embedded::galleries::LoadedGeneration;
use crate::embedded::rescoring::{Ranked, Search, nearest};
use crate::embedded::{EmbeddedConfig, EmbeddedStore};
use crate::{
    GalleryImage, Generation, GroupBy, Grouping, ImageMetadata, NearestQuery, Pool, StoreError, VectorStore as _,
};
use descry_model::{Embedding, Fingerprint};
use futures::FutureExt as _;
use rusqlite::{Connection, ffi};
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

const KINDS: [Ranked; 5] = [
    Ranked::Images,
    Ranked::Groups(Grouping { by: GroupBy::Person, pool: Pool::Best }),
    Ranked::Groups(Grouping { by: GroupBy::Person, pool: Pool::Mean }),
    Ranked::Groups(Grouping { by: GroupBy::Track, pool: Pool::Best }),
    Ranked::Groups(Grouping { by: GroupBy::Track, pool: Pool::Mean }),
];

fn file(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("galleries.sqlite")
}

fn model() -> Fingerprint {
    Fingerprint::of_parts([("model", b"a".as_slice())])
}

fn query() -> NearestQuery {
    NearestQuery::new(Embedding::normalized(vec![1.0, 0.0]).unwrap(), model(), 2)
}

/// A store with one thread for searches, and the images of two people.
async fn store(path: &Path) -> (EmbeddedStore, Generation) {
    let config = EmbeddedConfig { search_threads: 1, reserve_bytes: 0, ..EmbeddedConfig::default() };
    let store = EmbeddedStore::open(path, config).await.unwrap();
    let generation = store.create_gallery("street", &model(), 2).await.unwrap();
    let images = (0..6).map(|number: u8| GalleryImage {
        image_id: number.to_string(),
        embedding: Embedding::normalized(vec![1.0, f32::from(number)]).unwrap(),
        metadata: ImageMetadata {
            person_id: Some((number % 2).to_string()),
            track_id: Some((number % 2).to_string()),
            ..ImageMetadata::default()
        },
    });
    store.upsert(&generation, &model(), images.collect()).await.unwrap();
    (store, generation)
}

/// What is seen whenever the database is at work for a search.
struct Look {
    generation: Arc<LoadedGeneration>,
    reads: AtomicUsize,
    was_locked: AtomicBool,
    /// Goes away at the first read.
    caller: Mutex<Option<Caller>>,
}

extern "C" fn look(look: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "a callback of SQLite takes a pointer")]
    // SAFETY: it is what `watch` was given.
    let look = unsafe { &*look.cast::<Look>() };
    look.reads.fetch_add(1, Ordering::Relaxed);
    look.was_locked.fetch_or(look.generation.is_locked(), Ordering::Relaxed);
    drop(look.caller.lock().unwrap_or_else(PoisonError::into_inner).take());
    0
}

/// Has `look` called while this connection reads. `seen` stays there for as long as the store is open.
fn watch(connection: &Connection, seen: &'static Look) {
    #[expect(unsafe_code, reason = "a callback of SQLite takes a pointer")]
    // SAFETY: the connection is open, and `seen` is never freed.
    unsafe {
        ffi::sqlite3_progress_handler(connection.handle(), 1, Some(look), std::ptr::from_ref(seen).cast_mut().cast());
    }
}

fn seen(store: &EmbeddedStore, generation: &Generation, caller: Option<Caller>) -> &'static Look {
    let (reads, was_locked) = Default::default();
    let generation = store.galleries.held(generation).unwrap();
    Box::leak(Box::new(Look { generation, reads, was_locked, caller: Mutex::new(caller) }))
}

#[tokio::test]
async fn a_search_that_nobody_waits_for_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, generation) = store(&file(&folder)).await;
    // Whoever reads an embedding notes its damage.
    let damage = "UPDATE embedding SET vector = zeroblob(3)";
    assert_eq!(Connection::open(file(&folder)).unwrap().execute(damage, []).unwrap(), 6);
    let loaded = store.galleries.held(&generation).unwrap();
    for ranked in KINDS {
        let writing = loaded.write().unwrap();
        let mut search = Box::pin(store.ranked(&generation, query(), ranked));
        assert!((&mut search).now_or_never().is_none(), "it waits for the writer");
        drop(search);
        drop(writing);
        // Free again once the search has ended.
        drop(store.search_slots.acquire().await.unwrap());
        assert_eq!(store.condition().damaged_images, 0, "{ranked:?}");
    }
    assert!(store.nearest(&generation, query()).await.unwrap().is_empty());
    assert!(store.condition().damaged_images > 0, "one that is waited for does read");
}

#[tokio::test]
async fn a_search_ends_between_two_reads_when_its_caller_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, generation) = store(&file(&folder)).await;
    for ranked in KINDS {
        let mut slots = store.take_search_slot().await.unwrap();
        let (caller, abandonment) = Caller::new();
        let (seen, readers) = (seen(&store, &generation, Some(caller)), store.readers());
        let reader = readers.take().unwrap();
        watch(&reader, seen);
        let (query, generation) = (query(), &*seen.generation);
        let search = Search { generation, reader: &reader, query: &query, abandonment: &abandonment };
        let error = nearest(&search, ranked, &mut slots).unwrap_err();
        assert!(matches!(error, StoreError::DeadlineExceeded { .. }), "{ranked:?}: {error}");
        assert!(matches!(abandonment.check(), Err(EmbeddedError::Abandoned)));
    }
}

#[tokio::test]
async fn a_gallery_is_not_locked_while_embeddings_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (store, generation) = store(&file(&folder)).await;
    let seen = seen(&store, &generation, None);
    // The next search takes the connection that was used last.
    watch(&store.readers().take().unwrap(), seen);
    for ranked in KINDS {
        let before = seen.reads.load(Ordering::Relaxed);
        assert_eq!(store.ranked(&generation, query(), ranked).await.unwrap().len(), 2);
        assert!(seen.reads.load(Ordering::Relaxed) > before, "{ranked:?} was watched");
        assert!(!seen.was_locked.load(Ordering::Relaxed), "{ranked:?}");
    }
}
