//! A model change while images come and searches are answered.

use super::{GALLERY, TwoModels, activate};
use crate::services::{demo_images, index, text_search};
use crate::stands::Client;
use crate::stands::polling::PATIENCE;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{
    CompareGenerationsRequest, CompareGenerationsResponse, CreateGenerationRequest, DeleteGenerationRequest,
    DeleteImagesRequest, Gallery, IndexImagesRequest, IndexImagesResponse, ListGenerationsRequest,
};
use descry_qdrant_server::TestQdrant;
use descry_search::{SearchConfig, StoreKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gallery_in_a_file_changes_its_model_while_it_serves() {
    change_while_serving(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gallery_in_qdrant_changes_its_model_while_it_serves() {
    let qdrant = TestQdrant::start().unwrap();
    change_while_serving(|search| {
        search.store.kind = StoreKind::Qdrant;
        search.qdrant.url = qdrant.url();
    })
    .await;
}

async fn change_while_serving(change: impl FnOnce(&mut SearchConfig)) {
    let models = TwoModels::start(change).await;
    let mut client = models.stack.search().await;
    let images = demo_images(71);
    index_all(&mut client, &images[..60]).await;
    assert_eq!(answer(&mut client, GALLERY).await.0, models.first);
    fill_beside(&models, &mut client, &images[..70]).await;
    switch_under_load(&models, &mut client).await;
    go_back(&models, &mut client, &images[70]).await;
    models.stop().await;
}

/// Sixty images are there, ten come meanwhile, one goes.
async fn fill_beside(models: &TwoModels, client: &mut Client, images: &[Image]) {
    let same = create_generation(client, &models.first).await.unwrap_err();
    assert_eq!(same.code(), Code::FailedPrecondition, "{same}");
    let begun = create_generation(client, &models.second).await.unwrap();
    assert_eq!((begun.generation, begun.images, &begun.fingerprint), (2, 0, &models.second));
    let empty = compare(client, 2, 0, 5).await;
    assert_eq!((empty.images, empty.missing, empty.missing_ids.len(), empty.surplus), (0, 60, 5, 0));
    assert_eq!(activate(client, 2, false).await.unwrap_err().code(), Code::FailedPrecondition);

    let mut filling = Filling::open(client, 2).await;
    filling.send(&images[..20]).await;
    let (fingerprint, scores) = answer(client, GALLERY).await;
    assert_eq!((&fingerprint, scores.len()), (&models.first, 60));
    let (fingerprint, scores) = answer(client, "lobby.2").await;
    assert_eq!((&fingerprint, scores.len()), (&models.second, 20));

    // What comes meanwhile is in both, what goes is in none.
    index_all(client, &images[60..]).await;
    let gone = images[69].image_id.clone();
    let delete = DeleteImagesRequest {
        gallery: GALLERY.to_owned(),
        image_ids: vec![gone.clone()],
        ..DeleteImagesRequest::default()
    };
    assert_eq!(client.delete_images(delete).await.unwrap().into_inner().deleted, 1);
    for address in ["lobby.1", "lobby.2"] {
        let stored = stored_images(client, address).await;
        assert!(images[60..69].iter().all(|image| stored.contains_key(&image.image_id)), "{address}");
        assert!(!stored.contains_key(&gone), "{address}");
    }

    let mut half = compare(client, 2, 0, 0).await;
    let mut lacking: Vec<&str> = images[20..60].iter().map(|image| image.image_id.as_str()).collect();
    half.missing_ids.sort_unstable();
    lacking.sort_unstable();
    assert_eq!(half.missing_ids, lacking);
    assert_eq!((half.images, half.images_against, half.missing, half.surplus), (29, 69, 40, 0));
    let refused = activate(client, 2, false).await.unwrap_err();
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("40"), "{refused}");
    assert_eq!(answer(client, GALLERY).await.0, models.first);

    filling.send(&images[20..60]).await;
    let whole = compare(client, 2, 0, 0).await;
    assert_eq!((whole.images, whole.images_against, whole.missing, whole.surplus), (69, 69, 0, 0));
    let active = activate(client, 2, false).await.unwrap();
    assert_eq!((active.generation, active.images, &active.fingerprint), (2, 69, &models.second));
    assert_eq!(answer(client, GALLERY).await.0, models.second);
}

/// While generations change places, each answer is the whole of one model's.
async fn switch_under_load(models: &TwoModels, client: &mut Client) {
    let whole = [answer(client, "lobby.1").await, answer(client, "lobby.2").await];
    assert_eq!([&whole[0].0, &whole[1].0], [&models.first, &models.second]);
    let are_apart = whole[0].1.iter().any(|(image_id, score)| (score - whole[1].1[image_id]).abs() > 0.02);
    assert!(are_apart, "the models could not be told apart by their scores");
    let (whole, is_over) = (Arc::new(whole), Arc::new(AtomicBool::new(false)));
    let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut searchers = JoinSet::new();
    for _ in 0..3 {
        let (whole, is_over, seen) = (Arc::clone(&whole), Arc::clone(&is_over), Arc::clone(&seen));
        let mut client = client.clone();
        searchers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let (fingerprint, scores) = answer(&mut client, GALLERY).await;
                let model = whole.iter().position(|(own, _)| *own == fingerprint).unwrap();
                assert!(scores.keys().eq(whole[model].1.keys()), "{scores:?}");
                for (image_id, score) in &scores {
                    assert!(
                        (score - whole[model].1[image_id]).abs() < 1e-3,
                        "{image_id} in an answer of {fingerprint}"
                    );
                }
                seen[model].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let switching = async {
        while seen.iter().any(|answers| answers.load(Ordering::Relaxed) < 10) {
            for generation in [1, 2] {
                assert_eq!(activate(client, generation, true).await.unwrap().generation, generation);
            }
            assert!(searchers.try_join_next().is_none(), "a searcher gave up");
        }
    };
    tokio::time::timeout(PATIENCE, switching).await.unwrap();
    is_over.store(true, Ordering::Relaxed);
    searchers.join_all().await;
}

async fn go_back(models: &TwoModels, client: &mut Client, late: &Image) {
    // The old generation is left as it was, so it lacks what comes after the switch.
    index_all(client, std::slice::from_ref(late)).await;
    let behind = compare(client, 1, 2, 0).await;
    assert_eq!((behind.missing_ids, behind.surplus), (vec![late.image_id.clone()], 0));
    assert_eq!(activate(client, 1, false).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(answer(client, GALLERY).await.0, models.second);
    activate(client, 1, true).await.unwrap();
    let (fingerprint, scores) = answer(client, GALLERY).await;
    assert_eq!((&fingerprint, scores.len()), (&models.first, 69));

    let delete = |generation| DeleteGenerationRequest { gallery: GALLERY.to_owned(), generation };
    let refused = client.delete_generation(delete(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    client.delete_generation(delete(2)).await.unwrap();
    let request = ListGenerationsRequest { gallery: GALLERY.to_owned() };
    let left = client.list_generations(request).await.unwrap().into_inner();
    let numbers: Vec<u32> = left.generations.iter().map(|generation| generation.generation).collect();
    assert_eq!((numbers, left.active), (vec![1], 1));
    assert_eq!(activate(client, 2, true).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(answer(client, GALLERY).await.0, models.first);
}

/// The model that answers, and the score of every image.
async fn answer(client: &mut Client, address: &str) -> (String, BTreeMap<String, f32>) {
    let reply = client.search(text_search(address, "a man in a red jacket", 200)).await.unwrap().into_inner();
    let hits = reply.hits.len();
    let scores: BTreeMap<String, f32> = reply.hits.into_iter().map(|hit| (hit.image_id, hit.score)).collect();
    assert_eq!(scores.len(), hits, "an image was found twice");
    (reply.fingerprint, scores)
}

async fn create_generation(client: &mut Client, fingerprint: &str) -> Result<Gallery, Status> {
    let request = CreateGenerationRequest { gallery: GALLERY.to_owned(), fingerprint: fingerprint.to_owned() };
    client.create_generation(request).await.map(|gallery| gallery.into_inner())
}

async fn compare(client: &mut Client, generation: u32, against: u32, limit: u32) -> CompareGenerationsResponse {
    let request = CompareGenerationsRequest {
        gallery: GALLERY.to_owned(),
        generation,
        against,
        limit,
        ..CompareGenerationsRequest::default()
    };
    client.compare_generations(request).await.unwrap().into_inner()
}

async fn index_all(client: &mut Client, images: &[Image]) {
    let replies = index(client, GALLERY, images.to_vec()).await;
    assert_eq!(replies.len(), images.len());
    assert!(replies.iter().all(|reply| matches!(reply.outcome, Some(Outcome::Indexed(_)))), "{replies:?}");
}

/// A stream into one generation that stays open.
struct Filling {
    requests: mpsc::Sender<IndexImagesRequest>,
    replies: Streaming<IndexImagesResponse>,
}

impl Filling {
    async fn open(client: &mut Client, generation: u32) -> Self {
        let (requests, outgoing) = mpsc::channel(8);
        let start = Message::Start(Start { gallery: GALLERY.to_owned(), generation, ..Start::default() });
        requests.send(IndexImagesRequest { message: Some(start) }).await.unwrap();
        let replies = client.index_images(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, replies }
    }

    /// Sends images and waits for their acknowledgements.
    async fn send(&mut self, images: &[Image]) {
        for image in images {
            let message = Some(Message::Image(image.clone()));
            self.requests.send(IndexImagesRequest { message }).await.unwrap();
        }
        for _ in images {
            let reply = self.replies.message().await.unwrap().unwrap();
            assert!(matches!(reply.outcome, Some(Outcome::Indexed(_))), "{reply:?}");
        }
    }
}
