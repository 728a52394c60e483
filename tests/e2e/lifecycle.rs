//! What becomes of galleries and images that are there: settings, pages, changes, removal, copies, retention.

mod copies;
mod images;
mod kept_metadata;
mod retention;
pub(crate) mod upright;

use crate::queries::{Lobby, keep_in};
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CreateGalleryRequest, Gallery, GallerySettings, GetGalleryRequest, QdrantSettings, Quantization, Retention,
    SetRetentionRequest,
};
use descry_qdrant_server::TestQdrant;
use descry_tests::TestStack;
use tonic::Code;
use tonic::transport::Channel;

async fn described(client: &mut SearchServiceClient<Channel>, name: &str) -> Gallery {
    client.get_gallery(GetGalleryRequest { name: name.to_owned() }).await.unwrap().into_inner()
}

/// So long that nothing is removed.
const CENTURIES_MS: u64 = 400 * 365 * 86_400_000;

async fn settings_are_told_as_given(client: &mut SearchServiceClient<Channel>) {
    let qdrant = QdrantSettings {
        hnsw_m: Some(24),
        on_disk_vectors: Some(true),
        quantization: Quantization::Int8.into(),
        ..QdrantSettings::default()
    };
    let indexed_attributes = vec!["weather".to_owned(), "coat-colour".to_owned()];
    let settings = GallerySettings { indexed_attributes, qdrant: Some(qdrant), ..Default::default() };
    let camera_ms = [("c0".to_owned(), 0), ("c1".to_owned(), CENTURIES_MS)].into();
    let retention = Retention { default_ms: CENTURIES_MS, camera_ms };
    let create = CreateGalleryRequest {
        name: "yard".to_owned(),
        settings: Some(settings.clone()),
        retention: Some(retention.clone()),
        ..CreateGalleryRequest::default()
    };
    let created = client.create_gallery(create).await.unwrap().into_inner();
    assert_eq!((created.generation, created.images, created.embedding_dimension), (1, 0, 128));
    assert!(!created.calibrated);
    assert!(created.created_at.is_some_and(|time| time.seconds > 1_600_000_000), "{created:?}");
    let again = CreateGalleryRequest { name: "yard".to_owned(), ..CreateGalleryRequest::default() };
    let again = client.create_gallery(again).await.unwrap().into_inner();
    for told in [&created, &described(client, "yard").await, &described(client, "yard.1").await, &again] {
        assert_eq!(told.name, "yard");
        assert_eq!(told.settings, Some(settings.clone()));
        assert_eq!(told.retention, Some(retention.clone()));
        assert_eq!((&told.fingerprint, told.created_at), (&created.fingerprint, created.created_at));
    }

    let shorter = Retention { default_ms: 5_000, camera_ms: [("c7".to_owned(), CENTURIES_MS)].into() };
    for retention in [Some(shorter), Some(Retention::default()), None] {
        let set =
            SetRetentionRequest { gallery: "yard".to_owned(), retention: retention.clone(), validate_only: false };
        let told = client.set_retention(set).await.unwrap().into_inner();
        assert_eq!(told.retention, Some(retention.unwrap_or_default()));
        assert_eq!(described(client, "yard").await.retention, told.retention);
    }
    let unknown = SetRetentionRequest {
        gallery: "nowhere".to_owned(),
        retention: Some(Retention::default()),
        validate_only: false,
    };
    assert_eq!(client.set_retention(unknown).await.unwrap_err().code(), Code::NotFound);
}

async fn check_all(mut client: SearchServiceClient<Channel>) {
    settings_are_told_as_given(&mut client).await;
    let mut lobby = Lobby::fill(client).await;
    images::pages_give_each_image_once(&mut lobby).await;
    images::new_metadata_changes_nothing_else(&mut lobby).await;
    kept_metadata::images_are_counted_by_what_is_known_of_them(&mut lobby).await;
    kept_metadata::what_is_not_told_is_kept(&mut lobby).await;
    kept_metadata::changes_at_the_same_time_are_all_kept(&mut lobby).await;
    kept_metadata::indexing_undoes_no_description(&mut lobby).await;
    images::what_meets_a_filter_is_deleted(&mut lobby).await;
}

#[tokio::test]
async fn images_of_the_embedded_store() {
    let stack = TestStack::start().await;
    check_all(stack.search().await).await;
    stack.stop().await;
}

#[tokio::test]
async fn images_of_qdrant() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| keep_in(&server, search)).await;
    check_all(stack.search().await).await;
    stack.stop().await;
}
