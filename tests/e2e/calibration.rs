//! What scores mean: probabilities after a gallery was calibrated with captions, none before.

use crate::queries::{CAPTION, LOBBY_IMAGES, Lobby, image_id, keep_in, of_parts, part, text};
use crate::services::{demo_images, index, text_search};
use descry_proto::search::v1::calibrate_request::Caption;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CalibrateRequest, Calibration, CreateGalleryRequest, DeleteGalleryRequest, DeleteImagesRequest, Filter, Fusion,
    GetGalleryRequest, GroupBy, Pool, SearchRequest, SearchResponse,
};
use descry_qdrant_server::TestQdrant;
use descry_tests::{TestStack, demo_folder};
use std::collections::BTreeMap;
use std::fs;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The last person of the lobby; the demo describes 38 more, who are not in it.
const LAST_PERSON: u64 = 2612;

/// The demo's captions by person.
fn described_people() -> BTreeMap<u64, Vec<String>> {
    let annotations = fs::read(demo_folder().join("gallery/reid_raw.json")).unwrap();
    let annotations: Vec<serde_json::Value> = serde_json::from_slice(&annotations).unwrap();
    let mut people: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for image in &annotations {
        let captions = image["captions"].as_array().unwrap().iter().map(|caption| caption.as_str().unwrap().to_owned());
        people.entry(image["id"].as_u64().unwrap()).or_default().extend(captions);
    }
    people
}

fn caption(text: &str, person: Option<u64>) -> Caption {
    Caption { text: text.to_owned(), person_id: person.map(|person| person.to_string()) }
}

async fn calibrate(lobby: &mut Lobby, gallery: &str, captions: Vec<Caption>) -> Result<Calibration, Status> {
    let request = CalibrateRequest { gallery: gallery.to_owned(), captions };
    lobby.client.calibrate(request).await.map(|reply| reply.into_inner())
}

async fn is_calibrated(client: &mut SearchServiceClient<Channel>) -> bool {
    let request = GetGalleryRequest { name: "lobby".to_owned() };
    client.get_gallery(request).await.unwrap().into_inner().calibrated
}

async fn answer(client: &mut SearchServiceClient<Channel>, request: SearchRequest) -> SearchResponse {
    client.search(request).await.unwrap().into_inner()
}

/// Means over several searches: that nobody is there who is described, and that the first hit is the one.
async fn mean_probabilities<'a>(lobby: &mut Lobby, captions: impl Iterator<Item = &'a String>) -> (f32, f32) {
    let (mut nobody, mut first, mut count) = (0.0_f32, 0.0_f32, 0.0_f32);
    for caption in captions {
        let reply = answer(&mut lobby.client, text_search("lobby", caption, 5)).await;
        nobody += reply.not_in_gallery_probability.unwrap();
        first += reply.hits[0].match_probability.unwrap();
        count += 1.0;
    }
    (nobody / count, first / count)
}

/// Descriptions of people who are there must look likelier than those of people who are not.
async fn check_means(lobby: &mut Lobby, people: &BTreeMap<u64, Vec<String>>) {
    let here = people.range(..=LAST_PERSON).map(|(_, captions)| &captions[1]);
    let (nobody_here, first_here) = mean_probabilities(lobby, here).await;
    // The last of those who are not there, whose captions taught nothing.
    let elsewhere = people.range(LAST_PERSON + 1..).skip(30).map(|(_, captions)| &captions[1]);
    let (nobody_elsewhere, first_elsewhere) = mean_probabilities(lobby, elsewhere).await;
    assert!(nobody_here + 0.2 < nobody_elsewhere, "nobody: {nobody_here} here, {nobody_elsewhere} elsewhere");
    assert!(first_here > first_elsewhere + 0.2, "first hit: {first_here} here, {first_elsewhere} elsewhere");
}

async fn check_without_probabilities(client: &mut SearchServiceClient<Channel>) {
    assert!(!is_calibrated(client).await);
    let reply = answer(client, text_search("lobby", CAPTION, 5)).await;
    assert!(!reply.hits.is_empty());
    assert!(reply.hits.iter().all(|hit| hit.match_probability.is_none()), "{reply:?}");
    assert_eq!(reply.not_in_gallery_probability, None);
}

async fn check_answers(lobby: &mut Lobby) {
    let request = text_search("lobby", CAPTION, LOBBY_IMAGES);
    let reply = answer(&mut lobby.client, request.clone()).await;
    let probabilities: Vec<f32> = reply.hits.iter().map(|hit| hit.match_probability.unwrap()).collect();
    assert_eq!(probabilities.len(), LOBBY_IMAGES as usize);
    assert!(probabilities.iter().all(|probability| (0.0..=1.0).contains(probability)), "{probabilities:?}");
    assert!(probabilities.is_sorted_by(|a, b| a >= b), "they fall with the score: {probabilities:?}");
    assert!(probabilities[0] > 0.5 && probabilities[47] < 0.1, "{probabilities:?}");
    let nobody = reply.not_in_gallery_probability.unwrap();
    assert!((0.0..0.5).contains(&nobody), "{nobody}");
    // Pages say the same of the gallery and of each hit, and so does every form of ranking.
    let page = answer(&mut lobby.client, SearchRequest { offset: 20, limit: 5, ..request.clone() }).await;
    assert!((page.not_in_gallery_probability.unwrap() - nobody).abs() < 1e-3);
    for (hit, probability) in page.hits.iter().zip(&probabilities[20..25]) {
        assert!((hit.match_probability.unwrap() - probability).abs() < 1e-3);
    }
    let people = answer(&mut lobby.client, SearchRequest { group_by_person: true, ..request.clone() }).await;
    assert!((people.not_in_gallery_probability.unwrap() - nobody).abs() < 1e-3);
    // By their mean embeddings people have a scale of their own.
    let by_mean = SearchRequest { group_by: GroupBy::Person.into(), pool: Pool::Mean.into(), ..request.clone() };
    let means = answer(&mut lobby.client, by_mean).await;
    assert!((means.not_in_gallery_probability.unwrap() - nobody).abs() < 1e-3);
    let of_means: Vec<f32> = means.hits.iter().map(|hit| hit.match_probability.unwrap()).collect();
    assert_eq!(of_means.len(), LOBBY_IMAGES as usize / 4);
    assert!(of_means.is_sorted_by(|a, b| a >= b) && of_means[0] > 0.5 && of_means[11] < 0.1, "{of_means:?}");
    let parts = vec![part(text(CAPTION), 1.0), part(image_id("p2601_c1_1.jpg"), 0.5)];
    let fused = SearchRequest { fusion: Fusion::ReciprocalRank.into(), ..of_parts(parts, 10) };
    let fused = answer(&mut lobby.client, fused).await;
    for reply in [people, fused] {
        assert!(reply.hits.iter().all(|hit| hit.match_probability.is_some()), "{reply:?}");
    }
    // The gallery is judged, not the part of it that a filter leaves.
    let nowhere = Filter { camera_ids: vec!["nowhere".to_owned()], ..Filter::default() };
    let reply = answer(&mut lobby.client, SearchRequest { filter: Some(nowhere), ..request }).await;
    assert!(reply.hits.is_empty());
    assert!((reply.not_in_gallery_probability.unwrap() - nobody).abs() < 1e-3, "{reply:?}");
}

async fn check(client: SearchServiceClient<Channel>) {
    let mut lobby = Lobby::fill(client).await;
    let people = described_people();
    let background: Vec<Caption> =
        people.range(LAST_PERSON + 1..).take(30).map(|(_, captions)| caption(&captions[0], None)).collect();
    assert_eq!(background.len(), 30);
    check_without_probabilities(&mut lobby.client).await;

    // Too few captions, or no images to find, teach nothing.
    let status = calibrate(&mut lobby, "lobby", background[..19].to_vec()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("19") && status.message().contains("at least 20"), "{status}");
    let create = CreateGalleryRequest { name: "empty".to_owned(), ..CreateGalleryRequest::default() };
    lobby.client.create_gallery(create).await.unwrap();
    let status = calibrate(&mut lobby, "empty", background.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("gallery with images"), "{status}");
    let mut with_empty = background.clone();
    with_empty[3].text.clear();
    let status = calibrate(&mut lobby, "lobby", with_empty).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("captions[3]"), "{status}");
    assert_eq!(calibrate(&mut lobby, "nowhere", background.clone()).await.unwrap_err().code(), Code::NotFound);
    check_without_probabilities(&mut lobby.client).await;

    let calibration = calibrate(&mut lobby, "lobby", background.clone()).await.unwrap();
    assert_eq!((calibration.background_captions, calibration.labelled_captions), (30, 0));
    assert!(calibration.calibrated_at.is_some_and(|time| time.seconds > 1_600_000_000));
    assert!(is_calibrated(&mut lobby.client).await);
    let reply = answer(&mut lobby.client, text_search("lobby", CAPTION, 1)).await;
    assert_eq!(calibration.fingerprint, reply.fingerprint);
    check_answers(&mut lobby).await;
    check_means(&mut lobby, &people).await;

    // Captions of people who are there count twice: for what they find, and for what they find of others. One of
    // somebody who is not there, whatever is said, counts for the latter alone.
    let mut captions = background;
    captions.push(caption(&people[&2613_u64][2], Some(2613)));
    for (person, own) in people.range(..=LAST_PERSON) {
        captions.extend(own.iter().map(|text| caption(text, Some(*person))));
    }
    assert_eq!(captions.len(), 30 + 1 + 96);
    let calibration = calibrate(&mut lobby, "lobby", captions).await.unwrap();
    assert_eq!((calibration.background_captions, calibration.labelled_captions), (30 + 1 + 96, 96));
    check_answers(&mut lobby).await;
    check_means(&mut lobby, &people).await;

    // Without images nobody can be there.
    let cameras = (0..6).map(|number| format!("c{number}")).collect();
    let delete = DeleteImagesRequest {
        gallery: "lobby".to_owned(),
        filter: Some(Filter { camera_ids: cameras, ..Filter::default() }),
        ..DeleteImagesRequest::default()
    };
    let deleted = lobby.client.delete_images(delete).await.unwrap().into_inner().deleted;
    assert_eq!(deleted, u64::from(LOBBY_IMAGES));
    let reply = answer(&mut lobby.client, text_search("lobby", CAPTION, 5)).await;
    assert_eq!((reply.hits.len(), reply.not_in_gallery_probability), (0, Some(1.0)));
    // A new gallery of the same name knows nothing of the calibration.
    lobby.client.delete_gallery(DeleteGalleryRequest { name: "lobby".to_owned() }).await.unwrap();
    index(&mut lobby.client, "lobby", demo_images(4)).await;
    check_without_probabilities(&mut lobby.client).await;
}

#[tokio::test]
async fn calibrated_on_the_embedded_store() {
    let stack = TestStack::start().await;
    check(stack.search().await).await;
    stack.stop().await;
}

#[tokio::test]
async fn calibrated_on_qdrant() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| keep_in(&server, search)).await;
    check(stack.search().await).await;
    stack.stop().await;
}
