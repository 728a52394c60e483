//! What a ranking shows of a gallery: pages, bounds, persons, duplicates; and several rankings at once.

use super::{CAPTION, LOBBY_IMAGES, Lobby, ids, image_id, of_parts, part};
use crate::services::{index, text_search};
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::search_batch_response::result::Outcome;
use descry_proto::search::v1::{Filter, Hit, ImageMetadata, SearchBatchRequest, SearchRequest, Sighting};
use std::collections::HashSet;
use tonic::Code;

/// All pages of a search, one after another.
async fn pages(lobby: &mut Lobby, request: &SearchRequest, limit: u32) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let offset = found.len() as u32;
        let page = lobby.search(SearchRequest { offset, limit, ..request.clone() }).await;
        if page.is_empty() {
            return found;
        }
        assert!(page.len() <= limit as usize);
        found.extend(page.into_iter().map(|hit| hit.image_id));
        assert!(found.len() <= LOBBY_IMAGES as usize, "pages without end");
    }
}

pub(super) async fn pages_continue_one_ranking(lobby: &mut Lobby) {
    let images = text_search("lobby", CAPTION, LOBBY_IMAGES);
    let people = SearchRequest { group_by_person: true, ..images.clone() };
    for (request, count) in [(images, 48), (people, 12)] {
        let whole = lobby.search(request.clone()).await;
        assert_eq!(whole.len(), count);
        // 5 divides neither.
        assert_eq!(pages(lobby, &request, 5).await, ids(&whole));
    }
}

pub(super) async fn no_hit_is_below_the_least_score(lobby: &mut Lobby) {
    let request = text_search("lobby", CAPTION, LOBBY_IMAGES);
    let all = lobby.search(request.clone()).await;
    let between = (all[9].score + all[10].score) / 2.0;
    let found = lobby.search(SearchRequest { min_score: Some(between), ..request.clone() }).await;
    assert_eq!(ids(&found), ids(&all)[..10]);
    let found = lobby.search(SearchRequest { min_score: Some(between), limit: 3, ..request.clone() }).await;
    assert_eq!(ids(&found), ids(&all)[..3]);
    let found = lobby.search(SearchRequest { min_score: Some(1.0), ..request.clone() }).await;
    assert!(found.is_empty(), "{found:?}");
    let people = SearchRequest { min_score: Some(between), group_by_person: true, ..request };
    let people = lobby.search(people).await;
    assert!(!people.is_empty() && people.iter().all(|hit| hit.score >= between), "{people:?}");
}

pub(super) async fn exact_searches_find_the_same(lobby: &mut Lobby) {
    let images = text_search("lobby", CAPTION, 20);
    let people = SearchRequest { group_by_person: true, ..images.clone() };
    for request in [images, people] {
        let usual = lobby.search(request.clone()).await;
        let exact = lobby.search(SearchRequest { exact: true, ..request }).await;
        assert_eq!(ids(&exact), ids(&usual));
        assert!(exact.iter().zip(&usual).all(|(a, b)| (a.score - b.score).abs() < 1e-5));
    }
}

fn person(hit: &Hit) -> &str {
    hit.metadata.as_ref().and_then(|metadata| metadata.person_id.as_deref()).unwrap()
}

/// What the images that meet a condition say of the person of a hit, by rising time.
fn sightings(images: &[Image], hit: &Hit, meets: impl Fn(&ImageMetadata) -> bool) -> Vec<Sighting> {
    let mut found = Vec::new();
    for image in images {
        let metadata = image.metadata.as_ref().unwrap();
        if metadata.person_id.as_deref() == Some(person(hit)) && meets(metadata) {
            let ImageMetadata { camera_id, track_id, captured_at, .. } = metadata.clone();
            found.push(Sighting { image_id: image.image_id.clone(), camera_id, track_id, captured_at });
        }
    }
    found.sort_by_key(|sighting| sighting.captured_at.unwrap().seconds);
    found
}

pub(super) async fn each_person_comes_once_with_all_sightings(lobby: &mut Lobby) {
    let images = text_search("lobby", CAPTION, LOBBY_IMAGES);
    let all = lobby.search(images.clone()).await;
    assert!(all.iter().all(|hit| hit.sightings.is_empty()));
    let people = lobby.search(SearchRequest { group_by_person: true, ..images.clone() }).await;
    // The best image of each.
    let mut seen = HashSet::new();
    let best: Vec<&str> = all.iter().filter(|hit| seen.insert(person(hit))).map(|hit| hit.image_id.as_str()).collect();
    assert_eq!(ids(&people), best);
    assert_eq!(person(&people[0]), "2601");
    for hit in &people {
        assert_eq!(hit.sightings.len(), 4);
        assert_eq!(hit.sightings, sightings(&lobby.images, hit, |_| true));
    }

    // A filter holds for hits and sightings.
    let filter = Filter { camera_ids: vec!["c5".to_owned()], ..Filter::default() };
    let request = SearchRequest { group_by_person: true, filter: Some(filter), limit: 3, ..images };
    let people = lobby.search(request).await;
    assert_eq!(people.len(), 3);
    for hit in &people {
        let is_there = |metadata: &ImageMetadata| metadata.camera_id.as_deref() == Some("c5");
        assert!(is_there(hit.metadata.as_ref().unwrap()));
        assert_eq!(hit.sightings, sightings(&lobby.images, hit, is_there));
    }
}

pub(super) async fn of_duplicates_one_remains(lobby: &mut Lobby) {
    // Two people, and one of the images once more, from nobody knows whom.
    let mut images = lobby.images[..8].to_vec();
    images.push(Image { image_id: "again.jpg".to_owned(), metadata: None, ..images[0].clone() });
    index(&mut lobby.client, "doubles", images.clone()).await;
    let request = text_search("doubles", CAPTION, 20);
    let with = lobby.search(request.clone()).await;
    assert_eq!(with.len(), 9);
    // No other two images of the demo are as near.
    let without = lobby.search(SearchRequest { suppress_duplicates_above: 0.999, ..request.clone() }).await;
    assert_eq!(without.len(), 8);
    let twins = ["again.jpg", images[0].image_id.as_str()];
    assert_eq!(without.iter().filter(|hit| twins.contains(&hit.image_id.as_str())).count(), 1);
    let others = |hits: &[Hit]| -> Vec<String> {
        hits.iter().map(|hit| hit.image_id.clone()).filter(|id| !twins.contains(&id.as_str())).collect()
    };
    assert_eq!(others(&without), others(&with), "the rest keeps its order");
    // A place that a duplicate leaves is filled.
    let limited = SearchRequest { suppress_duplicates_above: 0.999, limit: 6, ..request.clone() };
    assert_eq!(lobby.search(limited).await.len(), 6);

    let people = lobby.search(SearchRequest { group_by_person: true, ..request }).await;
    assert_eq!(people.iter().map(person).collect::<HashSet<_>>(), HashSet::from(["2601", "2602"]));
    assert!(people.iter().all(|hit| hit.image_id != "again.jpg" && hit.sightings.len() == 4), "{people:?}");
}

pub(super) async fn a_bad_search_leaves_its_neighbours_alone(lobby: &mut Lobby) {
    let by_text = text_search("lobby", CAPTION, 5);
    let by_image = of_parts(vec![part(image_id("p2603_c1_1.jpg"), 1.0)], 4);
    let unknown = of_parts(vec![part(image_id("unknown.jpg"), 1.0)], 4);
    let searches = vec![by_text.clone(), text_search("nowhere", CAPTION, 5), unknown, by_image.clone()];
    let reply = lobby.client.search_batch(SearchBatchRequest { searches }).await.unwrap().into_inner();
    let outcomes: Vec<Outcome> = reply.results.into_iter().map(|result| result.outcome.unwrap()).collect();
    let [Outcome::Response(first), Outcome::Error(second), Outcome::Error(third), Outcome::Response(fourth)] =
        &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert!(second.code == Code::NotFound as i32 && second.message.contains("nowhere"), "{second:?}");
    assert!(third.code == Code::InvalidArgument as i32 && third.message.contains("unknown.jpg"), "{third:?}");
    for (response, request) in [(first, by_text), (fourth, by_image)] {
        assert_eq!(ids(&response.hits), ids(&lobby.search(request).await), "each as if it were alone");
    }
    let nothing = lobby.client.search_batch(SearchBatchRequest::default()).await.unwrap().into_inner();
    assert!(nothing.results.is_empty());
}
