//! Killed while images and embeddings are indexed, new ones and such as are there already.

use super::stand::Stand;
use super::writers::{stream_images, write_embeddings};
use super::{answering, assert_all_go_on, end, go_on, search_near};
use crate::stands::Client;
use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::ledger::{SharedLedger, version_of};
use crate::stands::polling::until;
use crate::stands::random::Random;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::index_images_request::Start;
use descry_proto::search::v1::{CreateGalleryRequest, StoredImage};
use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Filled by a stream of images, and by embeddings.
const STREAMED: &str = "streamed";
const WRITTEN: &str = "written";

/// Returns how often a service was killed.
pub(super) async fn rounds(kills: u32, random: &mut Random) -> u32 {
    let stand = Stand::new().await;
    let model = &stand.models[0];
    let (streamed, written) = (SharedLedger::default(), SharedLedger::default());
    for round in 0..=kills {
        let mut service = stand.start().await;
        if round == 0 {
            create(&mut service.client, model).await;
        }
        for (gallery, ledger) in [(STREAMED, &streamed), (WRITTEN, &written)] {
            let stored = stored_images(&mut service.client, gallery).await;
            {
                let mut ledger = ledger.lock().unwrap();
                ledger.check_complete(&stored);
                ledger.check_whole(&stored, model);
                ledger.begin_round();
            }
            find_any(&mut service.client, gallery, &stored, model, random).await;
        }
        if round == kills {
            break;
        }
        let mut writers = JoinSet::new();
        let start = Start { gallery: STREAMED.to_owned(), ..Start::default() };
        writers.spawn(stream_images(service.client.clone(), start, Arc::clone(&streamed), random.branch(), true));
        let (client, ledger) = (service.client.clone(), Arc::clone(&written));
        writers.spawn(write_embeddings(client, WRITTEN, model.clone(), ledger, random.branch()));
        for ledger in [&streamed, &written] {
            let wanted = random.within(1..=150);
            until("images are acknowledged", async || {
                assert_all_go_on(&mut writers);
                (ledger.lock().unwrap().acknowledgements() >= wanted).then_some(())
            })
            .await;
        }
        go_on(&mut writers, random.moment(40)).await;
        service.kill();
        end(writers).await;
    }
    kills
}

async fn create(client: &mut Client, model: &ComputedModel) {
    for name in [STREAMED, WRITTEN] {
        let request = CreateGalleryRequest {
            name: name.to_owned(),
            fingerprint: model.fingerprint.clone(),
            embedding_dimension: DIMENSION as u32,
            ..CreateGalleryRequest::default()
        };
        client.create_gallery(request).await.unwrap();
    }
}

/// Some image is found by what is stored of it, before all others.
async fn find_any(
    client: &mut Client,
    gallery: &str,
    stored: &BTreeMap<String, StoredImage>,
    model: &ComputedModel,
    random: &mut Random,
) {
    if stored.is_empty() {
        return;
    }
    let place = random.within(0..=stored.len() as u64 - 1) as usize;
    let (image_id, image) = stored.iter().nth(place).unwrap();
    let answer = search_near(client, gallery, model, image.embedding.clone()).await;
    answering(&answer, slice::from_ref(model), |_| image.embedding.clone());
    let best = &answer.hits[0];
    assert_eq!(&best.image_id, image_id, "at {}", best.score);
    let versions = [best.metadata.as_ref(), image.metadata.as_ref()].map(|metadata| version_of(metadata.unwrap()));
    assert_eq!(versions[0], versions[1], "{image_id}");
}
