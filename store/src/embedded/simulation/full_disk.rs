//! A disk that is full: adding is refused, everything else goes on, and adding goes on when there is room again.

use super::SimulatedDisk;
use super::script::{DIMENSION, embedding, image};
use crate::embedded::database_file::DatabaseFile;
use crate::embedded::{EmbeddedConfig, EmbeddedStore};
use crate::{Generation, NearestQuery, SearchFilter, StoreCondition, StoreError, VectorStore as _};
use descry_model::Fingerprint;
use std::sync::Arc;

const RESERVE_BYTES: u64 = 12 << 20;
const CHECKPOINT_BYTES: u64 = 2 << 20;
const CONFIG: EmbeddedConfig = EmbeddedConfig { search_threads: 1, lock_wait_ms: 0, reserve_bytes: RESERVE_BYTES };

fn open(disk: &Arc<SimulatedDisk>) -> EmbeddedStore {
    EmbeddedStore::load(DatabaseFile::simulated(disk, CHECKPOINT_BYTES), &CONFIG).unwrap()
}

/// A gallery that was written to until the disk was full.
async fn filled(disk: &Arc<SimulatedDisk>, capacity: u64) -> (EmbeddedStore, Generation, u64) {
    disk.set_capacity(Some(capacity));
    let store = open(disk);
    let gallery = store.create_gallery("lobby", &Fingerprint::of_parts([]), DIMENSION).await.unwrap();
    let mut written = 0;
    loop {
        match write(&store, &gallery, written, 256).await {
            Ok(()) => written += 256,
            Err(error) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
                return (store, gallery, written);
            }
        }
    }
}

async fn write(store: &EmbeddedStore, gallery: &Generation, first: u64, count: u64) -> Result<(), StoreError> {
    let images = (first..first + count).map(|number| {
        let mut image = image(&format!("{number:08}"), number);
        image.metadata.attributes.insert("note".to_owned(), "x".repeat(1_500));
        image
    });
    store.upsert(gallery, &gallery.fingerprint, images.collect()).await
}

async fn count(store: &EmbeddedStore, gallery: &Generation) -> u64 {
    store.count(gallery, &SearchFilter::default()).await.unwrap()
}

fn is_full(store: &EmbeddedStore) -> bool {
    store.condition().is_full
}

#[tokio::test]
async fn adding_is_refused_and_searching_goes_on() {
    let disk = SimulatedDisk::new(1);
    let (store, gallery, written) = filled(&disk, 24 << 20).await;
    assert_eq!(store.condition(), StoreCondition { is_full: true, damaged_images: 0 });
    assert_eq!(count(&store, &gallery).await, written);
    let query = NearestQuery::new(embedding(7), gallery.fingerprint.clone(), 3);
    assert_eq!(store.nearest(&gallery, query).await.unwrap()[0].image_id, "00000007");
    store.ready().await.unwrap();
    assert!(is_full(&store), "looking does not make room");
    // What takes next to none is kept.
    store.put_document(&gallery, "retention", Some("{\"default_ms\":1}".to_owned())).await.unwrap();
    assert!(store.document(&gallery, "retention").await.unwrap().is_some());
}

#[tokio::test]
async fn deleting_makes_room_and_adding_goes_on() {
    let disk = SimulatedDisk::new(2);
    let (store, gallery, written) = filled(&disk, 24 << 20).await;
    let capacity = 24 << 20;
    // Somebody else takes what is left, to the last byte.
    disk.set_capacity(Some(disk.used()));
    let ids: Vec<String> = (0..written / 2).map(|number| format!("{number:08}")).collect();
    let deleted = store.delete_images(&gallery, &ids).await.unwrap();
    assert_eq!((deleted, count(&store, &gallery).await), (written / 2, written - written / 2));
    assert!(disk.used() <= capacity);
    assert_eq!(disk.bytes_of("reserve"), RESERVE_BYTES, "it is held back again");
    // The pages that became free take new images, though the disk is as full as before.
    write(&store, &gallery, written, 256).await.unwrap();
    assert!(!is_full(&store));
    drop(store);
    let reopened = open(&disk);
    let gallery = reopened.resolve("lobby").await.unwrap();
    assert_eq!(count(&reopened, &gallery).await, written - written / 2 + 256);
}

#[tokio::test]
async fn everything_can_be_deleted_by_any_means() {
    for means in 0..3 {
        let disk = SimulatedDisk::new(3 + means);
        let (store, gallery, written) = filled(&disk, 40 << 20).await;
        disk.set_capacity(Some(disk.used()));
        match means {
            0 => {
                let nobody = SearchFilter { person_ids: vec!["nobody".to_owned()], ..SearchFilter::default() };
                let all = SearchFilter { none: vec![nobody], ..SearchFilter::default() };
                assert_eq!(store.delete_matching(&gallery, &all).await.unwrap(), written);
                assert_eq!(count(&store, &gallery).await, 0);
            }
            1 => {
                store.delete_gallery("lobby").await.unwrap();
                assert!(store.galleries().await.unwrap().is_empty());
            }
            _ => {
                disk.set_capacity(Some(disk.used() + (64 << 10)));
                let next = store
                    .create_generation("lobby", &Fingerprint::of_parts([("model", b"2".as_slice())]), DIMENSION)
                    .await;
                let Ok(next) = next else { continue };
                store.activate(&next).await.unwrap();
                store.delete_generation(&gallery).await.unwrap();
                assert_eq!(store.generations("lobby").await.unwrap().others.len(), 0);
            }
        }
        assert_eq!(disk.bytes_of("reserve"), RESERVE_BYTES, "means {means}");
        drop(store);
        let galleries = open(&disk).galleries().await.unwrap();
        assert_eq!(galleries.len(), if means == 1 { 0 } else { 1 });
    }
}

#[tokio::test]
async fn when_there_is_room_again_it_is_noticed_and_adding_goes_on() {
    let disk = SimulatedDisk::new(9);
    let (store, gallery, written) = filled(&disk, 24 << 20).await;
    disk.set_capacity(Some(64 << 20));
    store.ready().await.unwrap();
    assert!(!is_full(&store), "found by the probe, without a write");
    write(&store, &gallery, written, 256).await.unwrap();
    assert_eq!(count(&store, &gallery).await, written + 256);
}

#[tokio::test]
async fn a_full_disk_does_not_keep_a_service_from_starting() {
    let disk = SimulatedDisk::new(10);
    let (store, _, written) = filled(&disk, 24 << 20).await;
    drop(store);
    disk.give_room("reserve");
    disk.set_capacity(Some(disk.used() + (128 << 10)));
    let store = open(&disk);
    let gallery = store.resolve("lobby").await.unwrap();
    assert_eq!(count(&store, &gallery).await, written);
    assert!(matches!(write(&store, &gallery, written, 1).await, Err(StoreError::Full { .. })), "no reserve, no writes");
    disk.set_capacity(None);
    write(&store, &gallery, written, 1).await.unwrap();
    assert_eq!(disk.bytes_of("reserve"), RESERVE_BYTES);
}
