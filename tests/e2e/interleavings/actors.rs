//! Who calls the services.

use super::GALLERY;
use super::gate::Gate;
use crate::stands::computed::ComputedModel;
use crate::stands::ledger::{SharedLedger, content_of, encoded_image, version_of};
use crate::stands::random::Random;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    ActivateGenerationRequest, CompareGenerationsRequest, DeleteImagesRequest, Filter, IndexEmbeddingsRequest,
    ListImagesRequest, StoredImage,
};
use descry_serving::GrpcChannel;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::{Code, Status};

pub(super) type Client = SearchServiceClient<GrpcChannel>;

/// Small, so that others come between pages.
const PAGE_IMAGES: u32 = 5;
/// Writes of a writer, where the model change goes on for so long.
const MOST_WRITES: u64 = 30;
const ATTEMPTS: u64 = 6;
const ATTEMPTS_OF_CHANGE: u64 = 20;
/// Turns between two writes, at most.
const REST: u64 = 120;

/// What a caller may be told in the middle of a model change: to send it again. Anything else is a fault.
fn assert_is_passing(status: &Status) {
    let passing = [Code::Unavailable, Code::FailedPrecondition, Code::ResourceExhausted, Code::DeadlineExceeded];
    assert!(passing.contains(&status.code()), "{status}");
}

/// Writes a few images in several versions, none of which anybody else writes, in the model that serves, until the model is
/// changed and a little longer.
pub(super) async fn write(
    (mut client, gate, instance): (Client, Arc<Gate>, usize),
    writer: u64,
    models: [ComputedModel; 2],
    ledger: SharedLedger,
    mut random: Random,
    changed: Arc<AtomicBool>,
) {
    let (mut serving, mut left) = (0, MOST_WRITES);
    while left > 0 {
        left -= 1;
        if changed.load(Ordering::Relaxed) {
            left = left.min(1);
        }
        // A change of the model must have a chance to get from its comparison to its switch between two writes.
        gate.rest(instance, random.within(0..=REST)).await;
        let image_id = format!("writer-{writer}-{}", random.within(0..=2));
        let version = ledger.lock().unwrap().send_again(&image_id);
        for _ in 0..ATTEMPTS {
            let model = &models[serving];
            let request = IndexEmbeddingsRequest {
                gallery: GALLERY.to_owned(),
                fingerprint: model.fingerprint.clone(),
                images: vec![encoded_image(&image_id, version, model)],
                ..IndexEmbeddingsRequest::default()
            };
            let reply = match client.index_embeddings(request).await {
                Ok(reply) => reply.into_inner().results.pop().unwrap(),
                // Of another model: the gallery was switched.
                Err(status) if status.code() == Code::FailedPrecondition => {
                    serving = 1 - serving;
                    continue;
                }
                Err(status) => {
                    assert_is_passing(&status);
                    continue;
                }
            };
            match reply.outcome.unwrap() {
                Outcome::Indexed(_) => {
                    ledger.lock().unwrap().acknowledge_version(&image_id, version);
                    break;
                }
                Outcome::Error(error) if Code::from(error.code) == Code::FailedPrecondition => serving = 1 - serving,
                Outcome::Error(error) => assert_is_passing(&Status::new(Code::from(error.code), error.message)),
            }
        }
    }
}

pub(super) async fn remove_by_id(client: Client, image_ids: Vec<String>, ledger: SharedLedger) {
    for image_id in image_ids {
        let request = DeleteImagesRequest {
            gallery: GALLERY.to_owned(),
            image_ids: vec![image_id.clone()],
            ..DeleteImagesRequest::default()
        };
        remove(client.clone(), request, &[image_id], &ledger).await;
    }
}

pub(super) async fn remove_by_filter(client: Client, camera: &str, image_ids: Vec<String>, ledger: SharedLedger) {
    let filter = Filter { camera_ids: vec![camera.to_owned()], ..Filter::default() };
    let request =
        DeleteImagesRequest { gallery: GALLERY.to_owned(), filter: Some(filter), ..DeleteImagesRequest::default() };
    remove(client, request, &image_ids, &ledger).await;
}

async fn remove(mut client: Client, request: DeleteImagesRequest, image_ids: &[String], ledger: &SharedLedger) {
    ledger.lock().unwrap().begin_removal(image_ids);
    for _ in 0..ATTEMPTS {
        match client.delete_images(request.clone()).await {
            Ok(_) => return ledger.lock().unwrap().end_removal(image_ids),
            Err(status) => assert_is_passing(&status),
        }
    }
}

/// Fills the second generation, compares, and lets it serve; again while the service says that something is missing.
pub(super) async fn change_model(mut client: Client, models: [ComputedModel; 2], changed: Arc<AtomicBool>) {
    for _ in 0..ATTEMPTS_OF_CHANGE {
        match attempt(&mut client, &models[1]).await {
            Ok(()) => break,
            Err(status) => assert_is_passing(&status),
        }
    }
    changed.store(true, Ordering::Relaxed);
}

async fn attempt(client: &mut Client, model: &ComputedModel) -> Result<(), Status> {
    let address = format!("{GALLERY}.2");
    let mut listing =
        ListImagesRequest { gallery: GALLERY.to_owned(), page_size: PAGE_IMAGES, ..ListImagesRequest::default() };
    loop {
        let page = client.list_images(listing.clone()).await?.into_inner();
        let encoded = |image: StoredImage| {
            let version = version_of(image.metadata.as_ref().unwrap());
            StoredImage { embedding: model.embedding(&content_of(&image.image_id, version)), ..image }
        };
        let images: Vec<StoredImage> = page.images.into_iter().map(encoded).collect();
        if !images.is_empty() {
            let request = IndexEmbeddingsRequest {
                gallery: address.clone(),
                fingerprint: model.fingerprint.clone(),
                images,
                ..IndexEmbeddingsRequest::default()
            };
            // Single images may be gone or changed by now: the comparison finds what is missing.
            client.index_embeddings(request).await?;
        }
        if page.next_page_token.is_empty() {
            break;
        }
        listing.page_token = page.next_page_token;
    }
    let mut comparison =
        CompareGenerationsRequest { gallery: GALLERY.to_owned(), generation: 2, limit: 100, ..Default::default() };
    loop {
        let page = client.compare_generations(comparison.clone()).await?.into_inner();
        if page.next_page_token.is_empty() {
            break;
        }
        comparison.page_token = page.next_page_token;
    }
    let request = ActivateGenerationRequest { gallery: GALLERY.to_owned(), generation: 2, ..Default::default() };
    client.activate_generation(request).await.map(drop)
}
