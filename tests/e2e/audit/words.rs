//! Words that are kept closed: nowhere in the log, and open to who has the key alone.

use super::stand::{AuditedService, GALLERY};
use crate::services::text_search;
use crate::stands::commands::{fail, succeed};
use descry_audit::{Asked, KeptWords};
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{CreateWatchRequest, QueryPart, RefineRequest, SearchBatchRequest};
use std::fs;
use std::path::Path;

const WORDS: &str = "a man in a crimson anorak";

/// Whether any file below a folder holds the bytes.
pub(super) fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds(&path, bytes)
        } else {
            fs::read(path).unwrap().windows(bytes.len()).any(|part| part == bytes)
        }
    })
}

async fn ask(service: &AuditedService) {
    let mut client = service.client_with_images(3).await;
    let search = || text_search(GALLERY, WORDS, 2);
    client.search(search()).await.unwrap();
    client.search_batch(SearchBatchRequest { searches: vec![search()] }).await.unwrap();
    let accepted_ids = vec!["1.jpg".to_owned()];
    client.refine(RefineRequest { search: Some(search()), accepted_ids, rejected_ids: vec![] }).await.unwrap();
    let request = CreateWatchRequest {
        gallery: GALLERY.to_owned(),
        name: "red".to_owned(),
        parts: vec![QueryPart { what: Some(What::Text(WORDS.to_owned())), weight: None }],
        min_score: 0.9,
        filter: None,
    };
    client.create_watch(request).await.unwrap();
    assert_eq!(service.last("Refine").accepted, ["1.jpg"]);
}

#[tokio::test]
async fn clear_words_can_be_read() {
    let service = AuditedService::start(|_| {}).await;
    ask(&service).await;
    assert!(holds(service.log(), b"crimson anorak"));
}

#[tokio::test]
async fn sealed_words_open_with_the_key_alone() {
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let public = succeed(&["audit", "key", "--out", &path("private")]);
    succeed(&["audit", "key", "--out", &path("other")]);
    fs::write(path("public"), public).unwrap();
    let service = AuditedService::start(|config| {
        config.audit.queries = KeptWords::Sealed;
        config.audit.query_key_file = path("public").into();
    })
    .await;
    ask(&service).await;
    assert!(!holds(service.log(), b"crimson"));
    let log = service.log().to_str().unwrap();
    let opened = succeed(&["audit", "export", log, "--key", &path("private")]);
    assert_eq!(
        opened.matches(WORDS).count(),
        5,
        "the search, that of the batch, the refined one, the watch before and after"
    );
    let closed = succeed(&["audit", "export", log, "--key", &path("other")]);
    assert!(!closed.contains("crimson") && closed.contains("sealed_text"));
    let (_, complaint) = fail(&["audit", "export", log, "--key", &path("missing")]);
    assert!(complaint.contains("missing"), "{complaint}");
}

#[tokio::test]
async fn hashed_words_are_found_again_and_never_read() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    fs::write(&key, "0f".repeat(32)).unwrap();
    let service = AuditedService::start(|config| {
        config.audit.queries = KeptWords::Hashed;
        config.audit.query_key_file = key.clone();
    })
    .await;
    ask(&service).await;
    assert!(!holds(service.log(), b"crimson"));
    assert!(!holds(service.log(), "0f".repeat(8).as_bytes()), "nor is the key");
    let asked = |method: &str| service.last(method).query.remove(0).asked;
    assert!(matches!(asked("Search"), Asked::HashedText(_)));
    assert_eq!(asked("Search"), asked("Refine"));
}
