//! Answers that do not fit into one reply: every reply stays within what it may be, and says how to go on.

use crate::queries::{of_parts, part};
use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::stored::stored_images;
use descry_client::Connection;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_batch_response::{Result as BatchResult, result::Outcome as BatchOutcome};
use descry_proto::search::v1::{
    CreateGalleryRequest, CreateWatchRequest, EmbeddingPart, ImageMetadata, IndexEmbeddingsRequest,
    IndexEmbeddingsResponse, ListGalleriesRequest, ListImagesRequest, ListWatchesRequest, SearchBatchRequest,
    SearchRequest, StoredImage,
};
use std::collections::BTreeSet;
use tonic::Code;

/// The least that may be set.
const MAX_REPLY_BYTES: usize = 1 << 16;

const IMAGES: usize = 60;

/// What is known of each image; all of them together are several replies.
const KNOWN_BYTES: usize = 6_000;

fn model() -> ComputedModel {
    ComputedModel::named("any")
}

async fn create(client: &mut Client, name: &str) {
    let create = CreateGalleryRequest {
        name: name.to_owned(),
        fingerprint: model().fingerprint,
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    };
    client.create_gallery(create).await.unwrap();
}

async fn write(client: &mut Client, letter: &str) -> IndexEmbeddingsResponse {
    let stored = |number: usize| {
        let image_id = format!("image-{number}");
        let attributes = [("text".to_owned(), letter.repeat(KNOWN_BYTES))].into();
        StoredImage {
            embedding: model().embedding(image_id.as_bytes()),
            image_id,
            content_sha256: letter.repeat(64),
            metadata: Some(ImageMetadata { attributes, ..ImageMetadata::default() }),
        }
    };
    let request = IndexEmbeddingsRequest {
        gallery: "lobby".to_owned(),
        fingerprint: model().fingerprint,
        images: (0..IMAGES).map(stored).collect(),
        ..IndexEmbeddingsRequest::default()
    };
    client.index_embeddings(request).await.unwrap().into_inner()
}

/// A search service whose clients refuse more than it may send.
async fn start() -> (SearchAlone, Client) {
    let service = SearchAlone::start(|search| search.limits.max_reply_bytes = MAX_REPLY_BYTES).await;
    let client = service.client().await.max_decoding_message_size(MAX_REPLY_BYTES);
    (service, client)
}

async fn fill(client: &mut Client) {
    create(client, "lobby").await;
    write(client, "a").await;
}

fn search(limit: u32) -> SearchRequest {
    let query = EmbeddingPart { values: model().embedding(b"query"), fingerprint: model().fingerprint };
    SearchRequest { gallery: "lobby".to_owned(), ..of_parts(vec![part(What::Embedding(query), 1.0)], limit) }
}

#[tokio::test]
async fn hits_that_do_not_fit_are_asked_for_from_where_they_begin() {
    let (service, mut client) = start().await;
    fill(&mut client).await;
    let mut request = search(50);
    let (mut found, mut replies) = (Vec::new(), 0);
    loop {
        let reply = client.search(request.clone()).await.unwrap().into_inner();
        replies += 1;
        found.extend(reply.hits);
        if reply.next_offset == 0 {
            break;
        }
        assert_eq!(reply.next_offset as usize, found.len());
        (request.offset, request.limit) = (reply.next_offset, 50 - reply.next_offset);
    }
    // Ten of them fit into one.
    assert_eq!((found.len(), replies), (50, 5));
    assert!(found.is_sorted_by(|a, b| a.score >= b.score));

    let connection = Connection::to(&service.url).await.unwrap();
    let whole = connection.search(search(50)).await.unwrap();
    assert!(whole.hits.iter().map(|hit| &hit.image_id).eq(found.iter().map(|hit| &hit.image_id)));
    assert_eq!(whole.next_offset, 0);
}

#[tokio::test]
async fn searches_for_whose_hits_a_batch_has_no_room_are_named() {
    let (service, mut client) = start().await;
    fill(&mut client).await;
    let request = SearchBatchRequest { searches: vec![search(3); 40] };
    let results = client.search_batch(request.clone()).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 40);
    let (mut whole, mut left_out) = (0, 0);
    for (index, result) in results.into_iter().enumerate() {
        match result.outcome.unwrap() {
            BatchOutcome::Response(response) => {
                assert_eq!((response.hits.len(), response.next_offset, left_out), (3, 0, 0), "{index}");
                whole += 1;
            }
            BatchOutcome::Error(error) => {
                assert_eq!(error.code, Code::ResourceExhausted as i32);
                assert!(error.message.contains(&format!("searches[{index}]")), "{}", error.message);
                left_out += 1;
            }
        }
    }
    // As many as fit, of 18 kB each.
    assert_eq!((whole, left_out), (3, 37));

    let connection = Connection::to(&service.url).await.unwrap();
    let results = connection.search_batch(request).await.unwrap().results;
    let is_whole = |result: &BatchResult| match &result.outcome {
        Some(BatchOutcome::Response(response)) => response.hits.len() == 3,
        Some(BatchOutcome::Error(_)) | None => false,
    };
    assert!(results.len() == 40 && results.iter().all(is_whole));
    // One whose hits are several replies by themselves.
    let large = SearchBatchRequest { searches: vec![search(1), search(50), search(1)] };
    let results = connection.search_batch(large).await.unwrap().results;
    let counts: Vec<usize> = results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            BatchOutcome::Response(response) => response.hits.len(),
            BatchOutcome::Error(error) => panic!("{error:?}"),
        })
        .collect();
    assert_eq!(counts, [1, 50, 1]);
}

#[tokio::test]
async fn a_page_of_images_ends_where_the_reply_does() {
    let (_service, mut client) = start().await;
    fill(&mut client).await;
    assert_eq!(stored_images(&mut client, "lobby").await.len(), IMAGES);
    let request = ListImagesRequest { gallery: "lobby".to_owned(), page_size: 3, ..ListImagesRequest::default() };
    let page = client.list_images(request).await.unwrap().into_inner();
    assert_eq!(page.images.len(), 3, "a page that fits is as long as asked for");
}

#[tokio::test]
async fn what_was_replaced_is_told_as_far_as_it_fits() {
    let (_service, mut client) = start().await;
    fill(&mut client).await;
    let results = write(&mut client, "b").await.results;
    assert_eq!(results.len(), IMAGES);
    let replaced = |outcome: Option<Outcome>| match outcome {
        Some(Outcome::Indexed(indexed)) => indexed.replaced.is_some(),
        other => panic!("{other:?}"),
    };
    let told = results.into_iter().filter(|result| replaced(result.outcome.clone())).count();
    assert!((5..IMAGES).contains(&told), "{told}");
}

#[tokio::test]
async fn galleries_and_watches_come_in_pages() {
    let (service, mut client) = start().await;
    let names: Vec<String> = (0..7).map(|number| format!("gallery-{number}")).collect();
    for name in &names {
        create(&mut client, name).await;
    }
    let mut request = ListGalleriesRequest { page_size: 3, ..ListGalleriesRequest::default() };
    let mut pages = Vec::new();
    loop {
        let page = client.list_galleries(request.clone()).await.unwrap().into_inner();
        pages.push(page.galleries.into_iter().map(|gallery| gallery.name).collect::<Vec<_>>());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, [&names[..3], &names[3..6], &names[6..]]);

    // Each with a part of some kilobytes, so that all of them are no reply.
    create(&mut client, "lobby").await;
    for number in 0..12 {
        let query = EmbeddingPart { values: model().embedding(b"query"), fingerprint: model().fingerprint };
        let filter = descry_proto::search::v1::Filter {
            image_ids: (0..20).map(|id| format!("{id:0400}")).collect(),
            ..Default::default()
        };
        let request = CreateWatchRequest {
            gallery: "lobby".to_owned(),
            name: format!("watch-{number:02}"),
            parts: vec![part(What::Embedding(query), 1.0)],
            min_score: 0.5,
            filter: Some(filter),
        };
        client.create_watch(request).await.unwrap();
    }
    let request = ListWatchesRequest { gallery: "lobby".to_owned(), ..ListWatchesRequest::default() };
    let first = client.list_watches(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.watches.len(), first.next_page_token.as_str()), (7, "watch-06"));
    let second = ListWatchesRequest { page_size: 4, page_token: first.next_page_token, ..request };
    assert_eq!(client.list_watches(second).await.unwrap().into_inner().next_page_token, "watch-10");

    let connection = Connection::to(&service.url).await.unwrap();
    assert_eq!(connection.galleries().await.unwrap().len(), 8);
    let all: BTreeSet<String> =
        connection.watches("lobby").await.unwrap().watches.into_iter().map(|w| w.name).collect();
    assert_eq!(all.len(), 12);
}
