//! The server through its client.

use crate::TestQdrant;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{
    BinaryQuantizationBuilder, CollectionConfig, Condition, CountPointsBuilder, CreateAliasBuilder,
    CreateCollectionBuilder, DeletePointsBuilder, Distance, Filter, Fusion, HnswConfigDiffBuilder, MultiVectorConfig,
    PointId, PointStruct, PointsIdsList, PrefetchQueryBuilder, QuantizationSearchParams, QueryPointGroupsBuilder,
    QueryPointsBuilder, ScrollPointsBuilder, SearchParams, SetPayloadPointsBuilder, SparseVectorConfig,
    UpsertPointsBuilder, VectorParams, VectorParamsBuilder,
};
use qdrant_client::{Payload, Qdrant, QdrantError};
use serde_json::json;
use std::time::{Duration, Instant};
use tonic::Code;

fn started() -> (TestQdrant, Qdrant) {
    let server = TestQdrant::start().unwrap();
    let client = Qdrant::from_url(&server.url()).skip_compatibility_check().build().unwrap();
    (server, client)
}

fn vectors() -> VectorParams {
    VectorParamsBuilder::new(2, Distance::Cosine).build()
}

async fn create(client: &Qdrant, name: &str) {
    client.create_collection(CreateCollectionBuilder::new(name).vectors_config(vectors())).await.unwrap();
}

/// Points 1, 2 … in the given directions (degrees), each with a person or without.
async fn fill(client: &Qdrant, name: &str, points: &[(f32, Option<&str>)]) {
    create(client, name).await;
    let points = points.iter().zip(1_u64..).map(|((degrees, person), id)| {
        let payload = person.map_or_else(|| json!({ "kind": "none" }), |person| json!({ "person": person }));
        let (sin, cos) = degrees.to_radians().sin_cos();
        PointStruct::new(id, vec![cos, sin], Payload::try_from(payload).unwrap())
    });
    client.upsert_points(UpsertPointsBuilder::new(name, points.collect::<Vec<_>>()).wait(true)).await.unwrap();
}

fn number(id: Option<PointId>) -> u64 {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Num(number)) => number,
        other => panic!("no numbered point: {other:?}"),
    }
}

fn code<T: std::fmt::Debug>(answer: Result<T, QdrantError>) -> Code {
    match answer {
        Err(QdrantError::ResponseError { status }) => status.code(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_known_is_refused() {
    let (_server, client) = started();
    create(&client, "known").await;
    let plain = QueryPointsBuilder::new("known").query(vec![1.0, 0.0]);
    client.query(plain.clone()).await.unwrap();
    let with_offset = client.query(plain.clone().offset(3)).await.unwrap_err().to_string();
    assert!(with_offset.contains("does not know all fields of this query"), "{with_offset}");
    let indexed_only = SearchParams { indexed_only: Some(true), ..SearchParams::default() };
    assert_eq!(code(client.query(plain.params(indexed_only)).await), Code::Unimplemented);
    let prefetch = PrefetchQueryBuilder::default().query(vec![1.0, 0.0]);
    let fused = QueryPointsBuilder::new("known").add_prefetch(prefetch).query(Fusion::Rrf);
    let fused = client.query(fused).await.unwrap_err().to_string();
    assert!(fused.contains("knows only queries for the nearest"), "{fused}");
    let ordered = client.scroll(ScrollPointsBuilder::new("known").order_by("time")).await.unwrap_err().to_string();
    assert!(ordered.contains("does not know all fields of this scroll"), "{ordered}");

    let new = || CreateCollectionBuilder::new("other");
    let sparse = new().vectors_config(vectors()).sparse_vectors_config(SparseVectorConfig::default());
    let multi = VectorParams { multivector_config: Some(MultiVectorConfig::default()), ..vectors() };
    let graph = HnswConfigDiffBuilder::default().payload_m(4);
    let unknown = [sparse, new().vectors_config(multi), new().vectors_config(vectors()).hnsw_config(graph)];
    for unknown in unknown {
        assert_eq!(code(client.create_collection(unknown).await), Code::Unimplemented);
    }
    let without_shards = new().vectors_config(vectors()).shard_number(0);
    assert_eq!(code(client.create_collection(without_shards).await), Code::InvalidArgument);
    assert_eq!(client.list_collections().await.unwrap().collections.len(), 1);
}

#[tokio::test]
async fn settings_of_collections_are_reported() {
    let (_server, client) = started();
    create(&client, "plain").await;
    let vectors = VectorParamsBuilder::new(2, Distance::Dot).on_disk(true);
    let chosen = CreateCollectionBuilder::new("chosen")
        .vectors_config(vectors)
        .shard_number(6)
        .replication_factor(2)
        .write_consistency_factor(2)
        .hnsw_config(HnswConfigDiffBuilder::default().m(24).ef_construct(200))
        .quantization_config(BinaryQuantizationBuilder::new(true));
    client.create_collection(chosen).await.unwrap();

    let config = async |name: &str| -> CollectionConfig {
        client.collection_info(name).await.unwrap().result.unwrap().config.unwrap()
    };
    let (plain, chosen) = (config("plain").await, config("chosen").await);
    assert!(plain.quantization_config.is_none() && chosen.quantization_config.is_some());
    for (config, numbers, graph) in [(plain, (1, 1, 1), (16, 100)), (chosen, (6, 2, 2), (24, 200))] {
        let (params, hnsw) = (config.params.unwrap(), config.hnsw_config.unwrap());
        let factors = (params.replication_factor, params.write_consistency_factor);
        assert_eq!((params.shard_number, factors), (numbers.0, (Some(numbers.1), Some(numbers.2))));
        assert_eq!((hnsw.m, hnsw.ef_construct), (Some(graph.0), Some(graph.1)));
    }
}

#[tokio::test]
async fn what_clients_read_is_counted() {
    let (server, client) = started();
    fill(&client, "street", &[(40.0, Some("ann")), (10.0, None)]).await;
    let _earlier = server.take_answered_bytes();
    let ask = || QueryPointsBuilder::new("street").query(vec![1.0, 0.0]);
    client.query(ask()).await.unwrap();
    let bare = server.take_answered_bytes();
    client.query(ask().with_payload(true).with_vectors(true)).await.unwrap();
    let whole = server.take_answered_bytes();
    assert!(bare > 0 && whole > bare && server.take_answered_bytes() == 0, "{bare}, {whole}");
    assert_eq!(code(client.query_groups(QueryPointGroupsBuilder::new("street", "person")).await), Code::Unimplemented);
}

#[tokio::test]
async fn queries_may_say_how_to_search() {
    let (_server, client) = started();
    fill(&client, "street", &[(10.0, None), (20.0, None), (70.0, None)]).await;
    let quantization = QuantizationSearchParams { rescore: Some(true), oversampling: Some(3.0), ignore: None };
    let params = SearchParams {
        exact: Some(true),
        hnsw_ef: Some(64),
        quantization: Some(quantization),
        ..SearchParams::default()
    };
    let ask = || QueryPointsBuilder::new("street").query(vec![1.0, 0.0]).params(params.clone());
    let found = client.query(ask().score_threshold(0.9_f32)).await.unwrap().result;
    assert_eq!(found.into_iter().map(|point| number(point.id)).collect::<Vec<_>>(), [1, 2]);
    let less = QuantizationSearchParams { oversampling: Some(0.5), ..quantization };
    let too_little = SearchParams { quantization: Some(less), ..params.clone() };
    assert_eq!(code(client.query(ask().params(too_little)).await), Code::InvalidArgument);
}

#[tokio::test]
async fn payloads_are_replaced_as_a_whole() {
    let (_server, client) = started();
    fill(&client, "street", &[(10.0, Some("ann")), (20.0, Some("ann"))]).await;
    let payload = Payload::try_from(json!({ "camera": "north" })).unwrap();
    let ids = PointsIdsList { ids: vec![1_u64.into()] };
    let overwrite = SetPayloadPointsBuilder::new("street", payload).points_selector(ids).wait(true);
    client.overwrite_payload(overwrite.clone()).await.unwrap();
    let unknown = overwrite.points_selector(PointsIdsList { ids: vec![7_u64.into()] });
    assert_eq!(code(client.overwrite_payload(unknown).await), Code::NotFound);

    let count = async |filter: Filter| {
        let request = CountPointsBuilder::new("street").filter(filter).exact(true);
        client.count(request).await.unwrap().result.unwrap().count
    };
    let (ann, north) =
        (Condition::matches("person", "ann".to_owned()), Condition::matches("camera", "north".to_owned()));
    assert_eq!((count(Filter::must([ann.clone()])).await, count(Filter::must([north.clone()])).await), (1, 1));
    let everything = Condition::from(Filter::must_not([Condition::has_id(Vec::<u64>::new())]));
    assert_eq!(count(Filter::must([everything.clone()])).await, 2);
    assert_eq!(count(Filter::must_not([everything])).await, 0);
    let either = Condition::from(Filter::should([ann, Condition::from(Filter::must([north.clone()]))]));
    let nested = Filter { must: vec![either], must_not: vec![north], ..Filter::default() };
    assert_eq!(count(nested.clone()).await, 1);
    client.delete_points(DeletePointsBuilder::new("street").points(nested).wait(true)).await.unwrap();
    assert_eq!(count(Filter::default()).await, 1);
}

#[tokio::test]
async fn aliases_are_switched_in_one_step() {
    let (_server, client) = started();
    fill(&client, "one", &[(10.0, None)]).await;
    create(&client, "two").await;
    let points = async |name: &str| client.collection_info(name).await.unwrap().result.unwrap().points_count;
    for (target, count) in [("one", 1), ("two", 0), ("one", 1)] {
        client.create_alias(CreateAliasBuilder::new(target, "street")).await.unwrap();
        assert_eq!(points("street").await, Some(count));
    }
    assert_eq!(client.list_aliases().await.unwrap().aliases.len(), 1);
    assert_eq!(code(client.create_alias(CreateAliasBuilder::new("three", "street")).await), Code::NotFound);
    assert_eq!(code(client.create_alias(CreateAliasBuilder::new("one", "two")).await), Code::InvalidArgument);
    let taken = CreateCollectionBuilder::new("street").vectors_config(vectors());
    assert_eq!(code(client.create_collection(taken).await), Code::InvalidArgument);
    assert_eq!(points("street").await, Some(1));
}

#[tokio::test]
async fn requests_fail_and_come_late_on_purpose() {
    let (server, client) = started();
    server.refuse_next(2);
    for _refused in 0..2 {
        assert_eq!(code(client.list_collections().await), Code::Unavailable);
    }
    client.list_collections().await.unwrap();

    let (delay, begun) = (Duration::from_millis(60), Instant::now());
    server.stall_next(1, delay);
    client.list_collections().await.unwrap();
    assert!(begun.elapsed() >= delay);
}
