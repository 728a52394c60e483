//! The search service on Qdrant: what a search costs there, how thoroughly it looks, what it misses, and that it goes on
//! while a node is missing.

use crate::queries::{CAPTION, Lobby, keep_in};
use crate::services::text_search;
use descry_proto::search::v1::{
    CreateGalleryRequest, GallerySettings, GetGalleryRequest, QdrantSettings, Recall, SearchAccuracy, SearchRequest,
};
use descry_qdrant_server::{RequestKind, TestCluster, TestQdrant};
use descry_search::StoreKind;
use descry_tests::TestStack;
use tonic::{Code, Status};

/// What is asked in the background, whoever searches.
const BACKGROUND: [&str; 2] = ["list", "list_aliases"];

#[tokio::test]
async fn a_search_by_person_asks_qdrant_three_times() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| {
        keep_in(&server, search);
        search.recall.probe_interval_ms = 0;
    })
    .await;
    let mut lobby = Lobby::fill(stack.search().await).await;
    let by_person = SearchRequest { group_by_person: true, ..text_search("lobby", CAPTION, 5) };
    let mut hits = lobby.search(by_person.clone()).await;
    drop(server.take_calls());
    for request in [text_search("lobby", CAPTION, 5), by_person] {
        hits = lobby.search(request).await;
        let mut calls = server.take_calls();
        calls.retain(|method, _| !BACKGROUND.contains(method));
        // Which collection, the nearest, and of persons all their images. A document may have to be read again.
        let expected = if hits[0].sightings.is_empty() { 2 } else { 3 };
        assert!(calls.values().sum::<usize>() <= expected + 1, "{calls:?}");
        assert_eq!(calls.get("query"), Some(&1));
        assert_eq!((calls.get("count"), calls.get("query_groups")), (None, None));
    }
    assert_eq!((hits.len(), hits[0].sightings.len()), (5, 4));
    stack.stop().await;
}

#[tokio::test]
async fn an_accuracy_is_taken_by_searches_and_galleries_within_limits() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| keep_in(&server, search)).await;
    let mut lobby = Lobby::fill(stack.search().await).await;
    let usual = text_search("lobby", CAPTION, 5);
    let hits = lobby.search(usual.clone()).await;
    let with = |accuracy| SearchRequest { accuracy: Some(accuracy), ..usual.clone() };
    let wide = SearchAccuracy { hnsw_ef: Some(4_096), oversampling: Some(8.0), rescore: Some(true) };
    assert_eq!(lobby.search(with(wide)).await, hits);
    for (accuracy, field) in [
        (SearchAccuracy { hnsw_ef: Some(0), ..SearchAccuracy::default() }, "accuracy.hnsw_ef"),
        (SearchAccuracy { hnsw_ef: Some(4_097), ..SearchAccuracy::default() }, "accuracy.hnsw_ef"),
        (SearchAccuracy { oversampling: Some(0.9), ..SearchAccuracy::default() }, "accuracy.oversampling"),
        (SearchAccuracy { oversampling: Some(f32::NAN), ..SearchAccuracy::default() }, "accuracy.oversampling"),
    ] {
        let refused = lobby.refused(with(accuracy)).await;
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(field), "{refused}");
    }
    let qdrant = QdrantSettings { accuracy: Some(wide), ..QdrantSettings::default() };
    let settings = GallerySettings { qdrant: Some(qdrant), ..GallerySettings::default() };
    let (name, settings) = ("thorough".to_owned(), Some(settings));
    let create = CreateGalleryRequest { name, settings, ..CreateGalleryRequest::default() };
    let gallery = lobby.client.create_gallery(create).await.unwrap().into_inner();
    assert_eq!(gallery.settings.unwrap().qdrant.unwrap().accuracy, Some(wide));
    stack.stop().await;
}

#[tokio::test]
async fn what_searches_miss_is_told_with_the_gallery() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| {
        keep_in(&server, search);
        search.recall.probe_interval_ms = 1;
        search.recall.max_load_percent = 100;
    })
    .await;
    let mut lobby = Lobby::fill(stack.search().await).await;
    let mut recall = async |searches: u32| -> Recall {
        loop {
            lobby.search(text_search("lobby", CAPTION, 5)).await;
            let get = GetGalleryRequest { name: "lobby".to_owned() };
            let gallery = lobby.client.get_gallery(get).await.unwrap().into_inner();
            if let Some(recall) = gallery.recall.filter(|recall| recall.searches >= searches) {
                return recall;
            }
        }
    };
    let all = recall(1).await;
    assert_eq!((all.share, all.hits), (1.0, 10));
    server.miss(3);
    let fewer = recall(all.searches + 2).await;
    assert!((0.7..1.0).contains(&fewer.share), "{fewer:?}");
    stack.stop().await;
}

#[tokio::test]
async fn searching_and_indexing_go_on_without_a_node() {
    let mut cluster = TestCluster::start(3).unwrap();
    let urls = cluster.urls();
    let stack = TestStack::start_with(|_, search| {
        search.store.kind = StoreKind::Qdrant;
        search.qdrant.urls = urls;
        search.qdrant.hedge_after_ms = 50;
    })
    .await;
    let mut lobby = Lobby::fill(stack.search().await).await;
    let expected = lobby.search(text_search("lobby", CAPTION, 5)).await;
    for lost in 0..3 {
        cluster.stop(lost);
        for _ in 0..4 {
            assert_eq!(lobby.search(text_search("lobby", CAPTION, 5)).await, expected, "without node {lost}");
        }
        cluster.start_again(lost).unwrap();
    }
    // A copy that is down is no defect to the caller either.
    let down = || Status::internal("1 out of 3 shards failed to apply operation. The service is currently unavailable");
    (0..3).for_each(|node| cluster.node(node).fail_next(RequestKind::Read, 3, down()));
    assert_eq!(lobby.search(text_search("lobby", CAPTION, 5)).await, expected);
    stack.stop().await;
}
