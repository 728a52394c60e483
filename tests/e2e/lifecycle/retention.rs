//! Images that have been kept long enough are removed, and no others.

use super::described;
use super::images::pages;
use crate::queries::keep_in;
use crate::services::{demo_images, index};
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CreateGalleryRequest, ImageMetadata, ListImagesRequest, Retention, SetRetentionRequest,
};
use descry_qdrant_server::TestQdrant;
use descry_tests::TestStack;
use prost_types::Timestamp;
use std::time::Duration;
use tonic::transport::Channel;

/// Far longer than anything here takes: it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

const DAY_MS: u64 = 86_400_000;

/// Longer ago than the demo's images were taken, in November 2023.
const CENTURY_MS: u64 = 100 * 365 * DAY_MS;

/// Waits until sweeps have left only so many images, and tells which.
async fn left(client: &mut SearchServiceClient<Channel>, count: usize) -> Vec<String> {
    let falling = async {
        while described(client, "lobby").await.images != count as u64 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, falling).await.unwrap();
    let request = ListImagesRequest { gallery: "lobby".to_owned(), page_size: 100, ..ListImagesRequest::default() };
    let mut images: Vec<String> = pages(client, request).await.into_iter().map(|image| image.image_id).collect();
    images.sort_unstable();
    images
}

fn copy(image: &Image, image_id: &str, metadata: ImageMetadata) -> Image {
    Image { image_id: image_id.to_owned(), metadata: Some(metadata), content: image.content.clone() }
}

async fn check(mut client: SearchServiceClient<Channel>) {
    // A day; images of c0 for ever, those of c5 for a century.
    let camera_ms = [("c0".to_owned(), 0), ("c5".to_owned(), CENTURY_MS)].into();
    let create = CreateGalleryRequest {
        name: "lobby".to_owned(),
        retention: Some(Retention { default_ms: DAY_MS, camera_ms }),
        ..CreateGalleryRequest::default()
    };
    client.create_gallery(create).await.unwrap();
    let mut images = demo_images(24);
    let is_at = |image: &Image, camera: &str| image.metadata.as_ref().unwrap().camera_id.as_deref() == Some(camera);
    let of = |camera: &str| -> Vec<String> {
        let images = images.iter().filter(|image| is_at(image, camera));
        images.map(|image| image.image_id.clone()).collect()
    };
    let (of_c0, of_c5) = (of("c0"), of("c5"));
    assert!(!of_c0.is_empty() && !of_c5.is_empty() && of_c0.len() + of_c5.len() < images.len());
    let captured_at = images[0].metadata.as_ref().unwrap().captured_at;
    // Without camera, taken long ago; and one of which only is known that it comes now.
    let old = copy(&images[0], "without-camera.jpg", ImageMetadata { captured_at, ..ImageMetadata::default() });
    let new = copy(&images[0], "without-time.jpg", ImageMetadata::default());
    images.extend([old, new]);
    let count = images.len();
    let replies = index(&mut client, "lobby", images).await;
    assert_eq!(replies.len(), count);
    // Who indexes is told how long it stays, also of what the next sweep removes.
    let now = Timestamp::from(std::time::SystemTime::now()).seconds;
    let mut past = 0;
    for reply in &replies {
        let Some(Outcome::Indexed(indexed)) = &reply.outcome else { panic!("{reply:?}") };
        let kept_until = indexed.kept_until.map(|time| time.seconds);
        assert_eq!(kept_until.is_none(), of_c0.contains(&reply.image_id), "{reply:?}");
        past += usize::from(kept_until.is_some_and(|until| until <= now));
    }
    assert_eq!(past, count - of_c0.len() - of_c5.len() - 1);

    let mut expected = [of_c0, of_c5.clone(), vec!["without-time.jpg".to_owned()]].concat();
    expected.sort_unstable();
    assert_eq!(left(&mut client, expected.len()).await, expected);

    // Turned round: now a day for c0, and all others for ever.
    let retention = Retention { default_ms: 0, camera_ms: [("c0".to_owned(), DAY_MS)].into() };
    let set = SetRetentionRequest { gallery: "lobby".to_owned(), retention: Some(retention), validate_only: false };
    client.set_retention(set).await.unwrap();
    let mut expected = [of_c5, vec!["without-time.jpg".to_owned()]].concat();
    expected.sort_unstable();
    assert_eq!(left(&mut client, expected.len()).await, expected);

    // What was written a moment ago is old enough for a millisecond.
    let retention = Retention { default_ms: 1, ..Retention::default() };
    let set = SetRetentionRequest { gallery: "lobby".to_owned(), retention: Some(retention), validate_only: false };
    client.set_retention(set).await.unwrap();
    assert!(left(&mut client, 0).await.is_empty());
}

/// Whoever shortens the time, or makes a gallery of a short one, is told what it costs before the sweep comes.
#[tokio::test]
async fn what_the_next_sweep_removes_is_counted() {
    let stack = TestStack::start_with(|_, search| search.retention.sweep_interval_ms = 0).await;
    let mut client = stack.search().await;
    let images = demo_images(24);
    let is_at = |image: &&Image, camera: &str| image.metadata.as_ref().unwrap().camera_id.as_deref() == Some(camera);
    let at_c1 = images.iter().filter(|image| is_at(image, "c1")).count() as u64;
    index(&mut client, "lobby", images.clone()).await;
    assert_eq!(described(&mut client, "lobby").await.past_retention, 0);
    for (retention, expected) in [
        (Retention { default_ms: DAY_MS, ..Retention::default() }, 24),
        (Retention { default_ms: DAY_MS, camera_ms: [("c1".to_owned(), 0)].into() }, 24 - at_c1),
        (Retention { default_ms: 0, camera_ms: [("c1".to_owned(), DAY_MS)].into() }, at_c1),
        (Retention { default_ms: CENTURY_MS, ..Retention::default() }, 0),
    ] {
        let set = SetRetentionRequest { gallery: "lobby".to_owned(), retention: Some(retention), validate_only: false };
        assert_eq!(client.set_retention(set).await.unwrap().into_inner().past_retention, expected);
        assert_eq!(described(&mut client, "lobby").await.past_retention, expected);
    }
    stack.stop().await;
}

#[tokio::test]
async fn kept_long_enough_on_the_embedded_store() {
    let stack = TestStack::start_with(|_, search| search.retention.sweep_interval_ms = 20).await;
    check(stack.search().await).await;
    stack.stop().await;
}

#[tokio::test]
async fn kept_long_enough_on_qdrant() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| {
        keep_in(&server, search);
        search.retention.sweep_interval_ms = 20;
    })
    .await;
    check(stack.search().await).await;
    stack.stop().await;
}
