//! What is refused before it reaches a method leaves a record too, and never many.

use super::stand::{AuditedService, GALLERY, SERVICE};
use crate::hostile_messages::send;
use crate::services::text_search;
use crate::stands::polling::until;
use descry_audit::{Kind, Record};
use descry_proto::search::v1::WatchMatchesRequest;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_trust::{Limits, NewToken, TokenFile};
use std::path::Path;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Makes a token in a file.
fn token(file: &Path, name: &str, scope: &str, most: Option<u32>) -> String {
    let limits = Limits { max_requests_per_minute: most, ..Limits::default() };
    let new = NewToken { name: name.to_owned(), scopes: vec![scope.parse().unwrap()], expires_at_ms: None, limits };
    TokenFile::change(file, |file| Ok(file.add(new, 0).unwrap())).unwrap().reveal()
}

fn of_door(service: &AuditedService) -> Vec<Record> {
    service.records().into_iter().filter(|record| record.kind == Kind::Refused).collect()
}

/// How many requests of one status the log tells of, and in how many records.
fn told(records: &[Record], status: &str) -> (u64, usize) {
    let of_status = || records.iter().filter(|record| record.status.as_deref() == Some(status));
    (of_status().map(|record| record.counts["requests"]).sum(), of_status().count())
}

fn channel(service: &AuditedService) -> Channel {
    Channel::from_shared(service.url().to_owned()).unwrap().connect_lazy()
}

fn with<Message>(token: &str, message: Message) -> Request<Message> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn refusals_at_the_door_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.json");
    let hurried = token(&tokens, "camera", "search:*", Some(1));
    let patient = token(&tokens, "guard", "search:*", None);
    let service = AuditedService::start(|config| {
        config.access.tokens_file = tokens;
    })
    .await;
    let channel = channel(&service);
    let mut client = SearchServiceClient::new(channel.clone());
    let search = || text_search(GALLERY, "a man", 1);
    for _ in 0..50 {
        assert_eq!(client.search(search()).await.unwrap_err().code(), Code::Unauthenticated);
    }
    for expected in [Code::NotFound, Code::ResourceExhausted] {
        assert_eq!(client.search(with(&hurried, search())).await.unwrap_err().code(), expected);
    }
    let _ = send(&channel, "/descry.search.v1.Nothing/Nothing", Vec::new()).await;
    let mut no_method = tonic::client::Grpc::new(channel.clone());
    no_method.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static("/descry.search.v1.Nothing/Nothing");
    let status = no_method.unary(with(&patient, ()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);

    let records = until("the refusals are recorded", async || {
        let records = of_door(&service);
        let is_all = told(&records, "UNAUTHENTICATED").0 == 51 && told(&records, "UNIMPLEMENTED").0 == 1;
        is_all.then_some(records)
    })
    .await;
    assert!(told(&records, "UNAUTHENTICATED").1 <= 5, "{records:?}");
    assert_eq!(told(&records, "RESOURCE_EXHAUSTED"), (1, 1));
    let find = |status: &str| records.iter().find(|record| record.status.as_deref() == Some(status)).unwrap();
    let nameless = find("UNAUTHENTICATED");
    assert_eq!((nameless.address.as_deref(), nameless.principal.as_deref()), (Some("127.0.0.1"), None));
    assert_eq!(
        (nameless.rpc.as_deref(), nameless.note.as_deref()),
        (Some(&*format!("{SERVICE}/Search")), Some("missing"))
    );
    let hurried = find("RESOURCE_EXHAUSTED");
    assert_eq!((hurried.principal.as_deref(), hurried.note.as_deref()), (Some("camera"), Some("overload")));
    let strange = find("UNIMPLEMENTED");
    assert_eq!((strange.principal.as_deref(), strange.rpc.as_deref()), (Some("guard"), Some("unknown")));
    // What reached a method has its own record, and only that.
    assert_eq!(told(&records, "NOT_FOUND"), (0, 0));
    let is_answer = |record: &Record| record.kind == Kind::Request && record.rpc == nameless.rpc;
    let answered: Vec<Record> = service.records().into_iter().filter(is_answer).collect();
    assert_eq!((answered.len(), answered[0].status.as_deref()), (1, Some("NOT_FOUND")));
    service.assert_whole();
}

#[tokio::test]
async fn overload_and_messages_that_are_too_large_are_recorded() {
    let service = AuditedService::start(|config| {
        config.server.max_concurrent_requests = 1;
        config.server.max_plain_message_bytes = 10_000;
    })
    .await;
    drop(service.client_with_images(1).await);
    let channel = channel(&service);
    let mut client = SearchServiceClient::new(channel);
    let large = WatchMatchesRequest { gallery: "a".repeat(20_000), ..WatchMatchesRequest::default() };
    assert_eq!(client.watch_matches(large).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(service.last("WatchMatches").status.as_deref(), Some("OUT_OF_RANGE"), "this method knows of it");
    // A stream takes the only place of its connection.
    let request = WatchMatchesRequest { gallery: GALLERY.to_owned(), ..WatchMatchesRequest::default() };
    let _matches = client.watch_matches(request).await.unwrap();
    let status = client.search(text_search(GALLERY, "a man", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    until("the refusal is recorded", async || {
        let records = of_door(&service);
        (told(&records, "RESOURCE_EXHAUSTED") == (1, 1) && told(&records, "OUT_OF_RANGE") == (0, 0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_waits_for_no_record_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.json");
    token(&tokens, "guard", "search:*", None);
    let service = AuditedService::start(|config| {
        config.access.tokens_file = tokens;
        // Each record needs a file of its own, and so the folder.
        config.audit.max_file_bytes = 1;
    })
    .await;
    let mut client = service.client().await;
    let mut try_to_search = async || {
        let status = client.search(text_search(GALLERY, "a man", 1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "it says nothing of the log");
    };
    // Who answers has opened its log.
    try_to_search().await;
    let away = service.folder().with_extension("away");
    std::fs::rename(service.folder(), &away).unwrap();
    for _ in 0..19 {
        try_to_search().await;
    }
    let mut health = HealthClient::new(channel(&service));
    until("writing has failed", async || {
        let reply = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
        (reply.status() == ServingStatus::NotServing).then_some(())
    })
    .await;
    std::fs::rename(&away, service.folder()).unwrap();
    until("the refusals are recorded", async || (told(&of_door(&service), "UNAUTHENTICATED").0 == 20).then_some(()))
        .await;
    service.assert_whole();
}
