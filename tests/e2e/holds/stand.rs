//! A gallery of two models whose embeddings are computed, behind one service or two.

use crate::queries::keep_in;
use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::ComputedModel;
use crate::stands::ledger::encoded_image;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::{
    CreateGalleryRequest, Filter, Gallery, GetGalleryRequest, Hold, ImageMetadata, IndexEmbeddingsRequest,
    IndexImagesResponse, PlaceHoldRequest, StoredImage,
};
use descry_qdrant_server::TestQdrant;
use descry_search::SearchConfig;
use prost_types::Timestamp;
use tonic::Status;

pub(super) const GALLERY: &str = "lobby";
pub(super) const DAY_MS: u64 = 86_400_000;

/// Images at the begin: of the persons 0 to 3 and the cameras c0 and c1 in turn.
const IMAGES: usize = 12;

/// When all images were taken: in 2020.
const CAPTURED_AT_S: i64 = 1_590_000_000;

/// Runs until the test is over.
pub(super) struct Stand {
    pub(super) client: Client,
    /// Of another instance, where several can work on one store.
    pub(super) other: Client,
    pub(super) models: [ComputedModel; 2],
    pub(super) url: String,
    pub(super) qdrant: Option<TestQdrant>,
    _services: Vec<SearchAlone>,
}

impl Stand {
    pub(super) async fn embedded() -> Self {
        Self::start(None, |_| {}).await
    }

    pub(super) async fn qdrant() -> Self {
        Self::start(Some(TestQdrant::start().unwrap()), |_| {}).await
    }

    pub(super) async fn start(qdrant: Option<TestQdrant>, change: impl Fn(&mut SearchConfig)) -> Self {
        let models = ["first", "second"].map(ComputedModel::named);
        let urls = [models[0].clone().serve().await, models[1].clone().serve().await];
        let instances = if qdrant.is_some() { 2 } else { 1 };
        let mut services = Vec::new();
        for _ in 0..instances {
            let service = SearchAlone::start(|config| {
                config.encoder.url.clone_from(&urls[0]);
                config.encoder.other_urls = vec![urls[1].clone()];
                config.retention.sweep_interval_ms = 20;
                config.retention.max_clock_wait_ms = 0;
                if let Some(server) = &qdrant {
                    keep_in(server, config);
                }
                change(config);
            });
            services.push(service.await);
        }
        let client = services[0].client().await;
        let other = services[instances - 1].client().await;
        let url = services[0].url.clone();
        let mut stand = Self { client, other, models, url, qdrant, _services: services };
        let create = CreateGalleryRequest { name: GALLERY.to_owned(), ..CreateGalleryRequest::default() };
        stand.client.create_gallery(create).await.unwrap();
        let model = stand.models[0].clone();
        let images = (0..IMAGES).map(|number| {
            let (person, camera) = ((number % 4).to_string(), format!("c{}", number % 2));
            image(&format!("{number:02}.jpg"), 1, &person, &camera, &model)
        });
        stand.index(images.collect()).await;
        stand
    }

    pub(super) async fn index(&mut self, images: Vec<StoredImage>) -> Vec<IndexImagesResponse> {
        let (gallery, fingerprint) = (GALLERY.to_owned(), self.models[0].fingerprint.clone());
        let request = IndexEmbeddingsRequest { gallery, fingerprint, images, ..IndexEmbeddingsRequest::default() };
        self.client.index_embeddings(request).await.unwrap().into_inner().results
    }

    pub(super) async fn place(&mut self, name: &str, filter: Option<Filter>) -> Result<Hold, Status> {
        let (gallery, name, reason) = (GALLERY.to_owned(), name.to_owned(), "theft".to_owned());
        self.client.place_hold(PlaceHoldRequest { gallery, name, filter, reason }).await.map(|hold| hold.into_inner())
    }

    pub(super) async fn gallery(&mut self) -> Gallery {
        self.client.get_gallery(GetGalleryRequest { name: GALLERY.to_owned() }).await.unwrap().into_inner()
    }

    pub(super) async fn ids(&mut self) -> Vec<String> {
        stored_images(&mut self.client, GALLERY).await.into_keys().collect()
    }
}

/// A version of an image, which is another file each, taken years ago.
pub(super) fn image(image_id: &str, version: u64, person: &str, camera: &str, model: &ComputedModel) -> StoredImage {
    let metadata = ImageMetadata {
        person_id: Some(person.to_owned()),
        camera_id: Some(camera.to_owned()),
        captured_at: Some(Timestamp { seconds: CAPTURED_AT_S, nanos: 0 }),
        ..ImageMetadata::default()
    };
    StoredImage { metadata: Some(metadata), ..encoded_image(image_id, version, model) }
}

pub(super) fn of_person(person: &str) -> Filter {
    Filter { person_ids: vec![person.to_owned()], ..Filter::default() }
}

pub(super) fn of_camera(camera: &str) -> Filter {
    Filter { camera_ids: vec![camera.to_owned()], ..Filter::default() }
}
