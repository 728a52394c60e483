//! What the Qdrant store alone promises: clear errors when the server is not there or holds something else.

use super::gallery::{image, model, query};
use super::stand::connect;
use descry_qdrant_server::TestQdrant;
use descry_search::SearchError;
use descry_search::vector_store::VectorStore;
use descry_search::vector_store::qdrant::{ApiKey, QdrantConfig, QdrantStore};
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder};

#[tokio::test]
async fn all_instances_see_the_same_galleries() {
    let server = TestQdrant::start().unwrap();
    let (one, other) = (connect(&server.url()), connect(&server.url()));
    let model_a = model("a");
    let (first, second) =
        tokio::join!(one.create_gallery("street", &model_a, 2), other.create_gallery("street", &model_a, 2));
    assert_eq!(first.unwrap(), second.unwrap());
    one.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    assert_eq!(other.gallery("street").await.unwrap().images, 1);

    one.delete_gallery("street").await.unwrap();
    one.create_gallery("street", &model("b"), 2).await.unwrap();
    let stale = other.nearest("street", query(&[1.0, 0.0], 1)).await;
    assert!(matches!(stale, Err(SearchError::FingerprintMismatch { .. })), "{stale:?}");
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_until_it_is_back() {
    let server = TestQdrant::start().unwrap();
    let store = connect(&server.url());
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    drop(server);
    for result in [store.ready().await, store.delete_gallery("street").await] {
        let unavailable = matches!(&result, Err(SearchError::Unavailable { dependency: "Qdrant", .. }));
        assert!(unavailable, "{result:?}");
    }
    let unavailable = store.nearest("street", query(&[1.0, 0.0], 1)).await;
    assert!(matches!(unavailable, Err(SearchError::Unavailable { .. })), "{unavailable:?}");
}

#[tokio::test]
async fn foreign_collections_are_named_and_left_alone() {
    let server = TestQdrant::start().unwrap();
    let client = Qdrant::from_url(&server.url()).skip_compatibility_check().build().unwrap();
    for collection in ["descry-street", "unrelated"] {
        let vectors = VectorParamsBuilder::new(2, Distance::Cosine);
        client.create_collection(CreateCollectionBuilder::new(collection).vectors_config(vectors)).await.unwrap();
    }
    let store = connect(&server.url());
    let results = [
        store.gallery("street").await.map(drop),
        store.create_gallery("street", &model("a"), 2).await.map(drop),
        store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await,
        store.nearest("street", query(&[1.0, 0.0], 1)).await.map(drop),
        store.delete_gallery("street").await,
    ];
    for result in results {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("\"descry-street\" has no Descry metadata"), "{error}");
    }
    assert!(store.list_galleries().await.unwrap().is_empty());
    assert!(client.collection_exists("descry-street").await.unwrap());
}

#[tokio::test]
async fn unusable_settings_are_named_and_keys_never_printed() {
    let settings = |url: &str, key: &str| QdrantConfig {
        url: url.to_owned(),
        api_key: Some(ApiKey::new(key)),
        ..QdrantConfig::default()
    };
    let check = |config: &QdrantConfig, expected: &str| {
        let error = QdrantStore::connect(config).err().unwrap().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    };
    check(&settings("localhost:6334", "key"), "qdrant.url");
    check(&settings("http://", "key"), "qdrant.url");
    check(&settings("http://localhost:6334", "secret\nkey"), "qdrant.api_key");
    let printed = format!("{:?}", settings("http://localhost:6334", "secret"));
    assert!(printed.contains("[redacted]") && !printed.contains("secret"), "{printed}");
}
