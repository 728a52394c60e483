//! The audit log: each request leaves its record before it is answered, whatever happens to the service.

mod commands;
mod kills;
mod methods;
mod names;
mod refusals;
mod stand;
mod streams;
mod subject;
mod sweeps;
mod words;

use crate::services::text_search;
use crate::stands::polling::until;
use descry_audit::Kind;
use descry_proto::search::v1::{SearchBatchRequest, search_batch_response::result::Outcome};
use stand::{AuditedService, GALLERY};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn a_search_leaves_what_was_asked_and_what_was_told() {
    let service = AuditedService::start(|_| {}).await;
    let mut client = service.client_with_images(5).await;
    let mut request = Request::new(text_search(GALLERY, "a man in red", 3));
    request.metadata_mut().insert("x-descry-purpose", "theft".parse().unwrap());
    request
        .metadata_mut()
        .insert_bin("x-descry-case-bin", tonic::metadata::MetadataValue::from_bytes("Ü 7".as_bytes()));
    let reply = client.search(request).await.unwrap().into_inner();
    let record = service.last("Search");
    assert_eq!((record.purpose.as_deref(), record.case_number.as_deref()), (Some("theft"), Some("Ü 7")));
    assert_eq!((record.gallery.as_deref(), record.generation), (Some(GALLERY), Some(1)));
    assert_eq!(record.fingerprint, Some(reply.fingerprint));
    assert_eq!(record.status.as_deref(), Some("OK"));
    assert!(record.address.unwrap().starts_with("127.0.0.1:"));
    let told: Vec<_> = record.returned.iter().map(|told| (told.image_id.clone(), told.score)).collect();
    let hits: Vec<_> = reply.hits.iter().map(|hit| (hit.image_id.clone(), Some(hit.score))).collect();
    assert_eq!((told.len(), told), (3, hits));
    assert_eq!(service.words(&record.query), ["a man in red"]);

    let searches = ["a", "b"].map(|text| text_search(GALLERY, text, 1));
    let request = SearchBatchRequest { searches: [searches.to_vec(), vec![text_search("nowhere", "c", 1)]].concat() };
    let results = client.search_batch(request).await.unwrap().into_inner().results;
    assert!(matches!(results[2].outcome, Some(Outcome::Error(_))));
    let records = service.records();
    let of_batch: Vec<_> = records.iter().filter(|record| record.kind == Kind::Search).collect();
    let said = |index: usize| (service.words(&of_batch[index].query).concat(), of_batch[index].status.clone().unwrap());
    let expected =
        [("a", "OK"), ("b", "OK"), ("c", "NOT_FOUND")].map(|(text, code)| (text.to_owned(), code.to_owned()));
    assert_eq!([said(0), said(1), said(2)], expected);
    assert_eq!(of_batch[0].returned.len(), 1);
}

#[tokio::test]
async fn what_must_be_stated_is_named_where_it_is_missing() {
    let service = AuditedService::start(|config| {
        config.audit.require_purpose = vec!["lob*".to_owned()];
        config.audit.require_case = vec!["lobby".to_owned()];
    })
    .await;
    let mut client = service.client().await;
    let mut ask = async |gallery: &str, stated: &[(&'static str, &str)]| {
        let mut request = Request::new(text_search(gallery, "a man", 1));
        for (name, value) in stated {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        client.search(request).await.unwrap_err()
    };
    let status = ask(GALLERY, &[]).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("x-descry-purpose (descry: --purpose)"), "{status}");
    let status = ask(GALLERY, &[("x-descry-purpose", "theft")]).await;
    assert!(status.message().contains("x-descry-case (descry: --case)"), "{status}");
    let status = ask(GALLERY, &[("x-descry-purpose", "theft"), ("x-descry-case", "7")]).await;
    assert_eq!(status.code(), Code::NotFound);
    // Other galleries ask for nothing, but each refusal is recorded.
    assert_eq!(ask("yard", &[]).await.code(), Code::NotFound);
    let statuses: Vec<_> = service.records().into_iter().filter_map(|record| record.status).collect();
    assert_eq!(statuses, ["FAILED_PRECONDITION", "FAILED_PRECONDITION", "NOT_FOUND", "NOT_FOUND"]);
}

#[tokio::test]
async fn nothing_is_answered_while_the_log_cannot_be_written() {
    // Each record is in a file of its own, so that the folder is needed for the next one.
    let service = AuditedService::start(|config| config.audit.max_file_bytes = 1).await;
    let mut client = service.client_with_images(3).await;
    let mut health = HealthClient::new(Channel::from_shared(service.url().to_owned()).unwrap().connect_lazy());
    let mut until_health = async |expected: ServingStatus| {
        until("health follows the log", async || {
            let reply = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
            (reply.status() == expected).then_some(())
        })
        .await;
    };
    until_health(ServingStatus::Serving).await;
    let away = service.folder().with_extension("away");
    std::fs::rename(service.folder(), &away).unwrap();
    for _ in 0..2 {
        let status = client.search(text_search(GALLERY, "a man", 1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().starts_with("the audit log cannot be written"), "{status}");
        assert!(!status.message().contains("jsonl"), "whoever asks need not know where it lies: {status}");
    }
    until_health(ServingStatus::NotServing).await;
    std::fs::rename(&away, service.folder()).unwrap();
    until_health(ServingStatus::Serving).await;
    client.search(text_search(GALLERY, "a man", 1)).await.unwrap();
    service.assert_whole();
    let interrupted: Vec<_> = service.records().into_iter().filter(|record| record.kind == Kind::Interrupted).collect();
    assert_eq!((interrupted.len(), interrupted[0].counts["refused"]), (1, 2));
}
