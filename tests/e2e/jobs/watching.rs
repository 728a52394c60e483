//! `descry watch`: matches are printed as their images are indexed.

use crate::services::index;
use crate::stands::commands::{Running, last_json, succeed};
use crate::stands::crops::{Crops, person};
use crate::stands::polling::PATIENCE;
use descry_proto::search::v1::index_images_request::Image;
use descry_tests::TestStack;
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::sync::mpsc::UnboundedReceiver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_follow_a_watch_see_what_matches_and_nothing_else() {
    let stack = TestStack::start_with(|_, search| search.watches.poll_interval_ms = 20).await;
    let crops = Crops::write(12);
    let (folder, metadata) = (crops.folder(), crops.metadata());
    let url = stack.search_url.as_str();
    let at = ["--server", url, "--gallery", "lobby"];
    succeed(&["gallery", "create", "lobby", "--server", url]);
    let wanted = person(&crops.images[0]);
    let create = ["watch", "create", "one-person", "somebody", "--min-score", "-0.99", "--person", wanted];
    succeed(&[&create[..], &at].concat());
    // Nobody looks as exactly like a description.
    succeed(&[&["watch", "create", "nobody", "a", "person", "--min-score", "0.99"][..], &at].concat());
    let listed = last_json(&succeed(&[&["watch", "list", "--json"][..], &at].concat()));
    let listed: Vec<(&str, bool)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|watch| (watch["name"].as_str().unwrap(), watch["has_conditions"].as_bool().unwrap()))
        .collect();
    assert_eq!(listed, [("nobody", false), ("one-person", true)]);

    // Whenever it connects, it begins with what was there first.
    let follow = ["watch", "follow", "--since", "2020-01-01T00:00:00Z"];
    let mut objects = Running::start(&[&follow[..], &["--json"], &at].concat());
    let mut texts = Running::start(&[&follow[..], &at].concat());
    let (mut objects, mut texts) = ((objects.lines(), objects), (texts.lines(), texts));
    succeed(&[&["index", &folder, "--metadata", &metadata][..], &at].concat());
    let own = crops.ids_where(|image| person(image) == wanted);
    assert!((2..12).contains(&own.len()));
    let mut found = BTreeSet::new();
    for _ in &own {
        let line: Value = serde_json::from_str(&next(&mut objects.0).await).unwrap();
        assert_eq!((line["watch"].as_str(), line["person_id"].as_str()), (Some("one-person"), Some(wanted)), "{line}");
        assert!(found.insert(line["image_id"].as_str().unwrap().to_owned()), "{line} came twice");
        let told = next(&mut texts.0).await;
        assert!(told.contains("one-person") && own.iter().any(|image_id| told.contains(image_id)), "{told}");
    }
    assert_eq!(found, own);

    // The next match is the next thing that is printed, whatever else is indexed before it.
    let mut client = stack.search().await;
    let other = crops.images.iter().find(|image| person(image) != wanted).unwrap();
    let late = Image { image_id: "late.jpg".to_owned(), ..crops.images[0].clone() };
    index(&mut client, "lobby", vec![Image { image_id: "other.jpg".to_owned(), ..other.clone() }]).await;
    index(&mut client, "lobby", vec![late]).await;
    let line: Value = serde_json::from_str(&next(&mut objects.0).await).unwrap();
    assert_eq!(line["image_id"], "late.jpg", "{line}");
    assert!(next(&mut texts.0).await.contains("late.jpg"));
    assert!(!objects.1.has_ended() && !texts.1.has_ended());

    succeed(&[&["watch", "delete", "one-person"][..], &at].concat());
    let left = last_json(&succeed(&[&["watch", "list", "--json"][..], &at].concat()));
    assert_eq!(left.as_array().unwrap().iter().map(|watch| &watch["name"]).collect::<Vec<_>>(), ["nobody"]);
    stack.stop().await;
}

async fn next(lines: &mut UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, lines.recv()).await.unwrap().unwrap()
}
