//! What can be asked of a gallery: parts, rankings, filters, feedback, on both stores; and what needs no encoder.
//!
//! `parts.rs`, `ranking.rs`, `filters.rs` and `feedback.rs` hold checks of one gallery that none of them changes;
//! `embeddings.rs`, `groups.rs` and `sightings.rs` have services of their own.

pub(crate) mod embeddings;
mod feedback;
mod filters;
mod groups;
mod parts;
mod ranking;
mod sightings;

use crate::services::{demo_images, index};
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CreateGalleryRequest, GallerySettings, GetGalleryRequest, Hit, QueryPart, SearchRequest,
};
use descry_qdrant_server::TestQdrant;
use descry_search::{SearchConfig, StoreKind};
use descry_tests::TestStack;
use prost_types::Timestamp;
use tonic::Status;
use tonic::transport::Channel;

/// Images of the demo's first twelve people, four of each.
pub(crate) const LOBBY_IMAGES: u32 = 48;

/// The demo's description of person 2601. Cosines: 0.79 and more to that person's images, 0.39 and less to all others
/// of the lobby.
pub(crate) const CAPTION: &str = "This man wears a navy plaid collared shirt and black short pants and has a grey \
    shoulder bag at his side. He wears a gray wide-brimmed hat and glasses. He wears yellow sneakers.";

/// A port that nobody listens at.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1";

/// Lets a search service keep its galleries in a Qdrant server.
pub(crate) fn keep_in(server: &TestQdrant, search: &mut SearchConfig) {
    search.store.kind = StoreKind::Qdrant;
    search.qdrant.url = server.url();
}

pub(crate) fn part(what: What, weight: f32) -> QueryPart {
    QueryPart { what: Some(what), weight: Some(weight) }
}

pub(crate) fn text(text: &str) -> What {
    What::Text(text.to_owned())
}

pub(crate) fn image_id(image_id: &str) -> What {
    What::ImageId(image_id.to_owned())
}

/// A search of the lobby.
pub(crate) fn of_parts(parts: Vec<QueryPart>, limit: u32) -> SearchRequest {
    SearchRequest { gallery: "lobby".to_owned(), parts, limit, ..SearchRequest::default() }
}

pub(crate) fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.image_id.as_str()).collect()
}

/// The place of an image in a ranking, from 0.
fn rank(hits: &[Hit], image_id: &str) -> usize {
    hits.iter().position(|hit| hit.image_id == image_id).unwrap_or_else(|| panic!("{image_id} is not among the hits"))
}

/// A gallery `lobby` that declares `weather`, and what is in it.
pub(crate) struct Lobby {
    pub(crate) client: SearchServiceClient<Channel>,
    /// By rising id. The later the id the earlier the capture; every third image says nothing of the weather.
    pub(crate) images: Vec<Image>,
}

impl Lobby {
    pub(crate) async fn fill(mut client: SearchServiceClient<Channel>) -> Self {
        let settings = GallerySettings { indexed_attributes: vec!["weather".to_owned()], ..GallerySettings::default() };
        let create = CreateGalleryRequest {
            name: "lobby".to_owned(),
            settings: Some(settings),
            ..CreateGalleryRequest::default()
        };
        client.create_gallery(create).await.unwrap();
        let mut images = demo_images(LOBBY_IMAGES as usize);
        for (number, image) in images.iter_mut().enumerate() {
            let metadata = image.metadata.as_mut().unwrap();
            metadata.captured_at = Some(Timestamp { seconds: 1_700_000_000 - number as i64, nanos: 0 });
            metadata.attributes.clear();
            metadata.attributes.insert("shift".to_owned(), "night".to_owned());
            if let Some(weather) = [Some("rain"), Some("sun"), None][number % 3] {
                metadata.attributes.insert("weather".to_owned(), weather.to_owned());
            }
        }
        let replies = index(&mut client, "lobby", images.clone()).await;
        assert_eq!(replies.len(), images.len());
        assert!(replies.iter().all(|reply| matches!(&reply.outcome, Some(Outcome::Indexed(_)))));
        Self { client, images }
    }

    pub(crate) async fn search(&mut self, request: SearchRequest) -> Vec<Hit> {
        self.client.search(request).await.unwrap().into_inner().hits
    }

    /// The model that the gallery is of.
    pub(crate) async fn fingerprint(&mut self) -> String {
        let request = GetGalleryRequest { name: "lobby".to_owned() };
        self.client.get_gallery(request).await.unwrap().into_inner().fingerprint
    }

    pub(crate) async fn refused(&mut self, request: SearchRequest) -> Status {
        self.client.search(request).await.unwrap_err()
    }

    pub(crate) fn image(&self, image_id: &str) -> &Image {
        self.images.iter().find(|image| image.image_id == image_id).unwrap()
    }

    /// The images of a person, by rising id.
    pub(crate) fn ids_of(&self, person: &str) -> Vec<String> {
        let is_of = |image: &&Image| image.metadata.as_ref().unwrap().person_id.as_deref() == Some(person);
        self.images.iter().filter(is_of).map(|image| image.image_id.clone()).collect()
    }
}

async fn check_all(client: SearchServiceClient<Channel>) {
    let mut lobby = Lobby::fill(client).await;
    parts::one_part_may_be_given_either_way(&mut lobby).await;
    parts::contributions_add_up_to_the_score(&mut lobby).await;
    parts::a_negative_part_lowers_what_is_like_it(&mut lobby).await;
    parts::reciprocal_ranks_are_added(&mut lobby).await;
    ranking::pages_continue_one_ranking(&mut lobby).await;
    ranking::no_hit_is_below_the_least_score(&mut lobby).await;
    ranking::exact_searches_find_the_same(&mut lobby).await;
    ranking::each_person_comes_once_with_all_sightings(&mut lobby).await;
    ranking::of_duplicates_one_remains(&mut lobby).await;
    ranking::a_bad_search_leaves_its_neighbours_alone(&mut lobby).await;
    filters::nested_filters_agree_with_looking_at_each_image(&mut lobby).await;
    filters::declared_attributes_are_filtered_by(&mut lobby).await;
    filters::times_of_indexing_are_filtered_by(&mut lobby).await;
    feedback::judged_images_move_the_ranking(&mut lobby).await;
    feedback::judgements_that_make_no_sense_are_refused(&mut lobby).await;
}

#[tokio::test]
async fn queries_of_the_embedded_store() {
    let stack = TestStack::start().await;
    check_all(stack.search().await).await;
    stack.stop().await;
}

#[tokio::test]
async fn queries_of_qdrant() {
    let server = TestQdrant::start().unwrap();
    let stack = TestStack::start_with(|_, search| keep_in(&server, search)).await;
    check_all(stack.search().await).await;
    stack.stop().await;
}
