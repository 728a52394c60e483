//! Galleries copied by their embeddings, without their image files and without an encoder.

use super::described;
use super::images::pages;
use crate::queries::embeddings::encoded;
use crate::queries::{CAPTION, LOBBY_IMAGES, Lobby, NOWHERE, ids, keep_in, of_parts, part};
use crate::services::text_search;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    AttributeCondition, CreateGalleryRequest, EmbeddingPart, Filter, GallerySettings, Hit, IndexEmbeddingsRequest,
    Indexed, ListImagesRequest, SearchRequest, StoredImage,
};
use descry_qdrant_server::TestQdrant;
use descry_tests::TestStack;
use tonic::Code;
use tonic::transport::Channel;

const PAGE_IMAGES: u32 = 20;

/// What a copy is held against.
struct Source {
    images: Vec<StoredImage>,
    query: EmbeddingPart,
    hits: Vec<Hit>,
    sunny_hits: Vec<Hit>,
}

fn search(query: &EmbeddingPart) -> SearchRequest {
    of_parts(vec![part(What::Embedding(query.clone()), 1.0)], LOBBY_IMAGES)
}

fn sunny(query: &EmbeddingPart) -> SearchRequest {
    let sun = AttributeCondition { name: "weather".to_owned(), values: vec!["sun".to_owned()] };
    SearchRequest { filter: Some(Filter { attributes: vec![sun], ..Filter::default() }), ..search(query) }
}

async fn all_images(client: &mut SearchServiceClient<Channel>) -> Vec<StoredImage> {
    let request = ListImagesRequest {
        gallery: "lobby".to_owned(),
        page_size: PAGE_IMAGES,
        with_embeddings: true,
        ..ListImagesRequest::default()
    };
    let mut images = pages(client, request).await;
    // Each store has an order of its own.
    images.sort_by(|a, b| a.image_id.cmp(&b.image_id));
    images
}

fn assert_same_hits(found: &[Hit], expected: &[Hit]) {
    assert_eq!(ids(found), ids(expected));
    for (a, b) in found.iter().zip(expected) {
        assert!((a.score - b.score).abs() < 1e-5, "{}: {}, {}", a.image_id, a.score, b.score);
        assert_eq!(a.metadata, b.metadata, "also the time of its writing");
    }
}

/// Fills an empty store, and holds it against the source.
async fn check_copy(stack: &TestStack, source: &Source) {
    let mut client = stack.search().await;
    let fingerprint = &source.query.fingerprint;
    let write = |gallery: &str, fingerprint: &str, images: &[StoredImage]| IndexEmbeddingsRequest {
        gallery: gallery.to_owned(),
        fingerprint: fingerprint.to_owned(),
        images: images.to_vec(),
        ..Default::default()
    };
    let status = client.index_embeddings(write("lobby", fingerprint, &source.images)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
    let settings = GallerySettings { indexed_attributes: vec!["weather".to_owned()], ..GallerySettings::default() };
    let create = CreateGalleryRequest {
        name: "lobby".to_owned(),
        settings: Some(settings),
        fingerprint: fingerprint.clone(),
        embedding_dimension: 128,
        ..CreateGalleryRequest::default()
    };
    let created = client.create_gallery(create).await.unwrap().into_inner();
    assert_eq!((&created.fingerprint, created.embedding_dimension), (fingerprint, 128));
    let other = "5a".repeat(32);
    let status = client.index_embeddings(write("lobby", &other, &source.images)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert_eq!(described(&mut client, "lobby").await.images, 0);

    // Writing again writes nothing.
    for unchanged in [false, true] {
        for images in source.images.chunks(PAGE_IMAGES as usize) {
            let reply = client.index_embeddings(write("lobby", fingerprint, images)).await.unwrap().into_inner();
            assert!(reply.results.iter().map(|result| &result.image_id).eq(images.iter().map(|image| &image.image_id)));
            let expected = Some(Outcome::Indexed(Indexed { unchanged, ..Default::default() }));
            assert!(reply.results.iter().all(|result| result.outcome == expected), "{reply:?}");
        }
    }
    assert_eq!(described(&mut client, "lobby").await.images, u64::from(LOBBY_IMAGES));
    let hits = client.search(search(&source.query)).await.unwrap().into_inner().hits;
    assert_same_hits(&hits, &source.hits);
    let hits = client.search(sunny(&source.query)).await.unwrap().into_inner().hits;
    assert_same_hits(&hits, &source.sunny_hits);

    let copied = all_images(&mut client).await;
    assert_eq!(copied.len(), source.images.len());
    for (copy, image) in copied.iter().zip(&source.images) {
        assert_eq!((&copy.image_id, &copy.content_sha256), (&image.image_id, &image.content_sha256));
        assert_eq!(copy.metadata, image.metadata);
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(copy.embedding.iter().zip(&image.embedding).all(is_near), "{}", copy.image_id);
    }
    // There was no encoder all the time.
    let status = client.search(text_search("lobby", CAPTION, 5)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn a_copy_finds_what_its_source_finds() {
    let stack = TestStack::start().await;
    let mut lobby = Lobby::fill(stack.search().await).await;
    let query = encoded(&stack, CAPTION).await;
    let hits = lobby.search(search(&query)).await;
    let sunny_hits = lobby.search(sunny(&query)).await;
    assert_eq!((hits.len(), sunny_hits.len()), (48, 16));
    let source = Source { images: all_images(&mut lobby.client).await, query, hits, sunny_hits };
    drop(lobby);
    stack.stop().await;

    let copy = TestStack::start_with(|_, search| search.encoder.url = NOWHERE.to_owned()).await;
    check_copy(&copy, &source).await;
    copy.stop().await;
    let server = TestQdrant::start().unwrap();
    let copy = TestStack::start_with(|_, search| {
        keep_in(&server, search);
        search.encoder.url = NOWHERE.to_owned();
    })
    .await;
    check_copy(&copy, &source).await;
    copy.stop().await;
}
