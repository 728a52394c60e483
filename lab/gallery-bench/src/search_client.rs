//! The search service's interface as a load generator sees it.

use crate::GalleryBenchError;
use descry_model::{Embedding, Fingerprint};
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_store::{GalleryImage, ImageMetadata};
use prost_types::Timestamp;
use tonic::transport::Channel;

pub(crate) type Client = SearchServiceClient<Channel>;

/// Replies hold a ranking of a whole gallery.
const MAX_REPLY_BYTES: usize = 256 << 20;

pub(crate) fn client(channel: Channel) -> Client {
    SearchServiceClient::new(channel).max_decoding_message_size(MAX_REPLY_BYTES).max_encoding_message_size(usize::MAX)
}

/// The nearest images of an embedding.
pub(crate) fn embedding_search(
    gallery: &str,
    fingerprint: &Fingerprint,
    embedding: &Embedding,
    limit: u32,
) -> proto::SearchRequest {
    let values = embedding.as_slice().to_vec();
    let embedding = proto::EmbeddingPart { values, fingerprint: fingerprint.to_string() };
    proto::SearchRequest {
        gallery: gallery.to_owned(),
        limit,
        parts: vec![proto::QueryPart { weight: None, what: Some(What::Embedding(embedding)) }],
        ..proto::SearchRequest::default()
    }
}

/// An image with its embedding, as a client sends it.
pub(crate) fn stored_image(image: &GalleryImage) -> proto::StoredImage {
    let ImageMetadata { person_id, camera_id, track_id, captured_at_ms, attributes, content_sha256, .. } =
        image.metadata.clone();
    let metadata = proto::ImageMetadata {
        person_id,
        camera_id,
        captured_at: captured_at_ms.map(timestamp),
        attributes: attributes.into_iter().collect(),
        track_id,
        ..proto::ImageMetadata::default()
    };
    proto::StoredImage {
        image_id: image.image_id.clone(),
        metadata: Some(metadata),
        content_sha256,
        embedding: image.embedding.as_slice().to_vec(),
    }
}

/// Fails unless the image was written.
pub(crate) fn require_written(answer: proto::IndexImagesResponse) -> Result<(), GalleryBenchError> {
    match answer.outcome {
        Some(Outcome::Indexed(proto::Indexed { unchanged: false, .. })) => Ok(()),
        Some(Outcome::Indexed(proto::Indexed { unchanged: true, .. })) => {
            let what = format!("image {:?} is new, but was answered as unchanged", answer.image_id);
            Err(GalleryBenchError::Malformed { what })
        }
        Some(Outcome::Error(error)) => {
            let message = format!("image {:?}: {}", answer.image_id, error.message);
            Err(GalleryBenchError::Refused { activity: "indexing an image", message })
        }
        None => Err(GalleryBenchError::Malformed { what: format!("no outcome for image {:?}", answer.image_id) }),
    }
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1_000), nanos: (ms.rem_euclid(1_000) * 1_000_000) as i32 }
}
