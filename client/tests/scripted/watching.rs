//! Matches across streams that break.

use crate::service::{Scripted, State};
use descry_client::ClientError;
use descry_proto::search::v1::{Hit, ImageMetadata, WatchMatch};
use prost_types::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn found(image_id: &str, seconds: i64) -> WatchMatch {
    let metadata = Some(ImageMetadata { indexed_at: Some(at(seconds)), ..ImageMetadata::default() });
    let hit = Hit { image_id: image_id.to_owned(), metadata, ..Hit::default() };
    WatchMatch { watch: "red".to_owned(), hit: Some(hit), position: String::new() }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_loses_no_late_commit_and_repeats_nothing() {
    let first = vec![found("a", 1_000), found("b", 1_030)];
    // What was indexed before the newest match, and seen only behind it; then what is new.
    let second = vec![found("a", 1_000), found("late", 990), found("b", 1_030), found("c", 1_040)];
    let third = vec![found("late", 990), found("d", 1_050)];
    let service = Scripted::new(State { streams: [first, second, third].into(), ..State::default() });
    let mut matches = service.connect().matches("lobby", Vec::new(), Some(at(985)));
    for expected in ["a", "b", "late", "c", "d"] {
        assert_eq!(matches.next().await.unwrap().hit.unwrap().image_id, expected);
    }
    assert_eq!(matches.next().await.unwrap_err().code(), Some(tonic::Code::NotFound));
    // Never from before what was asked for, which is less than a minute ago at first.
    assert_eq!(service.state().since, [985, 985, 985, 990].map(|seconds| Some(at(seconds))));
}

#[tokio::test(start_paused = true)]
async fn who_follows_from_now_on_does_not_begin_anew_with_each_stream() {
    let service = Scripted::new(State { streams: [Vec::new(), Vec::new()].into(), ..State::default() });
    let mut matches = service.connect().matches("lobby", vec!["red".to_owned()], None);
    matches.next().await.unwrap_err();
    let since = service.state().since.clone();
    assert_eq!((since[0], since[1].is_some(), since[2]), (None, true, since[1]));
}

#[tokio::test(start_paused = true)]
async fn patience_may_have_an_end() {
    let service = Scripted::new(State { streams: vec![Vec::new(); 100].into(), ..State::default() });
    let mut matches = service.connect().matches("lobby", Vec::new(), None).retry_for(Duration::from_secs(20));
    let began = Instant::now();
    let error = matches.next().await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error}");
    assert!((20..22).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Where the store numbers its writes, no clock decides where a stream goes on.
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_at_the_position_that_was_told_last() {
    let position = |text: &str| WatchMatch { position: text.to_owned(), ..WatchMatch::default() };
    let first = vec![position("n5"), found("a", 1_000), position("n6"), found("b", 1_001)];
    let second = vec![found("b", 1_001), found("a clock behind", 400), position("n9")];
    let service = Scripted::new(State { streams: [first, second].into(), ..State::default() });
    let mut matches = service.connect().matches("lobby", Vec::new(), None);
    for expected in ["a", "b", "a clock behind"] {
        assert_eq!(matches.next().await.unwrap().hit.unwrap().image_id, expected);
    }
    matches.next().await.unwrap_err();
    assert_eq!(service.state().after, ["", "n6", "n9"]);
}
