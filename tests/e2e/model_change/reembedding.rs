//! `descry gallery reembed`, killed again and again.

use super::{GALLERY, TwoModels, activate};
use crate::services::{index, text_search};
use crate::stands::Client;
use crate::stands::commands::{Running, last_json, succeed};
use crate::stands::crops::Crops;
use crate::stands::polling::until;
use crate::stands::random::Random;
use crate::stands::stored::{count, known, stored_images};
use descry_proto::search::v1::ListGenerationsRequest;

const SEED: u64 = 41;
/// Images that are there before the change begins.
const EARLY: usize = 160;
/// Images that come while it is under way.
const LATE: usize = 20;
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reembed_that_is_killed_again_and_again_arrives() {
    let models = TwoModels::start(|_| {}).await;
    let mut client = models.stack.search().await;
    let crops = Crops::write(EARLY + LATE);
    let (folder, url) = (crops.folder(), models.stack.search_url.as_str());
    index(&mut client, GALLERY, crops.images[..EARLY].to_vec()).await;
    let reembed =
        ["gallery", "reembed", GALLERY, "--server", url, "--to", &models.second, "--images", &folder, "--json"];

    let mut random = Random::new(SEED);
    let mut kills = 0;
    for late in crops.images[EARLY..].chunks(LATE / KILLS) {
        // The first one dies when it has hardly begun, the others a random number of images later.
        let there = count(&mut client, "lobby.2").await;
        let wanted = if kills == 0 { 0 } else { there + random.within(1..=10) };
        let paced: Vec<&str> = reembed.iter().copied().chain(["--rate", "20"]).collect();
        let mut running = Running::start(&paced);
        until("the new generation grows", async || {
            let is_far_enough = count(&mut client, "lobby.2").await >= wanted;
            (is_far_enough || running.has_ended()).then_some(())
        })
        .await;
        assert_eq!(answering(&mut client).await, models.first, "before everything was there");
        index(&mut client, GALLERY, late.to_vec()).await;
        let was_under_way = !running.has_ended();
        running.kill();
        kills += usize::from(was_under_way);
    }
    assert_eq!(kills, KILLS, "a command ended before it was killed");

    // At the speed that the service has.
    let last = last_json(&succeed(&reembed));
    assert_eq!(last["finished"], true, "{last}");
    assert_eq!(last["active_generation"], 2, "{last}");
    assert_eq!(last["old_generation"], 1, "{last}");
    let request = ListGenerationsRequest { gallery: GALLERY.to_owned() };
    let generations = client.list_generations(request).await.unwrap().into_inner();
    let models_of: Vec<&str> = generations.generations.iter().map(|each| each.fingerprint.as_str()).collect();
    assert_eq!((generations.active, models_of), (2, vec![models.first.as_str(), models.second.as_str()]));
    assert_eq!(answering(&mut client).await, models.second);
    let (old, new) = (stored_images(&mut client, "lobby.1").await, stored_images(&mut client, GALLERY).await);
    assert_eq!(new.keys().cloned().collect::<Vec<_>>(), crops.ids().into_iter().collect::<Vec<_>>());
    assert!(old.keys().eq(new.keys()));
    for (image_id, image) in &new {
        let before = &old[image_id];
        assert_eq!((known(image), &image.content_sha256), (known(before), &before.content_sha256), "{image_id}");
        assert_ne!(image.embedding, before.embedding, "{image_id} was not encoded anew");
    }

    let said = succeed(&["gallery", "activate", GALLERY, "1", "--server", url]);
    assert!(said.contains("generation 1 serves"), "{said}");
    assert_eq!(answering(&mut client).await, models.first);
    // There is nothing left to do but to switch, and to clean up.
    let again: Vec<&str> = reembed.iter().copied().chain(["--drop-old"]).collect();
    let last = last_json(&succeed(&again));
    assert_eq!(last["active_generation"], 2, "{last}");
    assert_eq!(last["old_is_deleted"], true, "{last}");
    assert_eq!(activate(&mut client, 1, true).await.unwrap_err().code(), tonic::Code::NotFound);
    assert_eq!(answering(&mut client).await, models.second);
    models.stop().await;
}

async fn answering(client: &mut Client) -> String {
    client.search(text_search(GALLERY, "a woman", 5)).await.unwrap().into_inner().fingerprint
}
