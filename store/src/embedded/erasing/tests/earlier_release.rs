//! Files of releases that left what was deleted where it was.

use super::super::super::{EmbeddedConfig, EmbeddedStore};
use super::needles::{Ledger, Random};
use super::{filled, open, scrub};
use crate::VectorStore as _;
use rusqlite::Connection;
use std::path::Path;

/// A file of version 5 with images of which some were deleted without overwriting anything, some large, some small.
async fn earlier_file(folder: &Path, ledger: &mut Ledger) -> i64 {
    let mut random = Random(11);
    let store = open(folder).await;
    filled(&store, ledger, &mut random, 240).await;
    drop(store);
    let deleted = ledger.any_ids(&mut random, 120);
    ledger.forget(&deleted);
    let old = Connection::open(folder.join("galleries.sqlite3")).unwrap();
    old.execute_batch("PRAGMA secure_delete = OFF; PRAGMA foreign_keys = ON; DROP TABLE leftover").unwrap();
    for image_id in deleted {
        assert_eq!(old.execute("DELETE FROM image WHERE image_id = ?1", [image_id]).unwrap(), 1);
    }
    // One that takes some of the free pages again, and ends in the middle of one.
    let text = "{\"note\":\"".to_owned() + &"y".repeat(50_000) + "\"}";
    old.execute("UPDATE image SET attributes = ?1 WHERE id = (SELECT min(id) FROM image)", [text]).unwrap();
    old.execute_batch("PRAGMA user_version = 5").unwrap();
    old.query_row("PRAGMA freelist_count", [], |row| row.get(0)).unwrap()
}

fn is_due(folder: &Path) -> bool {
    let file = Connection::open(folder.join("galleries.sqlite3")).unwrap();
    file.query_row("SELECT is_due FROM leftover", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn what_an_earlier_release_deleted_is_overwritten_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::new(24);
    assert!(earlier_file(folder.path(), &mut ledger).await > 2);
    let before = ledger.found(folder.path());
    assert!(before > 200, "{before} are found");
    let store = open(folder.path()).await;
    scrub(&store).await;
    assert_eq!(ledger.found(folder.path()), 0);
    let gallery = store.galleries().await.unwrap().remove(0);
    assert_eq!(store.describe(&gallery).await.unwrap().images, 120);
    let request = crate::CheckRequest { limit: 1_000, ..crate::CheckRequest::default() };
    assert_eq!(store.check(&gallery, request).await.unwrap().damaged, []);
    drop(store);
    assert_eq!(ledger.found(folder.path()), 0);
    assert!(!is_due(folder.path()), "the next start does not look again");
    let file = Connection::open(folder.path().join("galleries.sqlite3")).unwrap();
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
async fn a_file_that_is_not_sound_is_opened_and_its_free_pages_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("galleries.sqlite3");
    let mut ledger = Ledger::new(24);
    assert!(earlier_file(folder.path(), &mut ledger).await > 2);
    // The list of free pages names a page with images, far from those that the file's migration takes.
    let mut content = std::fs::read(&path).unwrap();
    let long = |content: &[u8], place: usize| u32::from_be_bytes(*content[place..].first_chunk().unwrap()) as usize;
    let list = (long(&content, 32) - 1) * 8_192;
    let listed = long(&content, list + 4);
    let free_pages: Vec<usize> = (0..listed).map(|entry| long(&content, list + 8 + 4 * entry)).collect();
    let is_used = |page: &usize| content[(page - 1) * 8_192] == 13 && !free_pages.contains(page);
    let used = (1..=content.len() / 8_192).rev().find(is_used).unwrap();
    let (entry, free) = (list + 4 + 4 * listed, free_pages[listed - 1]);
    content[entry..entry + 4].copy_from_slice(&(used as u32).to_be_bytes());
    std::fs::write(&path, &content).unwrap();

    let config = EmbeddedConfig { search_threads: 1, reserve_bytes: 0, ..EmbeddedConfig::default() };
    let store = EmbeddedStore::open(&path, config).await.unwrap();
    let pending = store.scrub("any").await.unwrap().pending;
    assert!(matches!(pending.as_slice(), [file] if file.contains("two others refer to it")), "{pending:?}");
    assert_eq!(store.galleries().await.unwrap().len(), 1);
    drop(store);
    assert!(is_due(folder.path()), "the next start tries again");
    let after = std::fs::read(&path).unwrap();
    let page = (free - 1) * 8_192..free * 8_192;
    assert_eq!(content[page.clone()], after[page], "somebody may want to save it");
}
