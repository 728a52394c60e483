//! Erasing a person, a track or an image: gone from everywhere, and kept away.

// The same on both stores, call by call.
mod both_stores;
// As those who run it do it: with files, commands, a log and a disk.
mod everywhere;
// Killed in the middle, and asked again.
mod kills;
// A service as a process, and its folder.
mod stand;
// What waits to be told when somebody is erased.
mod streams;

use crate::stands::computed::{ComputedModel, DIMENSION};
use descry_model::sha256_hex;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CreateGalleryRequest, EraseImagesRequest, EraseImagesResponse, ImageMetadata, IndexEmbeddingsRequest,
    IndexImagesResponse, StoredImage,
};
use tonic::client::GrpcService;
use tonic::codegen::{Body, Bytes, StdError};

pub(crate) const GALLERY: &str = "lobby";

/// What is known of an image: its person, its camera, its track.
pub(crate) type Known<'a> = (&'a str, &'a str, &'a str);

/// An image of this file, encoded.
pub(crate) fn image(
    model: &ComputedModel,
    image_id: &str,
    (person, camera, track): Known<'_>,
    content: &str,
) -> StoredImage {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let metadata = ImageMetadata {
        person_id: given(person),
        camera_id: given(camera),
        track_id: given(track),
        ..ImageMetadata::default()
    };
    StoredImage {
        image_id: image_id.to_owned(),
        metadata: Some(metadata),
        content_sha256: sha256_hex(content.as_bytes()),
        embedding: model.embedding(content.as_bytes()),
    }
}

pub(crate) fn writing(model: &ComputedModel, images: Vec<StoredImage>) -> IndexEmbeddingsRequest {
    IndexEmbeddingsRequest {
        gallery: GALLERY.to_owned(),
        fingerprint: model.fingerprint.clone(),
        images,
        ..IndexEmbeddingsRequest::default()
    }
}

pub(crate) fn creating(model: &ComputedModel) -> CreateGalleryRequest {
    CreateGalleryRequest {
        name: GALLERY.to_owned(),
        fingerprint: model.fingerprint.clone(),
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    }
}

pub(crate) fn person(person_id: &str) -> EraseImagesRequest {
    EraseImagesRequest {
        gallery: GALLERY.to_owned(),
        person_ids: vec![person_id.to_owned()],
        ..EraseImagesRequest::default()
    }
}

/// Writes images; of each what came of it: `indexed`, `let back`, or the reason why not.
pub(crate) async fn write<Transport>(
    client: &mut SearchServiceClient<Transport>,
    request: IndexEmbeddingsRequest,
) -> Vec<String>
where
    Transport: GrpcService<tonic::body::Body, Error: Into<StdError>>,
    Transport::ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    client.index_embeddings(request).await.unwrap().into_inner().results.iter().map(outcome).collect()
}

pub(crate) fn outcome(result: &IndexImagesResponse) -> String {
    match result.outcome.as_ref().unwrap() {
        Outcome::Indexed(indexed) if indexed.was_erased => "let back".to_owned(),
        Outcome::Indexed(_) => "indexed".to_owned(),
        Outcome::Error(error) if error.reason.is_empty() => error.message.clone(),
        Outcome::Error(error) => error.reason.clone(),
    }
}

/// The numbers of generations, and how many images went from each.
pub(crate) fn of_generations(erased: &EraseImagesResponse) -> Vec<(u32, u64)> {
    erased.generations.iter().map(|generation| (generation.generation, generation.images)).collect()
}
