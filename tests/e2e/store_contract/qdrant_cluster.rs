//! What the Qdrant store promises of a cluster: nodes that are down, silent or cut off cost a question, not an answer, and
//! what a cluster says while a part of it is missing is no defect.

use super::by_address::ByAddress;
use super::gallery::{ids, image, model, query};
use descry_qdrant_server::{RequestKind, SilentPeer, TestCluster, TestQdrant};
use descry_store::{QdrantConfig, QdrantStore, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// What Qdrant 1.18 answers to a write of consistency 2 while one of three nodes is down.
fn a_copy_is_down() -> Status {
    Status::internal(
        "Service internal error: 2 out of 3 shards failed to apply operation. First error captured: Service internal \
         error: Tonic status error: status: 'The service is currently unavailable', self: \"error trying to connect\"",
    )
}

/// What it answers to changes of collections while the nodes choose a leader.
fn no_leader() -> Status {
    Status::internal("Service internal error: Failed to propose operation: leader is not established within 10s")
}

fn config(urls: Vec<String>) -> QdrantConfig {
    QdrantConfig { urls, min_retry_pause_ms: 1, max_retry_pause_ms: 20, hedge_after_ms: 50, ..QdrantConfig::default() }
}

fn connect(config: &QdrantConfig) -> ByAddress {
    ByAddress(Arc::new(QdrantStore::connect(config, || None).unwrap()))
}

async fn filled(cluster: &TestCluster) -> ByAddress {
    let store = connect(&config(cluster.urls()));
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    store
}

async fn search(store: &ByAddress) -> Result<Vec<String>, StoreError> {
    let hits = store.nearest("street", query(&[1.0, 0.0], 9)).await?;
    Ok(ids(&hits).into_iter().map(str::to_owned).collect())
}

#[tokio::test]
async fn all_nodes_share_the_work() {
    let cluster = TestCluster::start(3).unwrap();
    let store = filled(&cluster).await;
    (0..3).for_each(|number| drop(cluster.node(number).take_calls()));
    for _ in 0..30 {
        assert_eq!(search(&store).await.unwrap(), ["1"]);
    }
    for number in 0..3 {
        let queries = cluster.node(number).take_calls().get("query").copied();
        assert_eq!(queries, Some(10), "node {number}");
    }
}

#[tokio::test]
async fn a_node_that_is_lost_costs_no_answer_and_comes_back() {
    let mut cluster = TestCluster::start(3).unwrap();
    let store = filled(&cluster).await;
    for lost in 0..3 {
        cluster.stop(lost);
        for round in 0..6 {
            assert_eq!(search(&store).await.unwrap(), ["1"], "node {lost} is down");
            let written = image("1", &[1.0, 0.1 * round as f32]);
            store.upsert("street", &model("a"), vec![written]).await.unwrap();
            store.put_document("street", "plan", Some(round.to_string())).await.unwrap();
        }
        cluster.start_again(lost).unwrap();
        let mut asked = 0;
        while asked == 0 {
            search(&store).await.unwrap();
            asked = cluster.node(lost).take_calls().get("query").copied().unwrap_or_default();
        }
    }
}

#[tokio::test]
async fn a_silent_node_is_passed_by() {
    let cluster = TestCluster::start(2).unwrap();
    let store = filled(&cluster).await;
    // Requests that go there get no answer; those of others go on, and after a few nobody asks it any more.
    cluster.node(0).be_silent(true);
    for _ in 0..8 {
        assert_eq!(search(&store).await.unwrap(), ["1"]);
    }
    drop(cluster.node(0).take_calls());
    for _ in 0..20 {
        assert_eq!(search(&store).await.unwrap(), ["1"]);
    }
    let asked = cluster.node(0).take_calls();
    assert_eq!(asked.get("query"), None, "{asked:?}");
    cluster.node(0).be_silent(false);
    while !cluster.node(0).take_calls().contains_key("query") {
        search(&store).await.unwrap();
    }
}

/// Connections are made, and nothing is ever said on them.
#[tokio::test]
async fn an_address_that_only_takes_connections_is_passed_by() {
    let (server, peer) = (TestQdrant::start().unwrap(), SilentPeer::start().unwrap());
    let urls = vec![peer.url().unwrap(), server.url()];
    let store = connect(&QdrantConfig { timeout_ms: 300, ..config(urls) });
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    for _ in 0..6 {
        store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
        assert_eq!(search(&store).await.unwrap(), ["1"]);
    }
}

#[tokio::test]
async fn writes_wait_for_the_copy_that_is_down() {
    let server = TestQdrant::start().unwrap();
    let store = connect(&QdrantConfig { url: server.url(), ..config(Vec::new()) });
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    server.fail_next(RequestKind::Write, 7, a_copy_is_down());
    store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
    server.fail_next(RequestKind::Write, 7, a_copy_is_down());
    assert_eq!(store.delete_images("street", &["1".to_owned()]).await.unwrap(), 1);

    // Whoever does not wait is told that it passes.
    let impatient = connect(&QdrantConfig { url: server.url(), retry_for_ms: 0, ..config(Vec::new()) });
    server.fail_next(RequestKind::Write, usize::MAX, a_copy_is_down());
    let refused = impatient.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable { dependency: "Qdrant", .. })), "{refused:?}");
    assert_eq!(search(&impatient).await.unwrap(), Vec::<String>::new(), "reads go on");
}

#[tokio::test]
async fn changes_of_galleries_wait_for_a_leader() {
    let server = TestQdrant::start().unwrap();
    let store = connect(&QdrantConfig { url: server.url(), ..config(Vec::new()) });
    server.fail_next(RequestKind::Agreement, 5, no_leader());
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    store.create_generation("street", &model("b"), 2).await.unwrap();
    server.fail_next(RequestKind::Agreement, 5, no_leader());
    store.activate("street", 2).await.unwrap();
    server.fail_next(RequestKind::Agreement, 5, no_leader());
    store.delete_gallery("street").await.unwrap();
    assert!(store.list_galleries().await.unwrap().is_empty());
}

/// The part of a cluster that is cut off has no leader, while the other part has one.
#[tokio::test]
async fn who_has_no_leader_is_not_the_only_one_who_is_asked() {
    let cluster = TestCluster::start(2).unwrap();
    let store = connect(&QdrantConfig { retry_for_ms: 0, ..config(cluster.urls()) });
    cluster.node(0).fail_next(RequestKind::Agreement, usize::MAX, no_leader());
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    assert_eq!(store.gallery("street").await.unwrap().images, 0);
}

#[tokio::test]
async fn a_defect_is_not_repeated_and_a_full_disk_is_named() {
    let server = TestQdrant::start().unwrap();
    let store = connect(&QdrantConfig { url: server.url(), ..config(Vec::new()) });
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    let fingerprint = model("a");
    let write = || store.upsert("street", &fingerprint, vec![image("1", &[1.0, 0.0])]);
    // The client itself makes each of these calls twice.
    let defect = Status::internal("Service internal error: File IO error: No such file or directory (os error 2)");
    server.fail_next(RequestKind::Write, 2, defect);
    drop(server.take_calls());
    assert!(matches!(write().await, Err(StoreError::Failed { .. })));
    assert_eq!(server.take_calls().get("upsert"), Some(&2));
    server.fail_next(RequestKind::Write, 2, Status::internal("Service internal error: No space left on device"));
    let full = write().await;
    assert!(matches!(&full, Err(StoreError::Overloaded { what: "the disk of a Qdrant node", .. })), "{full:?}");
    write().await.unwrap();
}

/// Peers learn of a new collection one after the other; one that has not heard of it yet is not believed.
#[tokio::test]
async fn a_node_that_is_behind_is_not_believed() {
    let cluster = TestCluster::start(2).unwrap();
    let store = filled(&cluster).await;
    let unknown = || Status::not_found("Not found: Collection `descry-street.1` doesn't exist!");
    for number in [0, 1] {
        cluster.node(number).fail_next(RequestKind::Read, 1, unknown());
        assert_eq!(search(&store).await.unwrap(), ["1"]);
        cluster.node(number).fail_next(RequestKind::Write, 1, unknown());
        for _ in 0..2 {
            store.upsert("street", &model("a"), vec![image("1", &[1.0, 0.0])]).await.unwrap();
        }
        cluster.node(number).fail_next(RequestKind::Read, 0, unknown());
        cluster.node(number).fail_next(RequestKind::Write, 0, unknown());
    }
    let missing = store.gallery("lobby").await;
    assert!(matches!(missing, Err(StoreError::GalleryNotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn nobody_waits_longer_than_its_caller() {
    let cluster = TestCluster::start(2).unwrap();
    filled(&cluster).await;
    let store = QdrantStore::connect(&config(cluster.urls()), || Some(Duration::from_millis(200))).unwrap();
    let store = ByAddress(Arc::new(store));
    (0..2).for_each(|number| cluster.node(number).be_silent(true));
    let late = search(&store).await;
    assert!(matches!(late, Err(StoreError::DeadlineExceeded { .. })), "{late:?}");
}

#[tokio::test]
async fn addresses_of_nodes_are_checked() {
    let check = |urls: &[&str], expected: &str| {
        let urls = urls.iter().map(|&url| url.to_owned()).collect();
        let error = QdrantStore::connect(&config(urls), || None).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&["http://a:6334", "b:6334"], "qdrant.urls: must start with");
    check(&["http://a:6334", "http://a:6334"], "qdrant.urls: names one address twice");
}
