//! What the Qdrant store alone promises when the server is not there, or does not answer: patience, and clear errors.

use super::by_address::ByAddress;
use super::gallery::{ids, image, model, query};
use super::stand::connect;
use descry_qdrant_server::TestQdrant;
use descry_store::{QdrantConfig, QdrantStore, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any test may take.
const FOREVER: Duration = Duration::from_secs(600);

/// Short pauses, and soon tired of waiting.
fn impatient(server: &TestQdrant, timeout_ms: u64, retry_for_ms: u64) -> ByAddress {
    let config = QdrantConfig {
        url: server.url(),
        timeout_ms,
        retry_for_ms,
        min_retry_pause_ms: 1,
        max_retry_pause_ms: 8,
        ..QdrantConfig::default()
    };
    ByAddress(Arc::new(QdrantStore::connect(&config, || None).unwrap()))
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(&result, Err(StoreError::Unavailable { dependency: "Qdrant", .. })), "{result:?}");
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_until_it_is_back() {
    let server = TestQdrant::start().unwrap();
    let store = impatient(&server, 10_000, 30);
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    drop(server);
    assert_unavailable(store.ready().await);
    assert_unavailable(store.delete_gallery("street").await);
    assert_unavailable(store.nearest("street", query(&[1.0, 0.0], 1)).await);
}

#[tokio::test]
async fn requests_are_repeated_until_the_server_is_back() {
    let server = TestQdrant::start().unwrap();
    let store = impatient(&server, 10_000, 60_000);
    server.refuse_next(3);
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    server.refuse_next(3);
    store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    server.refuse_next(3);
    let metadata = image("1", &[1.0, 0.0]).metadata;
    assert_eq!(store.update_metadata("street", vec![("1".to_owned(), metadata)]).await.unwrap(), 1);
    server.refuse_next(3);
    assert_eq!(ids(&store.nearest("street", query(&[1.0, 0.0], 9)).await.unwrap()), ["1"]);
    server.refuse_next(3);
    store.put_document("street", "plan", Some("text".to_owned())).await.unwrap();
    server.refuse_next(3);
    store.delete_gallery("street").await.unwrap();
    server.refuse_next(3);
    store.ready().await.unwrap();
}

#[tokio::test]
async fn repeating_ends_and_says_who_is_missing() {
    let server = TestQdrant::start().unwrap();
    connect(&server.url()).create_gallery("street", &model("a"), 2).await.unwrap();
    let begun = Instant::now();
    let store = impatient(&server, 10_000, 100);
    server.refuse_next(usize::MAX);
    let refused = store.gallery("street").await;
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("refused on purpose")), "{refused:?}");
    assert_unavailable(refused);
    assert_unavailable(store.ready().await);
    assert_unavailable(store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await);
    assert!(begun.elapsed() < FOREVER / 10, "it gave up: {:?}", begun.elapsed());

    // Without patience nothing is repeated: the second request is the caller's.
    let store = impatient(&server, 10_000, 0);
    server.refuse_next(1);
    assert_unavailable(store.ready().await);
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = TestQdrant::start().unwrap();
    connect(&server.url()).create_gallery("street", &model("a"), 2).await.unwrap();
    let (store, begun) = (impatient(&server, 200, 60_000), Instant::now());
    server.stall_next(usize::MAX, FOREVER);
    let results = [
        store.ready().await,
        store.gallery("street").await.map(drop),
        store.nearest("street", query(&[1.0, 0.0], 1)).await.map(drop),
    ];
    for result in results {
        assert!(matches!(&result, Err(StoreError::DeadlineExceeded { .. })), "{result:?}");
    }
    assert!(begun.elapsed() < FOREVER / 10, "it gave up: {:?}", begun.elapsed());
    server.stall_next(0, Duration::ZERO);
    connect(&server.url()).ready().await.unwrap();
}
