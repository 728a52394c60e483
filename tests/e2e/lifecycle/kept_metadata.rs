//! What is known of images stays known until somebody says otherwise.

use super::images::pages;
use crate::queries::{LOBBY_IMAGES, Lobby};
use crate::services::{demo_images, index};
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{
    CreateGalleryRequest, DeleteImagesRequest, Filter, GalleryStatistics, GetGalleryStatisticsRequest, ImageMetadata,
    IndexEmbeddingsRequest, IndexImagesRequest, Indexed, ListImagesRequest, StoredImage, UpdateImagesRequest,
};
use descry_tests::TestStack;
use prost_types::FieldMask;
use std::collections::BTreeMap;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

/// The only image of an id.
async fn stored(lobby: &mut Lobby, image_id: &str) -> StoredImage {
    let filter = Some(Filter { image_ids: vec![image_id.to_owned()], ..Filter::default() });
    let request = ListImagesRequest {
        gallery: "lobby".to_owned(),
        filter,
        page_size: 2,
        with_embeddings: true,
        ..ListImagesRequest::default()
    };
    pages(&mut lobby.client, request).await.pop().expect("the image is there")
}

/// What is known of an image, but for when it was indexed.
async fn known(lobby: &mut Lobby, image_id: &str) -> ImageMetadata {
    let metadata = stored(lobby, image_id).await.metadata.unwrap();
    ImageMetadata { indexed_at: None, ..metadata }
}

async fn index_with(lobby: &mut Lobby, image: Image, metadata_mask: Option<FieldMask>) -> Indexed {
    let start = Start { gallery: "lobby".to_owned(), metadata_mask, ..Start::default() };
    let messages = [Message::Start(start), Message::Image(image)];
    let requests = messages.map(|message| IndexImagesRequest { message: Some(message) });
    let mut replies = lobby.client.index_images(tokio_stream::iter(requests)).await.unwrap().into_inner();
    match replies.message().await.unwrap().unwrap().outcome {
        Some(Outcome::Indexed(indexed)) => indexed,
        other => panic!("{other:?}"),
    }
}

async fn update(lobby: &mut Lobby, image_id: &str, metadata: ImageMetadata, metadata_mask: Option<FieldMask>) {
    let changes = vec![Change { image_id: image_id.to_owned(), metadata: Some(metadata) }];
    let request = UpdateImagesRequest { gallery: "lobby".to_owned(), changes, metadata_mask };
    assert_eq!(lobby.client.update_images(request).await.unwrap().into_inner().updated, 1);
}

fn attributes(attributes: &[(&str, &str)]) -> ImageMetadata {
    let attributes = attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    ImageMetadata { attributes, ..ImageMetadata::default() }
}

pub(super) async fn what_is_not_told_is_kept(lobby: &mut Lobby) {
    let image = lobby.images[9].clone();
    let (image_id, told) = (image.image_id.clone(), known(lobby, &image.image_id).await);
    let untold = Image { metadata: None, ..image.clone() };
    // The same file without its metadata is nothing new.
    assert!(index_with(lobby, untold.clone(), None).await.unchanged);
    assert_eq!(known(lobby, &image_id).await, told);

    // Another file under its name: still the same person at the same camera. What was there is told.
    let other = Image { content: lobby.images[8].content.clone(), ..untold.clone() };
    let indexed = index_with(lobby, other, None).await;
    let replaced = indexed.replaced.expect("it came in the place of another file");
    assert_eq!(ImageMetadata { indexed_at: None, ..replaced }, told);
    assert!(!indexed.unchanged && indexed.kept_until.is_none());
    assert_eq!(known(lobby, &image_id).await, told);
    let content = Image { metadata: image.metadata.clone(), ..untold.clone() };
    assert!(index_with(lobby, content, None).await.replaced.is_some());

    // Field by field, attribute by attribute, and gone only where it is named.
    update(lobby, &image_id, ImageMetadata { camera_id: Some("c9".to_owned()), ..attributes(&[("hat", "no")]) }, None)
        .await;
    let mut expected = ImageMetadata { camera_id: Some("c9".to_owned()), ..told.clone() };
    expected.attributes.insert("hat".to_owned(), "no".to_owned());
    assert_eq!(known(lobby, &image_id).await, expected);
    update(lobby, &image_id, ImageMetadata::default(), mask(&["camera_id", "attributes.hat"])).await;
    let expected = ImageMetadata { camera_id: None, ..told.clone() };
    assert_eq!(known(lobby, &image_id).await, expected);

    // Embeddings that come without metadata keep what is known, too.
    let StoredImage { embedding, content_sha256, .. } = stored(lobby, &image_id).await;
    let only_shift = attributes(&[("shift", "day")]);
    let row = StoredImage { image_id: image_id.clone(), metadata: Some(only_shift.clone()), content_sha256, embedding };
    let fingerprint = lobby.fingerprint().await;
    let write = |metadata_mask| IndexEmbeddingsRequest {
        gallery: "lobby".to_owned(),
        fingerprint: fingerprint.clone(),
        images: vec![row.clone()],
        metadata_mask,
        ..IndexEmbeddingsRequest::default()
    };
    lobby.client.index_embeddings(write(None)).await.unwrap();
    let mut shifted = expected.clone();
    shifted.attributes.extend(only_shift.attributes.clone());
    assert_eq!(known(lobby, &image_id).await, shifted);
    lobby.client.index_embeddings(write(mask(&["*"]))).await.unwrap();
    assert_eq!(known(lobby, &image_id).await, only_shift);

    // Everything is told anew.
    let indexed = index_with(lobby, image.clone(), mask(&["*"])).await;
    assert!(!indexed.unchanged && indexed.replaced.is_none(), "{indexed:?}");
    assert_eq!(Some(known(lobby, &image_id).await), image.metadata);

    let start = Start { gallery: "lobby".to_owned(), metadata_mask: mask(&["persons"]), ..Start::default() };
    let requests = [IndexImagesRequest { message: Some(Message::Start(start)) }];
    let refused = lobby.client.index_images(tokio_stream::iter(requests)).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("persons") && refused.message().contains("person_id"), "{refused}");
}

/// Each of many callers tells something else of one image at the same time; none may undo what another was told is done.
pub(super) async fn changes_at_the_same_time_are_all_kept(lobby: &mut Lobby) {
    const CALLERS: usize = 16;
    let image_id = lobby.images[9].image_id.clone();
    let mut expected = known(lobby, &image_id).await;
    let mut calls = JoinSet::new();
    for caller in 0..CALLERS {
        let mut client = lobby.client.clone();
        let metadata = Some(attributes(&[(format!("seen-{caller}").as_str(), "yes")]));
        let changes = vec![Change { image_id: image_id.clone(), metadata }];
        let request = UpdateImagesRequest { gallery: "lobby".to_owned(), changes, ..UpdateImagesRequest::default() };
        calls.spawn(async move { client.update_images(request).await.unwrap() });
    }
    assert_eq!(calls.join_all().await.len(), CALLERS);
    expected.attributes.extend((0..CALLERS).map(|caller| (format!("seen-{caller}"), "yes".to_owned())));
    assert_eq!(known(lobby, &image_id).await, expected);
    let paths: Vec<String> = (0..CALLERS).map(|caller| format!("attributes.seen-{caller}")).collect();
    update(lobby, &image_id, ImageMetadata::default(), Some(FieldMask { paths })).await;
    assert_eq!(Some(known(lobby, &image_id).await), lobby.images[9].metadata);
}

/// Indexing, describing and deleting one image at the same time: whatever comes last, nothing of what is known comes from
/// nowhere, and no description that was acknowledged after the image was there is lost.
pub(super) async fn indexing_undoes_no_description(lobby: &mut Lobby) {
    const ROUNDS: usize = 12;
    let image = lobby.images[9].clone();
    let untold = Image { metadata: None, ..image.clone() };
    let other = Image { content: lobby.images[8].content.clone(), ..untold.clone() };
    for round in 0..ROUNDS {
        // The file changes each time, so that each time something is written.
        let next = if round % 2 == 0 { other.clone() } else { untold.clone() };
        let told = attributes(&[("round", round.to_string().as_str())]);
        let changes = vec![Change { image_id: image.image_id.clone(), metadata: Some(told) }];
        let request = UpdateImagesRequest { gallery: "lobby".to_owned(), changes, ..UpdateImagesRequest::default() };
        let (mut writer, mut describer) = (lobby.client.clone(), lobby.client.clone());
        let (_, updated) =
            tokio::join!(index(&mut writer, "lobby", vec![next]), async { describer.update_images(request).await });
        assert_eq!(updated.unwrap().into_inner().updated, 1);
        let known = known(lobby, &image.image_id).await;
        assert_eq!(known.attributes.get("round"), Some(&round.to_string()), "round {round}");
        assert_eq!(known.person_id, image.metadata.as_ref().unwrap().person_id);
    }
    let indexed = index_with(lobby, image.clone(), mask(&["*"])).await;
    assert!(!indexed.unchanged);

    for round in 0..ROUNDS {
        let delete = DeleteImagesRequest {
            gallery: "lobby".to_owned(),
            image_ids: vec![image.image_id.clone()],
            ..DeleteImagesRequest::default()
        };
        let (mut writer, mut deleter) = (lobby.client.clone(), lobby.client.clone());
        let written = Image { content: lobby.images[round].content.clone(), ..untold.clone() };
        let (_, deleted) =
            tokio::join!(index(&mut writer, "lobby", vec![written]), async { deleter.delete_images(delete).await });
        deleted.unwrap();
        // Gone, or there as an image of which nothing is known.
        let filter = Some(Filter { image_ids: vec![image.image_id.clone()], ..Filter::default() });
        let request = ListImagesRequest { gallery: "lobby".to_owned(), filter, ..ListImagesRequest::default() };
        let left = lobby.client.list_images(request).await.unwrap().into_inner().images;
        let known: Vec<_> = left.into_iter().filter_map(|image| image.metadata?.person_id).collect();
        assert_eq!(known, Vec::<String>::new(), "round {round}");
        index_with(lobby, image.clone(), None).await;
    }
}

async fn statistics(client: &mut SearchServiceClient<Channel>, limit: u32) -> GalleryStatistics {
    let request = GetGalleryStatisticsRequest { gallery: "lobby".to_owned(), limit };
    client.get_gallery_statistics(request).await.unwrap().into_inner()
}

pub(super) async fn images_are_counted_by_what_is_known_of_them(lobby: &mut Lobby) {
    let request = ListImagesRequest { gallery: "lobby".to_owned(), page_size: 7, ..ListImagesRequest::default() };
    let all: Vec<ImageMetadata> =
        pages(&mut lobby.client, request).await.into_iter().filter_map(|image| image.metadata).collect();
    let mut by_camera: BTreeMap<String, u64> = BTreeMap::new();
    for camera_id in all.iter().filter_map(|metadata| metadata.camera_id.clone()) {
        *by_camera.entry(camera_id).or_default() += 1;
    }
    let mut persons: Vec<&String> = all.iter().filter_map(|metadata| metadata.person_id.as_ref()).collect();
    persons.sort_unstable();
    persons.dedup();
    let count =
        |is_meant: &dyn Fn(&ImageMetadata) -> bool| all.iter().filter(|metadata| is_meant(metadata)).count() as u64;

    let found = statistics(&mut lobby.client, 0).await;
    assert_eq!((found.images, found.persons), (u64::from(LOBBY_IMAGES), persons.len() as u64));
    assert_eq!(found.images_without_person, count(&|metadata| metadata.person_id.is_none()));
    let cameras = found.cameras.clone().unwrap();
    assert!(cameras.counts.is_sorted_by(|a, b| a.images > b.images || (a.images == b.images && a.value < b.value)));
    let told: BTreeMap<String, u64> = cameras.counts.iter().map(|count| (count.value.clone(), count.images)).collect();
    assert_eq!(told, by_camera);
    let weather = &found.attributes["weather"];
    assert_eq!(weather.images_without, count(&|metadata| !metadata.attributes.contains_key("weather")));
    let times = || all.iter().filter_map(|metadata| metadata.captured_at.map(|time| (time.seconds, time.nanos)));
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos));
    assert_eq!((seconds(found.captured_first), seconds(found.captured_last)), (times().min(), times().max()));
    assert!(found.indexed_first.is_some() && found.indexed_last.is_some());

    let cut = statistics(&mut lobby.client, 1).await.cameras.unwrap();
    assert_eq!((cut.counts.len(), cut.left_out), (1, by_camera.len() as u64 - 1));
    let request = GetGalleryStatisticsRequest { gallery: "nowhere".to_owned(), limit: 0 };
    assert_eq!(lobby.client.get_gallery_statistics(request).await.unwrap_err().code(), Code::NotFound);
    let request = GetGalleryStatisticsRequest { gallery: "lobby".to_owned(), limit: 1_000_000 };
    assert_eq!(lobby.client.get_gallery_statistics(request).await.unwrap_err().code(), Code::InvalidArgument);
}

/// A gallery whose embeddings are of another length than its model's could be filled and never be searched.
#[tokio::test]
async fn a_gallery_of_a_length_that_its_model_does_not_have_is_refused() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(1)).await;
    let request = ListImagesRequest { gallery: "lobby".to_owned(), ..ListImagesRequest::default() };
    let fingerprint = client.list_images(request).await.unwrap().into_inner().fingerprint;
    let create = |fingerprint: &str, embedding_dimension| CreateGalleryRequest {
        name: "yard".to_owned(),
        fingerprint: fingerprint.to_owned(),
        embedding_dimension,
        ..CreateGalleryRequest::default()
    };
    let refused = client.create_gallery(create(&fingerprint, 64)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("64") && refused.message().contains("128"), "{refused}");
    // Of a model that does not run nobody else knows anything.
    client.create_gallery(create(&"ab".repeat(32), 64)).await.unwrap();
    stack.stop().await;
}
