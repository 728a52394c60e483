//! Killed while what was kept long enough is removed, and images come meanwhile.

use super::stand::{Stand, assert_gone};
use super::{answering, assert_all_go_on, end, go_on, search_near};
use crate::stands::Client;
use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::ledger::encoded_image;
use crate::stands::polling::until;
use crate::stands::random::Random;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{
    CreateGalleryRequest, GetGalleryRequest, IndexEmbeddingsRequest, Retention, SetRetentionRequest, StoredImage,
};
use prost_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::task::JoinSet;

const GALLERY: &str = "yard";
const DAY_S: i64 = 86_400;
const DAY_MS: u64 = 86_400_000;

/// The gallery keeps images for a month, those of the door for a day, and those of the vault for ever.
const DEFAULT_DAYS: u64 = 30;

/// Cameras, how many days ago they took the image, and whether it is to be kept.
const KINDS: [(Option<&str>, Option<i64>, bool); 8] = [
    (Some("vault"), Some(4_000), true),
    (Some("door"), Some(0), true),
    (Some("door"), Some(2), false),
    // Counted from the indexing.
    (Some("door"), None, true),
    (Some("gate"), Some(20), true),
    (Some("gate"), Some(40), false),
    (None, Some(40), false),
    (None, None, true),
];

/// What was written, all services together.
#[derive(Default)]
struct Notes {
    /// How often each image was sent.
    sent: BTreeMap<String, u64>,
    /// Acknowledged, and to be kept from then on.
    kept: BTreeSet<String>,
    /// How many were acknowledged that are to be removed.
    old: u64,
    acknowledgements: u64,
}

/// Returns how often a service was killed.
pub(super) async fn rounds(kills: u32, random: &mut Random) -> u32 {
    let stand = Stand::new().await;
    let model = &stand.models[0];
    let notes = Arc::<Mutex<Notes>>::default();
    let mut retention = retention();
    for round in 0..=kills {
        let mut service = stand.start().await;
        let client = &mut service.client;
        if round == 0 {
            create(client, model, &retention).await;
        }
        check(client, model, &notes, &retention, random).await;
        if round == kills {
            break;
        }
        // What is acknowledged of the rule outlives the service, too.
        retention.default_ms = DEFAULT_DAYS * DAY_MS + random.within(0..=DAY_MS);
        let request = SetRetentionRequest {
            gallery: GALLERY.to_owned(),
            retention: Some(retention.clone()),
            validate_only: false,
        };
        client.set_retention(request).await.unwrap();
        notes.lock().unwrap().acknowledgements = 0;
        let mut writers = JoinSet::new();
        writers.spawn(write(client.clone(), model.clone(), Arc::clone(&notes), random.branch()));
        let wanted = random.within(1..=400);
        until("images are acknowledged", async || {
            assert_all_go_on(&mut writers);
            (notes.lock().unwrap().acknowledgements >= wanted).then_some(())
        })
        .await;
        go_on(&mut writers, random.moment(40)).await;
        service.kill();
        end(writers).await;
    }
    assert!(notes.lock().unwrap().old > 0, "nothing was there to be removed");
    kills
}

fn retention() -> Retention {
    let camera_ms = [("door".to_owned(), DAY_MS), ("vault".to_owned(), 0)].into();
    Retention { default_ms: DEFAULT_DAYS * DAY_MS, camera_ms }
}

async fn create(client: &mut Client, model: &ComputedModel, retention: &Retention) {
    let request = CreateGalleryRequest {
        name: GALLERY.to_owned(),
        retention: Some(retention.clone()),
        fingerprint: model.fingerprint.clone(),
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    };
    client.create_gallery(request).await.unwrap();
}

async fn check(
    client: &mut Client,
    model: &ComputedModel,
    notes: &Mutex<Notes>,
    retention: &Retention,
    random: &mut Random,
) {
    let request = GetGalleryRequest { name: GALLERY.to_owned() };
    let gallery = client.get_gallery(request).await.unwrap().into_inner();
    assert_eq!(gallery.retention.as_ref(), Some(retention));
    check_kept(&stored_images(client, GALLERY).await, &notes.lock().unwrap());
    // The sweep goes on in the new service until nothing is left for it.
    let stored = until("what was kept long enough is removed", async || {
        let stored = stored_images(client, GALLERY).await;
        stored.values().all(is_to_be_kept).then_some(stored)
    })
    .await;
    check_kept(&stored, &notes.lock().unwrap());
    let query = random.direction(DIMENSION);
    let answer = search_near(client, GALLERY, model, query.clone()).await;
    answering(&answer, slice::from_ref(model), |_| query.clone());
    assert_eq!(answer.hits.len(), stored.len().min(30));
    assert!(answer.hits.iter().all(|hit| stored.contains_key(&hit.image_id)));
}

fn check_kept(stored: &BTreeMap<String, StoredImage>, notes: &Notes) {
    let lost: Vec<_> = notes.kept.iter().filter(|image_id| !stored.contains_key(*image_id)).collect();
    assert!(lost.is_empty(), "acknowledged, to be kept, and lost: {lost:?}");
    let strangers: Vec<_> = stored.keys().filter(|image_id| !notes.sent.contains_key(*image_id)).collect();
    assert!(strangers.is_empty(), "never sent: {strangers:?}");
    let old: Vec<_> = notes.kept.iter().filter(|image_id| !is_to_be_kept(&stored[*image_id])).collect();
    assert!(old.is_empty(), "older than what was acknowledged last: {old:?}");
}

const KEPT: &str = "kept";

fn is_to_be_kept(image: &StoredImage) -> bool {
    image.metadata.as_ref().unwrap().attributes[KEPT] == "yes"
}

/// Writes images of all kinds. Some that are to be removed are written again, taken today: now they are to be kept.
async fn write(mut client: Client, model: ComputedModel, notes: Arc<Mutex<Notes>>, mut random: Random) {
    let mut old: Vec<String> = Vec::new();
    loop {
        let mut images = Vec::new();
        {
            let mut notes = notes.lock().unwrap();
            for image_id in old.drain(..).filter(|_| random.within(0..=1) == 0) {
                images.push(image(&mut notes, image_id, (Some("gate"), Some(0), true), &model));
            }
            for _ in 0..random.within(1..=32) {
                let kind = KINDS[random.within(0..=KINDS.len() as u64 - 1) as usize];
                let image_id = format!("{:06}", notes.sent.len());
                images.push(image(&mut notes, image_id, kind, &model));
            }
        }
        let request = IndexEmbeddingsRequest {
            gallery: GALLERY.to_owned(),
            fingerprint: model.fingerprint.clone(),
            images: images.clone(),
            ..Default::default()
        };
        let results = match client.index_embeddings(request).await {
            Ok(reply) => reply.into_inner().results,
            Err(status) => return assert_gone(&status),
        };
        assert_eq!(results.len(), images.len());
        let mut notes = notes.lock().unwrap();
        for (image, result) in images.iter().zip(results) {
            assert!(matches!(result.outcome, Some(Outcome::Indexed(_))), "{result:?}");
            notes.acknowledgements += 1;
            if is_to_be_kept(image) {
                notes.kept.insert(image.image_id.clone());
            } else {
                notes.old += 1;
                old.push(image.image_id.clone());
            }
        }
    }
}

fn image(
    notes: &mut Notes,
    image_id: String,
    (camera, days_ago, is_kept): (Option<&str>, Option<i64>, bool),
    model: &ComputedModel,
) -> StoredImage {
    let version = notes.sent.entry(image_id.clone()).or_default();
    *version += 1;
    let mut image = encoded_image(&image_id, *version, model);
    let metadata = image.metadata.as_mut().unwrap();
    metadata.camera_id = camera.map(str::to_owned);
    let now = Timestamp::from(SystemTime::now());
    metadata.captured_at = days_ago.map(|days| Timestamp { seconds: now.seconds - days * DAY_S, nanos: 0 });
    metadata.attributes.insert(KEPT.to_owned(), if is_kept { "yes" } else { "no" }.to_owned());
    image
}
