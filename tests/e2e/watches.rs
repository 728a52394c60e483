//! Standing searches: what is newly indexed streams to those who watch for it, once, until the service stops.

mod history;
mod limits;

use crate::queries::{CAPTION, image_id, keep_in, part, text};
use crate::services::{demo_images, index};
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CreateGalleryRequest, CreateWatchRequest, DeleteWatchRequest, Filter, GetGalleryRequest, ListWatchesRequest, Watch,
    WatchMatch, WatchMatchesRequest, watch_part,
};
use descry_qdrant_server::TestQdrant;
use descry_search::SearchConfig;
use descry_tests::TestStack;
use prost_types::Timestamp;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Streaming};

type Client = SearchServiceClient<Channel>;

/// Far longer than anything here takes: it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL_INTERVAL_MS: u64 = 20;

/// Between the cosines of person 2601's images among each other, 0.88 and more, and to others of the demo's first four
/// people, 0.20 and less.
const LIKE_2601: f32 = 0.6;

/// Between the cosines of [`CAPTION`] to 2601's images, 0.79 and more, and to others, 0.39 and less.
const DESCRIBES_2601: f32 = 0.6;

fn look_often(search: &mut SearchConfig) {
    search.watches.poll_interval_ms = POLL_INTERVAL_MS;
}

async fn create_lobby(client: &mut Client) {
    let create = CreateGalleryRequest { name: "lobby".to_owned(), ..CreateGalleryRequest::default() };
    client.create_gallery(create).await.unwrap();
}

fn request(name: &str, what: What, min_score: f32) -> CreateWatchRequest {
    let (gallery, name) = ("lobby".to_owned(), name.to_owned());
    CreateWatchRequest { gallery, name, parts: vec![part(what, 1.0)], min_score, filter: None }
}

async fn watch(client: &mut Client, request: CreateWatchRequest) -> Watch {
    client.create_watch(request).await.unwrap().into_inner()
}

async fn listed(client: &mut Client) -> Vec<Watch> {
    let request = ListWatchesRequest { gallery: "lobby".to_owned(), ..Default::default() };
    client.list_watches(request).await.unwrap().into_inner().watches
}

async fn follow(client: &mut Client, names: &[&str], since: Option<Timestamp>) -> Streaming<WatchMatch> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let request = WatchMatchesRequest { gallery: "lobby".to_owned(), names, since, ..WatchMatchesRequest::default() };
    client.watch_matches(request).await.unwrap().into_inner()
}

async fn next(matches: &mut Streaming<WatchMatch>) -> WatchMatch {
    tokio::time::timeout(PATIENCE, matches.message()).await.unwrap().unwrap().expect("the stream goes on")
}

/// The next match, as watch and image.
async fn next_pair(matches: &mut Streaming<WatchMatch>) -> (String, String) {
    let found = next(matches).await;
    (found.watch, found.hit.unwrap().image_id)
}

fn pair(watch: &str, image_id: &str) -> (String, String) {
    (watch.to_owned(), image_id.to_owned())
}

/// Indexes an image under another id.
async fn index_as(client: &mut Client, image_id: &str, image: &Image) {
    let image = Image { image_id: image_id.to_owned(), ..image.clone() };
    let replies = index(client, "lobby", vec![image]).await;
    assert!(matches!(&replies[0].outcome, Some(Outcome::Indexed(_))), "{replies:?}");
}

fn indexed_at(found: &WatchMatch) -> Timestamp {
    found.hit.as_ref().and_then(|hit| hit.metadata.as_ref()).and_then(|metadata| metadata.indexed_at).unwrap()
}

async fn check(mut client: Client) {
    create_lobby(&mut client).await;
    // People 2601 to 2604; 2601 was seen once at c1, c3, c4 and c5 each.
    let images = demo_images(16);
    let [at_c1, at_c5] = [&images[0], &images[3]];
    let wanted = watch(&mut client, request("wanted", What::Image(at_c1.content.clone()), LIKE_2601)).await;
    let filter = Some(Filter { camera_ids: vec!["c5".to_owned()], ..Filter::default() });
    let described =
        CreateWatchRequest { filter: filter.clone(), ..request("described", text(CAPTION), DESCRIBES_2601) };
    let described = watch(&mut client, described).await;
    assert_eq!(
        (described.name.as_str(), &described.filter, described.min_score),
        ("described", &filter, DESCRIBES_2601)
    );
    // People can see what is being looked for; a file that was given is not kept.
    let watched = |watch: &Watch| watch.parts.iter().map(|part| part.what.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(watched(&described), [watch_part::What::Text(CAPTION.to_owned())]);
    assert_eq!(watched(&wanted), [watch_part::What::Unnamed(())]);
    assert_eq!(listed(&mut client).await, [described, wanted.clone()]);

    // Two who follow, and what each of them must see.
    let mut all = follow(&mut client, &[], None).await;
    let mut named = follow(&mut client, &["described", "wanted"], None).await;
    let replies = index(&mut client, "lobby", images.clone()).await;
    assert!(replies.iter().all(|reply| matches!(&reply.outcome, Some(Outcome::Indexed(_)))));
    let of_2601 = |camera: &str| -> Vec<String> {
        images[..4].iter().map(|image| image.image_id.clone()).filter(|image_id| image_id.contains(camera)).collect()
    };
    let expected: BTreeSet<(String, String)> = of_2601("")
        .into_iter()
        .map(|image_id| pair("wanted", &image_id))
        .chain(of_2601("_c5_").into_iter().map(|image_id| pair("described", &image_id)))
        .collect();
    assert_eq!(expected.len(), 5);
    for matches in [&mut all, &mut named] {
        let mut seen = BTreeSet::new();
        for _ in 0..expected.len() {
            let found = next(matches).await;
            let hit = found.hit.unwrap();
            let least = if found.watch == "wanted" { LIKE_2601 } else { DESCRIBES_2601 };
            assert!(hit.score >= least && hit.contributions == [hit.score], "{hit:?}");
            assert_eq!(hit.metadata.unwrap().person_id.as_deref(), Some("2601"));
            assert!(seen.insert((found.watch, hit.image_id)), "a match comes twice");
        }
        assert_eq!(seen, expected);
    }
    // Were there anything else to come, or to come again, it would come before this one.
    index_as(&mut client, "marker.jpg", at_c1).await;
    let marker = next(&mut all).await;
    assert_eq!(marker.hit.as_ref().unwrap().image_id, "marker.jpg");
    assert_eq!(next_pair(&mut named).await, pair("wanted", "marker.jpg"));

    // Who comes later may ask for what was, all of it or from a match on, or for what comes only.
    let mut replayed = follow(&mut client, &["wanted"], wanted.created_at).await;
    let mut again = BTreeSet::new();
    for _ in 0..4 {
        assert!(again.insert(next_pair(&mut replayed).await));
    }
    assert!(again.is_subset(&expected), "{again:?}");
    assert_eq!(next_pair(&mut replayed).await, pair("wanted", "marker.jpg"));
    let mut continued = follow(&mut client, &["wanted"], Some(indexed_at(&marker))).await;
    assert_eq!(next_pair(&mut continued).await, pair("wanted", "marker.jpg"));
    let mut late = follow(&mut client, &[], None).await;
    index_as(&mut client, "later.jpg", at_c1).await;
    for matches in [&mut late, &mut all, &mut named, &mut replayed, &mut continued] {
        assert_eq!(next_pair(matches).await, pair("wanted", "later.jpg"));
    }
    drop((replayed, continued));

    // A deleted watch matches nothing more. A look that had begun before may still know it, the next one does not.
    let delete = DeleteWatchRequest { gallery: "lobby".to_owned(), name: "wanted".to_owned() };
    client.delete_watch(delete).await.unwrap();
    assert_eq!(listed(&mut client).await.iter().map(|watch| watch.name.as_str()).collect::<Vec<_>>(), ["described"]);
    for name in ["meanwhile.jpg", "after.jpg", "last.jpg"] {
        index_as(&mut client, name, at_c5).await;
        for matches in [&mut late, &mut all, &mut named] {
            let mut found = next_pair(matches).await;
            if found == pair("wanted", "meanwhile.jpg") {
                found = next_pair(matches).await;
            }
            assert_eq!(found, pair("described", name));
        }
    }
}

#[tokio::test]
async fn matches_stream_from_the_embedded_store() {
    let stack = TestStack::start_with(|_, search| look_often(search)).await;
    check(stack.search().await).await;
    stack.stop().await;
}

#[tokio::test]
async fn matches_stream_from_qdrant() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| {
        look_often(search);
        keep_in(&server, search);
    })
    .await;
    check(stack.search().await).await;
    stack.stop().await;
}

#[tokio::test]
async fn streams_outlive_an_outage_of_qdrant() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| {
        look_often(search);
        keep_in(&server, search);
        // The store does not hide the outage by repeating its requests.
        search.qdrant.retry_for_ms = 0;
    })
    .await;
    let mut client = stack.search().await;
    create_lobby(&mut client).await;
    let image = demo_images(1).remove(0);
    watch(&mut client, request("wanted", What::Image(image.content.clone()), LIKE_2601)).await;
    let mut matches = follow(&mut client, &[], None).await;
    index_as(&mut client, "before.jpg", &image).await;
    assert_eq!(next_pair(&mut matches).await, pair("wanted", "before.jpg"));

    // Down for many looks of the stream, as another caller sees all the time.
    server.refuse_next(usize::MAX);
    let down_since = Instant::now();
    while down_since.elapsed() < Duration::from_millis(15 * POLL_INTERVAL_MS) {
        let request = GetGalleryRequest { name: "lobby".to_owned() };
        assert_eq!(client.get_gallery(request).await.unwrap_err().code(), Code::Unavailable);
    }
    server.refuse_next(0);
    index_as(&mut client, "after.jpg", &image).await;
    assert_eq!(next_pair(&mut matches).await, pair("wanted", "after.jpg"));
    stack.stop().await;
}

#[tokio::test]
async fn streams_end_when_the_service_stops() {
    let stack = TestStack::start_with(|_, search| {
        look_often(search);
        // Not by being cut off.
        search.server.drain_ms = 10 * PATIENCE.as_millis() as u64;
    })
    .await;
    let mut client = stack.search().await;
    let image = demo_images(1).remove(0);
    index_as(&mut client, "first.jpg", &image).await;
    watch(&mut client, request("wanted", image_id("first.jpg"), LIKE_2601)).await;
    let mut matches = follow(&mut client, &[], None).await;
    index_as(&mut client, "second.jpg", &image).await;
    assert_eq!(next_pair(&mut matches).await, pair("wanted", "second.jpg"));
    let stopping = tokio::spawn(stack.stop());
    let end = tokio::time::timeout(PATIENCE, matches.message()).await.unwrap();
    let is_end = matches!(&end, Ok(None)) || end.as_ref().is_err_and(|status| status.code() == Code::Unavailable);
    assert!(is_end, "{end:?}");
    drop((matches, client));
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}
