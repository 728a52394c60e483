//! Places for streams: one caller leaves some to others, and who does nothing with its own loses it.

use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::{ComputedModel, DIMENSION};
use descry_proto::search::v1::index_images_request::{Message, Start};
use descry_proto::search::v1::{CreateGalleryRequest, IndexImagesRequest, IndexImagesResponse, WatchMatchesRequest};
use descry_search::SearchConfig;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Far longer than anything here takes: it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(change: impl FnOnce(&mut SearchConfig)) -> (SearchAlone, Client) {
    let model = ComputedModel::named("any");
    let url = model.clone().serve().await;
    let service = SearchAlone::start(|search| {
        search.encoder.url = url;
        change(search);
    })
    .await;
    let mut client = service.client().await;
    let create = CreateGalleryRequest {
        name: "lobby".to_owned(),
        fingerprint: model.fingerprint,
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    };
    client.create_gallery(create).await.unwrap();
    (service, client)
}

/// An index stream that begins and then says nothing, until it is dropped: a client leaves only when both of its sides do.
struct Begun {
    replies: tonic::Streaming<IndexImagesResponse>,
    _messages: mpsc::Sender<IndexImagesRequest>,
}

async fn begin(client: &Client, start: Start) -> Result<Begun, Status> {
    let (messages, sent) = mpsc::channel(1);
    messages.send(IndexImagesRequest { message: Some(Message::Start(start)) }).await.unwrap();
    let replies = client.clone().index_images(ReceiverStream::new(sent)).await?.into_inner();
    Ok(Begun { replies, _messages: messages })
}

fn lobby() -> Start {
    Start { gallery: "lobby".to_owned(), ..Start::default() }
}

/// Until there is a place again.
async fn eventually<Trying, Reply>(begin: impl Fn() -> Trying)
where
    Trying: Future<Output = Result<Reply, Status>>,
{
    let trying = async {
        while let Err(status) = begin().await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.unwrap();
}

#[tokio::test]
async fn one_caller_gets_half_of_the_streams() {
    let (_service, client) = start(|search| {
        search.indexing.max_streams = 4;
        search.limits.max_match_streams = 4;
    })
    .await;
    let held = [begin(&client, lobby()).await, begin(&client, lobby()).await];
    assert!(held.iter().all(Result::is_ok));
    let refused = begin(&client, lobby()).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("half of the index streams"), "{refused}");
    drop(held);
    eventually(|| begin(&client, lobby())).await;

    let follow = || {
        let mut client = client.clone();
        let request = WatchMatchesRequest { gallery: "lobby".to_owned(), ..WatchMatchesRequest::default() };
        async move { client.watch_matches(request).await.map(tonic::Response::into_inner) }
    };
    let held = [follow().await.unwrap(), follow().await.unwrap()];
    let refused = follow().await.unwrap_err();
    assert!(refused.message().contains("half of the streams of matches"), "{refused}");
    drop(held);
    eventually(follow).await;
}

#[tokio::test]
async fn a_stream_without_images_loses_its_place() {
    let (_service, client) = start(|search| {
        search.indexing.max_streams = 1;
        search.indexing.max_stream_idle_ms = 50;
    })
    .await;
    let mut idle = begin(&client, lobby()).await.ok().unwrap();
    let ended = tokio::time::timeout(PATIENCE, idle.replies.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("no image came for 50 ms"), "{ended}");
    eventually(|| begin(&client, lobby())).await;
}

#[tokio::test]
async fn what_is_no_pace_is_refused() {
    let (_service, client) = start(|_| {}).await;
    for rate in [1e-38, 0.001, -1.0, f32::NAN, f32::INFINITY] {
        let refused = begin(&client, Start { max_images_per_second: rate, ..lobby() }).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument, "{rate}");
        assert!(refused.message().contains("start.max_images_per_second"), "{refused}");
    }
    begin(&client, Start { max_images_per_second: 0.01, ..lobby() }).await.map(drop).unwrap();
}
