//! What the Qdrant store alone promises of the collections in the server: which they are, and that those of others are
//! left alone. What it does when there is no server is in `qdrant_outages.rs`.

use super::gallery::{declaring, ids, image, model, query};
use super::stand::connect;
use descry_qdrant_server::TestQdrant;
use descry_store::{
    ApiKey, QdrantConfig, QdrantGallerySettings, QdrantStore, Quantization, SearchAccuracy, StoreError,
};
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder, vectors_config};

fn client(server: &TestQdrant) -> Qdrant {
    Qdrant::from_url(&server.url()).skip_compatibility_check().build().unwrap()
}

/// All collections but that of documents, which keeps what was deleted from being numbered again.
async fn collections(client: &Qdrant) -> Vec<String> {
    let found = client.list_collections().await.unwrap().collections.into_iter().map(|collection| collection.name);
    found.filter(|name| name != "descry.documents").collect()
}

/// Names of all aliases with their targets.
async fn aliases(client: &Qdrant) -> Vec<(String, String)> {
    let aliases = client.list_aliases().await.unwrap().aliases;
    aliases.into_iter().map(|alias| (alias.alias_name, alias.collection_name)).collect()
}

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
    assert!(matches!(stale, Err(StoreError::FingerprintMismatch { .. })), "{stale:?}");
}

#[tokio::test]
async fn what_the_server_keeps_of_removed_images_is_said() {
    let server = TestQdrant::start().unwrap();
    let store = connect(&server.url());
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    store.delete_images("street", &["1".to_owned()]).await.unwrap();
    let pending = store.scrub("street").await.unwrap().pending.join("\n");
    for kept in ["segments", "write-ahead log", "snapshots"] {
        assert!(pending.contains(kept), "{pending}");
    }
}

#[tokio::test]
async fn generations_are_collections_behind_an_alias() {
    let server = TestQdrant::start().unwrap();
    let (store, client) = (connect(&server.url()), client(&server));
    let alias = |target: &str| [("descry-street".to_owned(), target.to_owned())];
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    assert_eq!(collections(&client).await, ["descry-street.1"]);
    assert_eq!(aliases(&client).await, alias("descry-street.1"));
    store.create_generation("street", &model("b"), 2).await.unwrap();
    assert_eq!(collections(&client).await, ["descry-street.1", "descry-street.2"]);
    assert_eq!(aliases(&client).await, alias("descry-street.1"));
    store.activate("street", 2).await.unwrap();
    assert_eq!(aliases(&client).await, alias("descry-street.2"));
    store.delete_generation("street", 1).await.unwrap();
    assert_eq!(collections(&client).await, ["descry-street.2"]);
    store.put_document("street", "plan", Some("text".to_owned())).await.unwrap();
    store.delete_gallery("street").await.unwrap();
    assert!(collections(&client).await.is_empty());
    assert!(aliases(&client).await.is_empty());
}

/// A process that dies between making a collection and pointing the alias to it leaves the collection alone behind.
#[tokio::test]
async fn a_creation_that_broke_off_is_no_obstacle() {
    let server = TestQdrant::start().unwrap();
    let (store, client) = (connect(&server.url()), client(&server));
    store.create_gallery("street", &model("b"), 3).await.unwrap();
    client.delete_alias("descry-street").await.unwrap();
    assert!(store.list_galleries().await.unwrap().is_empty());

    let created = store.create_gallery("street", &model("a"), 2).await.unwrap();
    assert_eq!((created.generation.number, created.images), (2, 0));
    store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    assert_eq!(aliases(&client).await, [("descry-street".to_owned(), "descry-street.2".to_owned())]);

    // One of the same kind is used as it is.
    client.delete_alias("descry-street").await.unwrap();
    let again = store.create_gallery("street", &model("a"), 2).await.unwrap();
    assert_eq!(
        (again.generation.number, again.images, again.generation.created_at_ms),
        (2, 1, created.generation.created_at_ms)
    );
    store.delete_gallery("street").await.unwrap();
    assert!(collections(&client).await.is_empty(), "what was left behind goes with the gallery");
}

#[tokio::test]
#[expect(deprecated, reason = "servers before 1.20 know only this name of the field")]
async fn settings_reach_the_server() {
    let server = TestQdrant::start().unwrap();
    let (store, client) = (connect(&server.url()), client(&server));
    for quantization in [Quantization::Int8, Quantization::Binary] {
        let name = format!("{quantization:?}").to_lowercase();
        let mut new = declaring(&name, 64, &["coat"]);
        new.settings.qdrant = QdrantGallerySettings {
            shard_number: Some(6),
            replication_factor: Some(2),
            write_consistency_factor: Some(2),
            on_disk_vectors: Some(true),
            hnsw_m: Some(24),
            hnsw_ef_construct: Some(200),
            quantization: Some(quantization),
            accuracy: SearchAccuracy { hnsw_ef: Some(300), ..SearchAccuracy::default() },
        };
        let settings = store.create(new.clone()).await.unwrap().generation.settings;
        assert_eq!(settings, new.settings);

        let info = client.collection_info(format!("descry-{name}")).await.unwrap().result.unwrap();
        let attribute = info.payload_schema.contains_key("attributes.coat");
        assert!(attribute, "{:?}", info.payload_schema.keys());
        let config = info.config.unwrap();
        let (params, hnsw) = (config.params.unwrap(), config.hnsw_config.unwrap());
        let factors = (params.replication_factor, params.write_consistency_factor);
        assert_eq!((params.shard_number, factors), (6, (Some(2), Some(2))));
        assert_eq!((hnsw.m, hnsw.ef_construct), (Some(24), Some(200)));
        let Some(vectors_config::Config::Params(vectors)) = params.vectors_config.unwrap().config else {
            panic!("one vector")
        };
        assert_eq!((vectors.size, vectors.on_disk), (64, Some(true)));
        let reported = format!("{:?}", config.quantization_config.unwrap().quantization.unwrap());
        let expected = if quantization == Quantization::Int8 { "Scalar" } else { "Binary" };
        assert!(reported.starts_with(expected) && reported.contains("always_ram: Some(true)"), "{reported}");

        // Compressed vectors choose the candidates, whole ones decide.
        let mut values = vec![0.5; 64];
        let images = (0..40).map(|number| {
            values[number] = -0.5;
            image(&format!("{number:02}"), &values)
        });
        let images: Vec<_> = images.collect();
        store.upsert(&name, &model("a"), images.clone()).await.unwrap();
        let hits = store.nearest(&name, query(images[17].embedding.as_slice(), 3)).await.unwrap();
        assert_eq!(ids(&hits), ["17", "16", "18"]);
        assert!((hits[0].score - 1.0).abs() < 1e-5, "{}", hits[0].score);
    }
}

#[tokio::test]
async fn foreign_collections_are_named_and_left_alone() {
    let server = TestQdrant::start().unwrap();
    let client = client(&server);
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
        let error = QdrantStore::connect(config, || None).err().unwrap().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    };
    check(&settings("localhost:6334", "key"), "qdrant.url");
    check(&settings("http://", "key"), "qdrant.url");
    check(&settings("http://localhost:6334", "secret\nkey"), "qdrant.api_key");
    let printed = format!("{:?}", settings("http://localhost:6334", "secret"));
    assert!(printed.contains("[redacted]") && !printed.contains("secret"), "{printed}");
}
