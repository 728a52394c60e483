//! What holds and retention leave in the log.

use super::stand::{AuditedService, GALLERY};
use crate::stands::polling::until;
use descry_audit::Kind;
use descry_proto::search::v1::{
    DeleteImagesRequest, Filter, LiftHoldRequest, PlaceHoldRequest, Retention, SetRetentionRequest,
};

#[tokio::test]
async fn a_sweep_says_what_it_is_about_to_remove_and_what_stayed() {
    let service = AuditedService::start(|config| {
        config.retention.sweep_interval_ms = 20;
        config.retention.max_clock_wait_ms = 0;
    })
    .await;
    let mut client = service.client_with_images(5).await;
    let filter = Filter { image_ids: vec!["1.jpg".to_owned(), "3.jpg".to_owned()], ..Filter::default() };
    let (gallery, name, reason) = (GALLERY.to_owned(), "case-1".to_owned(), "theft, 2026-117".to_owned());
    let place = PlaceHoldRequest { gallery, name, filter: Some(filter), reason };
    client.place_hold(place).await.unwrap();
    let placed = service.last("PlaceHold");
    assert_eq!((placed.note.as_deref(), placed.counts["held"]), (Some("hold case-1: theft, 2026-117"), 2));
    assert_eq!(placed.filter, Some(serde_json::json!({ "image_ids": ["1.jpg", "3.jpg"] })));
    let image_ids = vec!["0.jpg".to_owned(), "1.jpg".to_owned()];
    let delete = DeleteImagesRequest { gallery: GALLERY.to_owned(), image_ids, ..DeleteImagesRequest::default() };
    client.delete_images(delete).await.unwrap();
    let deleted = service.last("DeleteImages");
    assert_eq!((deleted.counts["deleted"], deleted.counts["held"]), (1, 1));

    let retention = Some(Retention { default_ms: 1, ..Retention::default() });
    let preview =
        SetRetentionRequest { gallery: GALLERY.to_owned(), retention: retention.clone(), validate_only: true };
    client.set_retention(preview).await.unwrap();
    let begun = service.records().into_iter().filter(|record| {
        record.kind == Kind::Begun && record.rpc.as_deref().is_some_and(|rpc| rpc.ends_with("SetRetention"))
    });
    assert_eq!(begun.count(), 0, "what only asks begins nothing");
    let set = SetRetentionRequest { gallery: GALLERY.to_owned(), retention, validate_only: false };
    client.set_retention(set).await.unwrap();
    let swept = until("a sweep is recorded", async || {
        service.records().into_iter().position(|record| record.kind == Kind::Sweep)
    })
    .await;
    let records = service.records();
    assert_eq!((records[swept].counts["deleted"], records[swept].counts["held"]), (2, 2));
    let is_begun =
        |record: &&descry_audit::Record| record.kind == Kind::Begun && record.note.as_deref() == Some("sweep");
    let begun = records[..swept].iter().find(is_begun).unwrap();
    assert_eq!((begun.gallery.as_deref(), begun.generation, begun.counts["images"]), (Some(GALLERY), Some(1), 2));
    assert!(begun.filter.as_ref().is_some_and(|filter| filter.to_string().contains("indexed_before_ms")), "{begun:?}");

    let lift = LiftHoldRequest { gallery: GALLERY.to_owned(), name: "case-1".to_owned() };
    client.lift_hold(lift).await.unwrap();
    let lifted = service.last("LiftHold");
    assert_eq!((lifted.note.as_deref(), lifted.counts["released"]), (Some("hold case-1"), 2));
    assert_eq!(lifted.counts["past_retention"], 2);
}
