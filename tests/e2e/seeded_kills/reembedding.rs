//! Killed while a gallery changes its model, back and forth, and images come meanwhile.

use super::stand::{Stand, assert_gone};
use super::writers::{is_acknowledged, stream_images};
use super::{answering, assert_all_go_on, end, go_on};
use crate::services::text_search;
use crate::stands::Client;
use crate::stands::computed::ComputedModel;
use crate::stands::ledger::{Ledger, SharedLedger, encoded_image, image};
use crate::stands::polling::until;
use crate::stands::random::Random;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::index_images_request::{Message, Start};
use descry_proto::search::v1::{
    ActivateGenerationRequest, CompareGenerationsRequest, CreateGalleryRequest, CreateGenerationRequest,
    GetGalleryRequest, IndexEmbeddingsRequest, IndexImagesRequest, ListGenerationsRequest,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::JoinSet;
use tonic::{Code, Status};

const GALLERY: &str = "street";

/// Images before the first change.
const EARLY: u64 = 200;

/// Images a second that come while the model is changed: few enough for a new generation to catch up.
const LATE_PER_SECOND: f32 = 200.0;

/// A change of the model, from outside.
#[derive(Default)]
struct Change {
    filled: AtomicU64,
    /// The switch was asked for, and answered.
    is_asked: AtomicBool,
    is_done: AtomicBool,
}

/// Returns how often a service was killed.
pub(super) async fn rounds(kills: u32, random: &mut Random) -> u32 {
    let stand = Stand::new().await;
    let ledger = SharedLedger::default();
    let mut serving = 1;
    // The generation that was begun last, and how far its change came.
    let mut last: Option<(u32, Arc<Change>)> = None;
    for round in 0..=kills {
        let mut service = stand.start().await;
        let client = &mut service.client;
        if round == 0 {
            fill(client, &stand.models[0], &ledger, random).await;
        }
        let (active, model) = check(client, &stand.models, &ledger).await;
        ledger.lock().unwrap().begin_round();
        if let Some((begun, change)) = &last {
            let may_be = match (change.is_asked.load(Ordering::SeqCst), change.is_done.load(Ordering::SeqCst)) {
                (_, true) => vec![*begun],
                (true, false) => vec![serving, *begun],
                (false, false) => vec![serving],
            };
            assert!(may_be.contains(&active), "generation {active} serves and not one of {may_be:?}");
        }
        if round == kills {
            break;
        }
        let other = stand.models.iter().find(|other| **other != model).unwrap();
        let request = CreateGenerationRequest { gallery: GALLERY.to_owned(), fingerprint: other.fingerprint.clone() };
        let begun = client.create_generation(request).await.unwrap().into_inner().generation;
        if let Some((number, _)) = last.filter(|(number, _)| active < *number) {
            assert_eq!(begun, number, "a change that was begun goes on");
        }

        let change = Arc::<Change>::default();
        let mut others = JoinSet::new();
        let start = Start { gallery: GALLERY.to_owned(), max_images_per_second: LATE_PER_SECOND, ..Start::default() };
        others.spawn(stream_images(client.clone(), start, Arc::clone(&ledger), random.branch(), false));
        others.spawn(search_on(client.clone(), stand.models.clone()));
        let changing = tokio::spawn(change_model(client.clone(), begun, Arc::clone(&change)));
        // Killed somewhere in the filling, or about when the generations change places.
        let (wanted, most_ms) = if round % 2 == 0 { (random.within(1..=EARLY), 15) } else { (u64::MAX, 4) };
        until("the new generation is filled", async || {
            assert_all_go_on(&mut others);
            let is_far_enough = change.filled.load(Ordering::SeqCst) >= wanted;
            (is_far_enough || change.is_asked.load(Ordering::SeqCst)).then_some(())
        })
        .await;
        go_on(&mut others, random.moment(most_ms)).await;
        service.kill();
        end(others).await;
        changing.await.unwrap();
        (serving, last) = (active, Some((begun, change)));
    }
    kills
}

/// Makes the gallery, and writes what is there before anything is changed.
async fn fill(client: &mut Client, model: &ComputedModel, ledger: &SharedLedger, random: &mut Random) {
    let request = CreateGalleryRequest { name: GALLERY.to_owned(), ..CreateGalleryRequest::default() };
    let created = client.create_gallery(request).await.unwrap().into_inner();
    assert_eq!(created.fingerprint, model.fingerprint);
    while ledger.lock().unwrap().acknowledgements() < EARLY {
        let sent = ledger.lock().unwrap().send(random, false);
        let images = sent.iter().map(|(image_id, version)| encoded_image(image_id, *version, model)).collect();
        let request = IndexEmbeddingsRequest {
            gallery: GALLERY.to_owned(),
            fingerprint: model.fingerprint.clone(),
            images,
            ..Default::default()
        };
        let reply = client.index_embeddings(request).await.unwrap().into_inner();
        let mut ledger = ledger.lock().unwrap();
        reply.results.iter().for_each(|result| ledger.acknowledge(&result.image_id));
    }
}

/// Every generation is of one model, the one that serves is complete, and answers. Returns its number and its model.
async fn check(client: &mut Client, models: &[ComputedModel; 2], ledger: &SharedLedger) -> (u32, ComputedModel) {
    let request = ListGenerationsRequest { gallery: GALLERY.to_owned() };
    let listed = client.list_generations(request).await.unwrap().into_inner();
    let mut serving = None;
    for generation in &listed.generations {
        let model = models.iter().find(|model| model.fingerprint == generation.fingerprint).unwrap();
        let stored = stored_images(client, &format!("{GALLERY}.{}", generation.generation)).await;
        assert_eq!(generation.images, stored.len() as u64);
        let ledger = ledger.lock().unwrap();
        ledger.check_whole(&stored, model);
        if generation.generation == listed.active {
            ledger.check_complete(&stored);
            serving = Some(model);
        }
    }
    let model = serving.unwrap();
    let request = GetGalleryRequest { name: GALLERY.to_owned() };
    assert_eq!(client.get_gallery(request).await.unwrap().into_inner().fingerprint, model.fingerprint);
    let answer = client.search(text_search(GALLERY, "somebody", 1000)).await.unwrap().into_inner();
    assert_eq!(answering(&answer, models, |model| model.embedding(b"somebody")), model);
    (listed.active, model.clone())
}

/// Fills a generation until it lacks nothing, and lets it serve; again and again until it does.
async fn change_model(mut client: Client, generation: u32, change: Arc<Change>) {
    loop {
        let missing_ids = match missing(&mut client, generation).await {
            Ok(missing_ids) => missing_ids,
            Err(status) => return assert_gone(&status),
        };
        if !missing_ids.is_empty() {
            fill_in(&mut client, generation, &missing_ids, &change).await;
            continue;
        }
        change.is_asked.store(true, Ordering::SeqCst);
        let request = ActivateGenerationRequest {
            gallery: GALLERY.to_owned(),
            generation,
            ..ActivateGenerationRequest::default()
        };
        match client.activate_generation(request).await {
            Ok(_) => return change.is_done.store(true, Ordering::SeqCst),
            // Images came in between.
            Err(status) if status.code() == Code::FailedPrecondition => {}
            Err(status) => return assert_gone(&status),
        }
    }
}

/// What a generation lacks of the one that serves: all pages of the comparison.
async fn missing(client: &mut Client, generation: u32) -> Result<Vec<String>, Status> {
    let gallery = GALLERY.to_owned();
    let mut request = CompareGenerationsRequest { gallery, generation, limit: 10_000, ..Default::default() };
    let mut missing_ids = Vec::new();
    loop {
        let page = client.compare_generations(request.clone()).await?.into_inner();
        assert_eq!(page.surplus, 0, "{:?}", page.surplus_ids);
        missing_ids.extend(page.missing_ids);
        if page.next_page_token.is_empty() {
            return Ok(missing_ids);
        }
        request.page_token = page.next_page_token;
    }
}

async fn fill_in(client: &mut Client, generation: u32, image_ids: &[String], change: &Change) {
    let start = Message::Start(Start { gallery: GALLERY.to_owned(), generation, ..Start::default() });
    let images = image_ids.iter().map(|image_id| Message::Image(image(image_id, Ledger::ONLY_VERSION)));
    let requests: Vec<_> =
        std::iter::once(start).chain(images).map(|message| IndexImagesRequest { message: Some(message) }).collect();
    let mut replies = match client.index_images(tokio_stream::iter(requests)).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return assert_gone(&status),
    };
    loop {
        match replies.message().await {
            Ok(Some(reply)) => {
                if is_acknowledged(&reply) {
                    change.filled.fetch_add(1, Ordering::SeqCst);
                }
            }
            Ok(None) => return,
            Err(status) => return assert_gone(&status),
        }
    }
}

/// Asks all the while; each answer is of one model.
async fn search_on(mut client: Client, models: [ComputedModel; 2]) {
    for number in 0_u64.. {
        let text = format!("person {number}");
        match client.search(text_search(GALLERY, &text, 50)).await {
            Ok(answer) => {
                answering(&answer.into_inner(), &models, |model| model.embedding(text.as_bytes()));
            }
            Err(status) => return assert_gone(&status),
        }
    }
}
