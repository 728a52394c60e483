//! Images of one gallery: read page by page, described anew, removed.

use super::described;
use crate::queries::{CAPTION, LOBBY_IMAGES, Lobby, ids};
use crate::services::{demo_images, index, text_search};
use descry_model::sha256_hex;
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{
    AttributeCondition, DeleteImagesRequest, Filter, ImageMetadata, ListImagesRequest, SearchRequest, StoredImage,
    UpdateImagesRequest,
};
use descry_tests::TestStack;
use prost_types::FieldMask;
use std::collections::BTreeMap;
use tonic::Code;
use tonic::transport::Channel;

/// All pages, one after another.
pub(super) async fn pages(
    client: &mut SearchServiceClient<Channel>,
    mut request: ListImagesRequest,
) -> Vec<StoredImage> {
    let mut images = Vec::new();
    loop {
        let page = client.list_images(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.fingerprint.len(), 64);
        assert!(page.images.len() <= request.page_size as usize);
        images.extend(page.images);
        assert!(images.len() < 1_000, "pages without end");
        if page.next_page_token.is_empty() {
            return images;
        }
        request.page_token = page.next_page_token;
    }
}

async fn stored(lobby: &mut Lobby, filter: Option<Filter>) -> BTreeMap<String, StoredImage> {
    let request = ListImagesRequest {
        gallery: "lobby".to_owned(),
        filter,
        page_size: 7,
        with_embeddings: true,
        ..ListImagesRequest::default()
    };
    let images = pages(&mut lobby.client, request).await;
    let count = images.len();
    let by_id: BTreeMap<_, _> = images.into_iter().map(|image| (image.image_id.clone(), image)).collect();
    assert_eq!(by_id.len(), count, "no image comes twice");
    by_id
}

fn camera(camera_id: &str) -> Filter {
    Filter { camera_ids: vec![camera_id.to_owned()], ..Filter::default() }
}

fn is_at(image: &Image, camera_id: &str) -> bool {
    image.metadata.as_ref().unwrap().camera_id.as_deref() == Some(camera_id)
}

pub(super) async fn pages_give_each_image_once(lobby: &mut Lobby) {
    let all = stored(lobby, None).await;
    assert!(all.keys().eq(lobby.images.iter().map(|image| &image.image_id)));
    for image in &lobby.images {
        let found = &all[&image.image_id];
        assert_eq!(found.content_sha256, sha256_hex(&image.content));
        let metadata = found.metadata.clone().unwrap();
        assert!(metadata.indexed_at.is_some_and(|time| time.seconds > 1_600_000_000));
        assert_eq!(Some(ImageMetadata { indexed_at: None, ..metadata }), image.metadata);
        assert_eq!(found.embedding.len(), 128);
        let length: f32 = found.embedding.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
    }
    let some = stored(lobby, Some(camera("c5"))).await;
    let expected: Vec<&String> =
        lobby.images.iter().filter(|image| is_at(image, "c5")).map(|image| &image.image_id).collect();
    assert!(some.keys().eq(expected));
    assert!(some.iter().all(|(image_id, image)| *image == all[image_id]));

    // The usual page holds all of them; embeddings only come when asked for.
    let request = ListImagesRequest { gallery: "lobby".to_owned(), ..ListImagesRequest::default() };
    let page = lobby.client.list_images(request).await.unwrap().into_inner();
    assert_eq!((page.images.len(), page.next_page_token.as_str()), (LOBBY_IMAGES as usize, ""));
    assert!(page.images.iter().all(|image| image.embedding.is_empty()));
}

/// Whether indexing an image once more had nothing to do.
async fn is_unchanged(lobby: &mut Lobby, image: Image) -> bool {
    match &index(&mut lobby.client, "lobby", vec![image]).await[..] {
        [reply] => matches!(&reply.outcome, Some(Outcome::Indexed(done)) if done.unchanged),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn new_metadata_changes_nothing_else(lobby: &mut Lobby) {
    let before = stored(lobby, None).await;
    let old: Vec<Image> = lobby.images[..3].to_vec();
    let moved: Vec<Image> = old
        .iter()
        .map(|image| {
            let mut metadata = image.metadata.clone().unwrap();
            metadata.camera_id = Some("c9".to_owned());
            metadata.attributes = [("weather".to_owned(), "snow".to_owned())].into();
            Image { metadata: Some(metadata), ..image.clone() }
        })
        .collect();
    let change = |image: &Image| Change { image_id: image.image_id.clone(), metadata: image.metadata.clone() };
    let mut changes: Vec<Change> = moved.iter().map(change).collect();
    changes.push(Change { image_id: "unknown.jpg".to_owned(), metadata: None });
    let metadata_mask = Some(FieldMask { paths: vec!["*".to_owned()] });
    let request = UpdateImagesRequest { gallery: "lobby".to_owned(), changes, metadata_mask };
    assert_eq!(lobby.client.update_images(request).await.unwrap().into_inner().updated, 3);

    // Filters know at once.
    let snow = AttributeCondition { name: "weather".to_owned(), values: vec!["snow".to_owned()] };
    let snow = Filter { attributes: vec![snow], ..camera("c9") };
    let request = SearchRequest { filter: Some(snow), ..text_search("lobby", CAPTION, LOBBY_IMAGES) };
    let hits = lobby.search(request).await;
    let mut found = ids(&hits);
    found.sort_unstable();
    assert!(found.iter().eq(moved.iter().map(|image| &image.image_id)), "{found:?}");

    let after = stored(lobby, None).await;
    assert!(after.keys().eq(before.keys()));
    for (image_id, image) in &after {
        let before = &before[image_id];
        match moved.iter().find(|moved| moved.image_id == *image_id) {
            None => assert_eq!(image, before),
            Some(moved) => {
                assert_eq!(image.embedding, before.embedding);
                assert_eq!(image.content_sha256, before.content_sha256);
                let indexed_at = before.metadata.as_ref().unwrap().indexed_at;
                let expected = ImageMetadata { indexed_at, ..moved.metadata.clone().unwrap() };
                assert_eq!(image.metadata, Some(expected));
            }
        }
    }
    // The file is known, and so is what is said of it now; what was said before is news again.
    assert!(is_unchanged(lobby, moved[0].clone()).await);
    assert!(!is_unchanged(lobby, old[1].clone()).await);
}

pub(super) async fn what_meets_a_filter_is_deleted(lobby: &mut Lobby) {
    let delete = |image_ids: &[&str], filter: Option<Filter>| DeleteImagesRequest {
        gallery: "lobby".to_owned(),
        image_ids: image_ids.iter().map(|id| (*id).to_owned()).collect(),
        filter,
    };
    for (request, word) in [
        (delete(&[], Some(Filter::default())), "restrict"),
        (delete(&["p2603_c1_1.jpg"], Some(camera("c3"))), "not both"),
        (delete(&["p2603_c1_1.jpg"], Some(Filter::default())), "not both"),
    ] {
        let status = lobby.client.delete_images(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(word), "{word:?} is not in: {status}");
    }
    let nothing = lobby.client.delete_images(delete(&[], None)).await.unwrap().into_inner();
    assert_eq!(nothing.deleted, 0);
    assert_eq!(described(&mut lobby.client, "lobby").await.images, u64::from(LOBBY_IMAGES));

    let (gone, rest): (Vec<Image>, Vec<Image>) = lobby.images.iter().cloned().partition(|image| is_at(image, "c3"));
    assert!(!gone.is_empty());
    for expected in [gone.len() as u64, 0] {
        let deleted = lobby.client.delete_images(delete(&[], Some(camera("c3")))).await.unwrap().into_inner();
        assert_eq!(deleted.deleted, expected);
    }
    let left = stored(lobby, None).await;
    assert!(left.keys().eq(rest.iter().map(|image| &image.image_id)));
    assert_eq!(described(&mut lobby.client, "lobby").await.images, rest.len() as u64);
    assert_eq!(lobby.search(text_search("lobby", CAPTION, LOBBY_IMAGES)).await.len(), rest.len());
    // What is gone can come back.
    assert!(!is_unchanged(lobby, gone[0].clone()).await);
    assert_eq!(described(&mut lobby.client, "lobby").await.images, rest.len() as u64 + 1);
}

#[tokio::test]
async fn empty_filters_within_a_filter_delete_nothing() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(2)).await;
    let empty = Filter::default;
    for filter in [
        Filter { all: vec![empty()], ..empty() },
        Filter { any: vec![camera("c5"), empty()], ..empty() },
        Filter { all: vec![Filter { all: vec![empty()], any: vec![empty()], ..empty() }], ..empty() },
    ] {
        let request = DeleteImagesRequest {
            gallery: "lobby".to_owned(),
            filter: Some(filter.clone()),
            ..DeleteImagesRequest::default()
        };
        let refused = client.delete_images(request).await;
        assert_eq!(refused.map_err(|status| status.code()).unwrap_err(), Code::InvalidArgument, "{filter:?}");
    }
    assert_eq!(described(&mut client, "lobby").await.images, 2);
    stack.stop().await;
}
