//! Streams: what they acknowledge and tell is recorded before it leaves, piece by piece.

use super::stand::{AuditedService, GALLERY};
use crate::services::index;
use crate::stands::ledger::image;
use crate::stands::polling::until;
use descry_audit::{Kind, Record};
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{CreateWatchRequest, QueryPart, WatchMatchesRequest};

#[tokio::test]
async fn images_are_recorded_before_they_are_acknowledged() {
    let service = AuditedService::start(|config| config.indexing.chunk_images = 4).await;
    let mut client = service.client().await;
    let images = (0..10).map(|number| image(&format!("{number}.jpg"), 1)).collect();
    let acknowledged = index(&mut client, GALLERY, images).await;
    let chunks: Vec<Record> = service.records().into_iter().filter(|record| record.kind == Kind::Chunk).collect();
    assert!(chunks.len() > 2, "{chunks:?}");
    assert_eq!(chunks.iter().map(|chunk| chunk.counts["images"]).sum::<u64>(), 10);
    let first = chunks[0].counts["images"] as usize;
    let lines: String = acknowledged[..first].iter().map(|image| format!("{}\n", image.image_id)).collect();
    assert_eq!(chunks[0].image_ids_sha256, Some(descry_model::sha256_hex(lines.as_bytes())));
    // Its end comes when the last answer has left.
    let end = until("the stream's end is recorded", async || {
        service.records().into_iter().find(|record| {
            record.kind == Kind::Request && record.rpc.as_deref().is_some_and(|rpc| rpc.ends_with("/IndexImages"))
        })
    })
    .await;
    assert_eq!((end.counts["images"], end.status.as_deref()), (10, Some("OK")));
    service.assert_whole();
}

#[tokio::test]
async fn matches_are_recorded_before_they_leave() {
    let service = AuditedService::start(|_| {}).await;
    let mut client = service.client_with_images(1).await;
    let part = QueryPart { what: Some(What::Text("0.jpg 2".to_owned())), weight: None };
    let request = CreateWatchRequest {
        gallery: GALLERY.to_owned(),
        name: "red".to_owned(),
        parts: vec![part],
        min_score: 0.9,
        ..CreateWatchRequest::default()
    };
    client.create_watch(request).await.unwrap();
    let request = WatchMatchesRequest { gallery: GALLERY.to_owned(), ..WatchMatchesRequest::default() };
    let mut matches = client.watch_matches(request).await.unwrap().into_inner();
    // The computed model knows no words from images: the same bytes are the same person.
    index(&mut client, GALLERY, vec![image("0.jpg", 2)]).await;
    let found = matches.message().await.unwrap().unwrap();
    assert_eq!(found.hit.unwrap().image_id, "0.jpg");
    let told = service.last("WatchMatches");
    assert_eq!((told.kind, told.returned[0].image_id.as_str()), (Kind::Matches, "0.jpg"));
    assert_eq!(service.last("CreateWatch").watch.as_deref(), Some("red"));
}
