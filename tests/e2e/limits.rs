//! Requests beyond what is allowed or makes sense, one kind after another: each is refused by name, and the gallery is
//! searched as before.

mod galleries;
mod images;
mod searches;

use crate::queries::{CAPTION, Lobby, keep_in};
use crate::services::text_search;
use descry_proto::search::v1::Filter;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_qdrant_server::TestQdrant;
use descry_tests::TestStack;
use std::fmt::Debug;
use tonic::transport::Channel;
use tonic::{Code, Status};

fn check<Reply: Debug>(result: Result<Reply, Status>, code: Code, word: &str) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{word}: {status}");
    assert!(status.message().contains(word), "{word:?} is not in: {status}");
}

/// A filter within so many others.
fn nested(filter: Filter, levels: usize) -> Filter {
    (0..levels).fold(filter, |inner, _| Filter { all: vec![inner], ..Filter::default() })
}

async fn check_all(client: SearchServiceClient<Channel>) {
    let mut lobby = Lobby::fill(client).await;
    let usual = text_search("lobby", CAPTION, 5);
    let expected = lobby.search(usual.clone()).await;
    assert_eq!(expected.len(), 5);
    searches::filters(&mut lobby).await;
    searches::parts(&mut lobby).await;
    searches::numbers_and_addresses(&mut lobby).await;
    assert_eq!(lobby.search(usual.clone()).await.len(), 5);
    galleries::settings_and_names(&mut lobby).await;
    galleries::captions(&mut lobby).await;
    images::pages_and_changes(&mut lobby).await;
    images::embeddings(&mut lobby).await;
    let found = lobby.search(usual).await;
    assert!(found.iter().zip(&expected).all(|(a, b)| a.image_id == b.image_id && a.metadata == b.metadata));
    assert_eq!(found.len(), 5);
}

#[tokio::test]
async fn limits_of_the_embedded_store() {
    let stack = TestStack::start().await;
    check_all(stack.search().await).await;
    stack.stop().await;
}

#[tokio::test]
async fn limits_of_qdrant() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| keep_in(&server, search)).await;
    check_all(stack.search().await).await;
    stack.stop().await;
}
