//! Which images count.

use super::{CAPTION, LOBBY_IMAGES, Lobby, ids};
use crate::services::text_search;
use descry_proto::search::v1::{AttributeCondition, Filter, Hit, ImageMetadata, SearchRequest};
use prost_types::Timestamp;
use std::collections::BTreeSet;
use tonic::Code;

fn cameras(camera_ids: &[&str]) -> Filter {
    Filter { camera_ids: camera_ids.iter().map(|id| (*id).to_owned()).collect(), ..Filter::default() }
}

fn person(person_id: &str) -> Filter {
    Filter { person_ids: vec![person_id.to_owned()], ..Filter::default() }
}

fn images(image_ids: &[&str]) -> Filter {
    Filter { image_ids: image_ids.iter().map(|id| (*id).to_owned()).collect(), ..Filter::default() }
}

fn attribute(name: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Filter { attributes: vec![AttributeCondition { name: name.to_owned(), values }], ..Filter::default() }
}

fn is_at(metadata: &ImageMetadata, camera: &str) -> bool {
    metadata.camera_id.as_deref() == Some(camera)
}

fn is_of(metadata: &ImageMetadata, person: &str) -> bool {
    metadata.person_id.as_deref() == Some(person)
}

fn weather(metadata: &ImageMetadata) -> Option<&str> {
    metadata.attributes.get("weather").map(String::as_str)
}

async fn found(lobby: &mut Lobby, filter: Filter) -> Vec<Hit> {
    let request = SearchRequest { filter: Some(filter), ..text_search("lobby", CAPTION, LOBBY_IMAGES) };
    lobby.search(request).await
}

/// Searches all that a filter lets through, and holds it against looking at each image.
async fn check(lobby: &mut Lobby, filter: Filter, meets: impl Fn(&str, &ImageMetadata) -> bool) {
    let hits = found(lobby, filter.clone()).await;
    let found: BTreeSet<&str> = ids(&hits).into_iter().collect();
    assert_eq!(found.len(), hits.len(), "an image comes twice: {filter:?}");
    let met = lobby.images.iter().filter(|image| meets(&image.image_id, image.metadata.as_ref().unwrap()));
    let expected: BTreeSet<&str> = met.map(|image| image.image_id.as_str()).collect();
    assert!((1..lobby.images.len()).contains(&expected.len()), "says nothing: {filter:?}");
    assert_eq!(found, expected, "{filter:?}");
}

pub(super) async fn nested_filters_agree_with_looking_at_each_image(lobby: &mut Lobby) {
    // At c5, or of 2602 and not at c2.
    let elsewhere = Filter { all: vec![person("2602")], none: vec![cameras(&["c2"])], ..Filter::default() };
    let either = Filter { any: vec![cameras(&["c5"]), elsewhere], ..Filter::default() };
    let is_either =
        |metadata: &ImageMetadata| is_at(metadata, "c5") || (is_of(metadata, "2602") && !is_at(metadata, "c2"));
    check(lobby, either.clone(), |_, metadata| is_either(metadata)).await;
    let neither = Filter { none: vec![either], ..Filter::default() };
    check(lobby, neither.clone(), |_, metadata| !is_either(metadata)).await;
    let not_neither = Filter { none: vec![neither], ..Filter::default() };
    check(lobby, not_neither, |_, metadata| is_either(metadata)).await;
    // Conditions of every kind side by side, all of which hold.
    let seconds = 1_700_000_000 - 10;
    let people = ["2601", "2602", "2605"];
    let all = Filter {
        captured_from: Some(Timestamp { seconds, nanos: 0 }),
        any: people.map(person).into(),
        none: vec![cameras(&["c5", "c1"])],
        all: vec![Filter { none: vec![cameras(&["c2"])], ..Filter::default() }],
        ..Filter::default()
    };
    check(lobby, all, |_, metadata| {
        let is_of_any = people.iter().any(|person| is_of(metadata, person));
        let is_late = metadata.captured_at.is_some_and(|time| time.seconds >= seconds);
        is_late && is_of_any && !["c5", "c1", "c2"].iter().any(|camera| is_at(metadata, camera))
    })
    .await;

    let named = ["p2601_c1_1.jpg", "p2607_c4_2.jpg", "unknown.jpg"];
    check(lobby, images(&named), |image_id, _| named.contains(&image_id)).await;
    let unnamed = Filter { none: vec![images(&named)], ..Filter::default() };
    check(lobby, unnamed, |image_id, _| !named.contains(&image_id)).await;
    let nobody = Filter { all: vec![person("2601"), person("2602")], ..Filter::default() };
    assert!(found(lobby, nobody).await.is_empty());
    assert!(found(lobby, images(&["unknown.jpg"])).await.is_empty());
}

pub(super) async fn declared_attributes_are_filtered_by(lobby: &mut Lobby) {
    check(lobby, attribute("weather", &["sun"]), |_, metadata| weather(metadata) == Some("sun")).await;
    check(lobby, attribute("weather", &["sun", "rain", "snow"]), |_, metadata| weather(metadata).is_some()).await;
    let unknown = Filter { none: vec![attribute("weather", &["sun", "rain"])], ..Filter::default() };
    check(lobby, unknown, |_, metadata| weather(metadata).is_none()).await;
    let dry = Filter { all: vec![attribute("weather", &["sun"])], ..cameras(&["c0", "c2"]) };
    check(lobby, dry, |_, metadata| {
        weather(metadata) == Some("sun") && (is_at(metadata, "c0") || is_at(metadata, "c2"))
    })
    .await;
    assert!(found(lobby, attribute("weather", &["snow"])).await.is_empty());

    // All images have this one, but the gallery does not declare it.
    let undeclared = Filter { any: vec![cameras(&["c0"]), attribute("shift", &["night"])], ..Filter::default() };
    let request = SearchRequest { filter: Some(undeclared), ..text_search("lobby", CAPTION, 5) };
    let status = lobby.refused(request).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("shift") && status.message().contains("declare"), "{status}");
}

pub(super) async fn times_of_indexing_are_filtered_by(lobby: &mut Lobby) {
    let hits = found(lobby, Filter::default()).await;
    let times = hits.iter().map(|hit| hit.metadata.as_ref().and_then(|metadata| metadata.indexed_at).unwrap());
    let milliseconds = |time: &Timestamp| time.seconds * 1_000 + i64::from(time.nanos / 1_000_000);
    let first = times.clone().min_by_key(milliseconds).unwrap();
    let last = times.max_by_key(milliseconds).unwrap();
    let after = |time: Timestamp| Timestamp { seconds: time.seconds + 1, ..time };
    for (from, before, count) in [
        (Some(first), Some(after(last)), LOBBY_IMAGES as usize),
        (Some(first), None, LOBBY_IMAGES as usize),
        (None, Some(first), 0),
        (Some(after(last)), None, 0),
    ] {
        let filter = Filter { indexed_from: from, indexed_before: before, ..Filter::default() };
        assert_eq!(found(lobby, filter.clone()).await.len(), count, "{filter:?}");
    }
}
