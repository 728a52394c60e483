//! What replies cost, in bytes of memory and of the reply. Measurements for `docs/PERFORMANCE.md`, run by hand:
//! `cargo test --workspace --test e2e -- --ignored --nocapture --test-threads 1 load_measurements`.

use crate::queries::{of_parts, part};
use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::{ComputedModel, DIMENSION};
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{
    CreateGalleryRequest, EmbeddingPart, ImageMetadata, IndexEmbeddingsRequest, SearchBatchRequest,
    SearchBatchResponse, SearchRequest, SearchResponse, StoredImage,
};
use std::fs;
use std::time::Duration;
use tonic::transport::Endpoint;

const IMAGES: usize = 1_000;

/// As much as is allowed for one image, nearly.
const KNOWN_BYTES: usize = 16_000;

/// Of this process, in MiB: now, and at most since the last look.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let now_and_most = (of("VmRSS:"), of("VmHWM:"));
    fs::write("/proc/self/clear_refs", "5").unwrap();
    now_and_most
}

fn model() -> ComputedModel {
    ComputedModel::named("any")
}

async fn fill(client: &mut Client) {
    let create = CreateGalleryRequest {
        name: "lobby".to_owned(),
        fingerprint: model().fingerprint,
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    };
    client.create_gallery(create).await.unwrap();
    for first in (0..IMAGES).step_by(100) {
        let stored = |number: usize| {
            let image_id = format!("image-{number}");
            let attributes = [("text".to_owned(), "a".repeat(KNOWN_BYTES))].into();
            let metadata = Some(ImageMetadata { attributes, ..ImageMetadata::default() });
            let embedding = model().embedding(image_id.as_bytes());
            StoredImage { image_id, embedding, metadata, ..StoredImage::default() }
        };
        let request = IndexEmbeddingsRequest {
            gallery: "lobby".to_owned(),
            fingerprint: model().fingerprint,
            images: (first..first + 100).map(stored).collect(),
            ..IndexEmbeddingsRequest::default()
        };
        client.index_embeddings(request).await.unwrap();
    }
}

fn search() -> SearchRequest {
    let query = EmbeddingPart { values: model().embedding(b"query"), fingerprint: model().fingerprint };
    of_parts(vec![part(What::Embedding(query), 1.0)], IMAGES as u32)
}

/// Searches whose replies are begun and not read.
async fn unread(url: &str, count: usize) -> Vec<tonic::Streaming<SearchResponse>> {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let channel = endpoint.connect().await.unwrap();
    let mut replies = Vec::new();
    for _ in 0..count {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/descry.search.v1.SearchService/Search");
        let codec = tonic_prost::ProstCodec::<SearchRequest, SearchResponse>::default();
        let begun = client.server_streaming(tonic::Request::new(search()), path, codec).await;
        if let Ok(begun) = begun {
            replies.push(begun.into_inner());
        }
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, whose command and figures stand in docs/PERFORMANCE.md"]
async fn replies_in_memory() {
    let service = SearchAlone::start(|search| search.server.write_timeout_ms = 5_000).await;
    let mut client = service.client().await.max_decoding_message_size(usize::MAX);
    fill(&mut client).await;
    memory();
    let (idle, _) = memory();
    println!("after filling: {idle} MiB");

    let request = SearchBatchRequest { searches: vec![search(); 64] };
    let reply: SearchBatchResponse = client.search_batch(request).await.unwrap().into_inner();
    let bytes: usize = reply.results.iter().map(prost::Message::encoded_len).sum();
    let (_, most) = memory();
    println!("a batch of 64 searches for {IMAGES} hits of 16 kB: reply of {bytes} bytes, at most {most} MiB");
    drop(reply);

    let replies = unread(&service.url, 200).await;
    let (now, most) = memory();
    println!("200 replies that nobody reads, {} begun: {now} MiB, at most {most} MiB", replies.len());
    tokio::time::sleep(Duration::from_secs(7)).await;
    let (now, _) = memory();
    println!("after server.write_timeout_ms: {now} MiB");
    drop(replies);
}
