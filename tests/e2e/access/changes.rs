//! Tokens that change while the service runs.

use super::{ALL, Tokens};
use crate::services::PATIENCE;
use crate::stands::alone::SearchAlone;
use crate::stands::polling::until;
use descry_client::Connection;
use descry_model::Fingerprint;
use descry_proto::search::v1::{CreateGalleryRequest, WatchMatchesRequest};
use tonic::Code;

async fn connect(service: &SearchAlone, token: &str) -> Connection {
    Connection::to(&service.url).await.unwrap().with_token(token).unwrap()
}

fn lobby() -> CreateGalleryRequest {
    let fingerprint = Fingerprint::of_parts([("any", b"model".as_slice())]).to_string();
    let name = "lobby".to_owned();
    CreateGalleryRequest { name, fingerprint, embedding_dimension: 2, ..CreateGalleryRequest::default() }
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_what_it_began() {
    let tokens = Tokens::new();
    let (kept, revoked) = (tokens.allow(&ALL), tokens.add("guard", &["search:lobby"], None));
    let service = SearchAlone::start(|search| search.access = tokens.settings()).await;
    let owner = connect(&service, &kept).await;
    owner.create_gallery(lobby()).await.unwrap();
    let request = || WatchMatchesRequest { gallery: "lobby".to_owned(), ..WatchMatchesRequest::default() };
    let guard = connect(&service, &revoked.reveal()).await;
    let mut watching = guard.service().watch_matches(request()).await.unwrap().into_inner();
    let mut going_on = owner.service().watch_matches(request()).await.unwrap().into_inner();

    tokens.change(|file| file.revoke("guard", 1).unwrap());
    let ended = tokio::time::timeout(PATIENCE, watching.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    let refused = guard.galleries().await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::Unauthenticated), "{refused}");
    // The other one has not noticed.
    tokio::select! {
        biased;
        ended = going_on.message() => panic!("{ended:?}"),
        listed = owner.galleries() => assert_eq!(listed.unwrap().len(), 1),
    }
}

#[tokio::test]
async fn a_new_token_is_taken_and_a_broken_file_changes_nothing() {
    let tokens = Tokens::new();
    let first = tokens.allow(&["search:lobby"]);
    let service = SearchAlone::start(|search| search.access = tokens.settings()).await;
    connect(&service, &first).await.galleries().await.unwrap();
    let content = std::fs::read(tokens.path()).unwrap();
    std::fs::write(tokens.path(), "{").unwrap();
    let second = tokens_beside(&content);
    // As long as nothing can be read, what was read holds.
    connect(&service, &first).await.galleries().await.unwrap();
    std::fs::write(tokens.path(), second.1).unwrap();
    let taken = connect(&service, &second.0).await;
    until("the new token is taken", async || taken.galleries().await.ok()).await;
    connect(&service, &first).await.galleries().await.unwrap();
}

/// Another token, and the content of a file that has it as well.
fn tokens_beside(content: &[u8]) -> (String, Vec<u8>) {
    let beside = Tokens::new();
    std::fs::write(beside.path(), content).unwrap();
    let token = beside.allow(&["search:lobby"]);
    (token, std::fs::read(beside.path()).unwrap())
}

#[tokio::test]
async fn a_token_in_whichever_spelling_of_the_header_is_a_token() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let tokens = Tokens::new();
    let token = tokens.allow(&["search:lobby"]);
    let service = SearchAlone::start(|search| search.access = tokens.settings()).await;
    let channel = tonic::transport::Channel::from_shared(service.url.clone()).unwrap().connect().await.unwrap();
    let call = async |values: &[String]| {
        use descry_proto::search::v1::ListGalleriesRequest;
        use descry_proto::search::v1::search_service_client::SearchServiceClient;
        let mut request = tonic::Request::new(ListGalleriesRequest::default());
        values.iter().for_each(|value| {
            request.metadata_mut().append("authorization", value.parse().unwrap());
        });
        SearchServiceClient::new(channel.clone())
            .list_galleries(request)
            .await
            .map(drop)
            .map_err(|status| status.code())
    };
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(call(&[format!("{scheme} {token}")]).await, Ok(()));
    }
    for wrong in
        [&[token.clone()][..], &[format!("Basic {token}")], &[format!("Bearer {token}"), "Bearer x".to_owned()]]
    {
        assert_eq!(call(wrong).await, Err(Code::Unauthenticated));
    }
    // Whoever only asks whether the service lives needs none; a wrong one does not matter.
    let mut health = HealthClient::new(channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();
}
