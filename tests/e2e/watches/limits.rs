//! Watches and streams that are refused.

use super::{Client, LIKE_2601, PATIENCE, create_lobby, follow, listed, look_often, request, watch};
use crate::queries::{CAPTION, image_id, of_parts, part, text};
use crate::services::{demo_images, index};
use descry_proto::search::v1::{
    AttributeCondition, CreateWatchRequest, DeleteWatchRequest, Filter, ListWatchesRequest, WatchMatchesRequest,
};
use descry_search::KeptDescriptions;
use descry_tests::TestStack;
use prost_types::Timestamp;
use std::path::Path;
use tonic::{Code, Status};

fn check<Reply: std::fmt::Debug>(result: Result<Reply, Status>, code: Code, word: &str) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(word), "{word:?} is not in: {status}");
}

#[tokio::test]
async fn watches_that_make_no_sense_are_refused() {
    let stack = TestStack::start_with(|_, search| search.limits.max_watches = 2).await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(2)).await;
    let good = request("good", text(CAPTION), LIKE_2601);
    let named = |name: &str| CreateWatchRequest { name: name.to_owned(), ..good.clone() };
    let scored = |min_score: f32| CreateWatchRequest { min_score, ..good.clone() };
    let filtered = |filter: Filter| CreateWatchRequest { filter: Some(filter), ..good.clone() };
    let undeclared = AttributeCondition { name: "weather".to_owned(), values: vec!["rain".to_owned()] };
    let deep = (0..40).fold(Filter::default(), |inner, _| Filter { none: vec![inner], ..Filter::default() });
    let many = vec![part(text(CAPTION), 1.0); 17];
    let unlike = vec![part(text(CAPTION), -1.0)];
    for (request, code, word) in [
        (named(""), Code::InvalidArgument, "name"),
        (named("Upper"), Code::InvalidArgument, "name"),
        (named("a.b"), Code::InvalidArgument, "name"),
        (named("../x"), Code::InvalidArgument, "name"),
        (named(&"a".repeat(64)), Code::InvalidArgument, "name"),
        // Left out.
        (scored(0.0), Code::InvalidArgument, "min_score"),
        (scored(1.5), Code::InvalidArgument, "min_score"),
        (scored(f32::NAN), Code::InvalidArgument, "min_score"),
        (scored(f32::NEG_INFINITY), Code::InvalidArgument, "min_score"),
        (filtered(Filter { attributes: vec![undeclared], ..Filter::default() }), Code::InvalidArgument, "weather"),
        (filtered(deep), Code::InvalidArgument, "nested"),
        (CreateWatchRequest { parts: Vec::new(), ..good.clone() }, Code::InvalidArgument, "parts"),
        (CreateWatchRequest { parts: many, ..good.clone() }, Code::InvalidArgument, "17"),
        (CreateWatchRequest { parts: unlike, ..good.clone() }, Code::InvalidArgument, "positive weight"),
        (request("unknown", image_id("unknown.jpg"), 0.5), Code::InvalidArgument, "unknown.jpg"),
        (CreateWatchRequest { gallery: "nowhere".to_owned(), ..good.clone() }, Code::NotFound, "nowhere"),
        (CreateWatchRequest { gallery: "lobby.1".to_owned(), ..good.clone() }, Code::InvalidArgument, "gallery"),
    ] {
        check(client.create_watch(request).await, code, word);
    }
    assert!(listed(&mut client).await.is_empty(), "nothing refused is kept");

    for name in ["good", "second", "good"] {
        watch(&mut client, named(name)).await;
    }
    check(client.create_watch(named("third")).await, Code::InvalidArgument, "2 watches");
    // One may take the place of another of its name, and a deleted one makes room.
    watch(&mut client, CreateWatchRequest { min_score: 0.25, ..named("second") }).await;
    let delete = |name: &str| DeleteWatchRequest { gallery: "lobby".to_owned(), name: name.to_owned() };
    client.delete_watch(delete("good")).await.unwrap();
    watch(&mut client, named("third")).await;
    let told = listed(&mut client).await;
    assert_eq!(told.iter().map(|watch| watch.name.as_str()).collect::<Vec<_>>(), ["second", "third"]);
    assert_eq!(told[0].min_score, 0.25);
    check(client.delete_watch(delete("Upper")).await, Code::InvalidArgument, "name");
    let nowhere = ListWatchesRequest { gallery: "nowhere".to_owned(), ..Default::default() };
    check(client.list_watches(nowhere).await, Code::NotFound, "nowhere");
    // The gallery is searched as before.
    let hits = client.search(of_parts(vec![part(text(CAPTION), 1.0)], 5)).await.unwrap().into_inner().hits;
    assert_eq!(hits.len(), 2);
    stack.stop().await;
}

#[tokio::test]
async fn one_stream_of_matches_too_many_is_refused_and_a_closed_one_makes_room() {
    let stack = TestStack::start_with(|_, search| {
        look_often(search);
        search.limits.max_match_streams = 1;
    })
    .await;
    let mut client: Client = stack.search().await;
    create_lobby(&mut client).await;
    let of = |gallery: &str, names: &[&str], since: Option<Timestamp>| WatchMatchesRequest {
        gallery: gallery.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        since,
        ..WatchMatchesRequest::default()
    };
    let no_time = Some(Timestamp { seconds: 0, nanos: -1 });
    check(client.watch_matches(of("nowhere", &[], None)).await, Code::NotFound, "nowhere");
    check(client.watch_matches(of("lobby", &["Upper"], None)).await, Code::InvalidArgument, "name");
    check(client.watch_matches(of("lobby", &[], no_time)).await, Code::InvalidArgument, "since");
    let first = follow(&mut client, &[], None).await;
    check(client.watch_matches(of("lobby", &[], None)).await, Code::ResourceExhausted, "try again");
    drop(first);
    let again = async {
        // The permit comes back when the server has seen that nobody listens.
        while let Err(status) = client.watch_matches(of("lobby", &[], None)).await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    stack.stop().await;
}

/// The words of a watch lie in the store as the operator decided.
#[tokio::test]
async fn descriptions_are_kept_as_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (key, other_key) = (file("key", "0f".repeat(32)), file("other-key", "f0".repeat(32)));
    for kept in [KeptDescriptions::Clear, KeptDescriptions::Sealed, KeptDescriptions::None] {
        let path = folder.path().join(format!("{kept:?}.sqlite3"));
        let start = |key: &Path| {
            let (path, key) = (path.clone(), key.to_owned());
            TestStack::start_with(move |_, search| {
                search.embedded.path = path;
                search.watches.descriptions = kept;
                search.watches.description_key_file = key;
            })
        };
        let stack = start(&key).await;
        let mut client = stack.search().await;
        create_lobby(&mut client).await;
        watch(&mut client, request("wanted", text(CAPTION), LIKE_2601)).await;
        let told = listed(&mut client).await.remove(0).parts;
        assert_eq!(told.is_empty(), kept == KeptDescriptions::None, "{kept:?}: {told:?}");
        stack.stop().await;
        let content = std::fs::read(&path).unwrap();
        let lies_open = content.windows(CAPTION.len()).any(|window| window == CAPTION.as_bytes());
        assert_eq!(lies_open, kept == KeptDescriptions::Clear, "{kept:?}");

        // What lies open is closed, or gone, when the settings say so.
        if kept == KeptDescriptions::Clear {
            let sealed = TestStack::start_with(|_, search| {
                search.embedded.path.clone_from(&path);
                search.watches.descriptions = KeptDescriptions::Sealed;
                search.watches.description_key_file.clone_from(&key);
            })
            .await;
            let mut client = sealed.search().await;
            let told = listed(&mut client).await.remove(0).parts;
            assert_eq!(told.len(), 1);
            let is_open = || {
                let store = rusqlite::Connection::open(&path).unwrap();
                let like = format!("%{CAPTION}%");
                let count =
                    store.query_row("SELECT count(*) FROM document WHERE text LIKE ?1", [like], |row| row.get(0));
                count.unwrap_or(1) > 0
            };
            let closing = async {
                while is_open() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, closing).await.unwrap();
            assert_eq!(listed(&mut client).await.remove(0).parts, told);
            sealed.stop().await;
            continue;
        }

        // Without its key the watch works on, and what it looks for stays closed.
        let stack = start(&other_key).await;
        let told = listed(&mut stack.search().await).await;
        assert_eq!((told.len(), told[0].parts.is_empty()), (1, true), "{kept:?}");
        stack.stop().await;
    }
}
