//! A search service of one gallery, in memory.

use crate::in_memory;
use descry_client::Connection;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_request::Message;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_server::{SearchService, SearchServiceServer};
use descry_proto::status::v1::ItemError;
use prost_types::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::RoutesBuilder;
use tonic::{Code, Request, Response, Status, Streaming};

/// Images that are compared on a page.
const COMPARED_TOGETHER: usize = 2;

/// Something that happens meanwhile, by somebody else's hand.
type Event = Box<dyn FnOnce(&mut State) + Send>;

/// What the service holds, and what it is going to do.
#[derive(Default)]
pub(crate) struct State {
    /// Images of each generation, with where they came from.
    pub(crate) generations: BTreeMap<u32, BTreeMap<String, proto::StoredImage>>,
    pub(crate) active: u32,
    /// Each happens before a generation is activated.
    pub(crate) before_activation: VecDeque<Event>,
    /// Each happens before an image is indexed.
    pub(crate) before_image: VecDeque<Event>,
    /// Calls of CompareGenerations that fail as if the service restarted.
    pub(crate) failing_comparisons: u32,
    pub(crate) compared_pages: usize,
    pub(crate) activations: Vec<proto::ActivateGenerationRequest>,
    /// What each stream of matches gives before it breaks.
    pub(crate) streams: VecDeque<Vec<proto::WatchMatch>>,
    /// What each stream was asked for.
    pub(crate) since: Vec<Option<Timestamp>>,
    pub(crate) after: Vec<String>,
}

impl State {
    fn missing(&self, generation: u32) -> Vec<String> {
        let own = &self.generations[&generation];
        self.generations[&self.active].keys().filter(|image_id| !own.contains_key(*image_id)).cloned().collect()
    }

    fn surplus(&self, generation: u32) -> Vec<String> {
        let active = &self.generations[&self.active];
        self.generations[&generation].keys().filter(|image_id| !active.contains_key(*image_id)).cloned().collect()
    }

    fn gallery(&self, generation: u32) -> proto::Gallery {
        proto::Gallery {
            name: "lobby".to_owned(),
            generation,
            fingerprint: format!("{generation:064}"),
            images: self.generations[&generation].len() as u64,
            ..proto::Gallery::default()
        }
    }

    fn index(&mut self, generation: u32, image: proto::index_images_request::Image) -> proto::IndexImagesResponse {
        if let Some(event) = self.before_image.pop_front() {
            event(self);
        }
        let image_id = image.image_id;
        let outcome = match self.generations[&self.active].get(&image_id).cloned() {
            Some(stored) => {
                self.generations.entry(generation).or_default().insert(image_id.clone(), stored);
                Outcome::Indexed(proto::Indexed::default())
            }
            None => Outcome::Error(ItemError {
                code: Code::NotFound.into(),
                message: "removed".to_owned(),
                ..ItemError::default()
            }),
        };
        proto::IndexImagesResponse { image_id, outcome: Some(outcome) }
    }
}

/// The service; clones share what they hold.
#[derive(Clone, Default)]
pub(crate) struct Scripted(Arc<Mutex<State>>);

impl Scripted {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        let mut routes = RoutesBuilder::default();
        routes.add_service(SearchServiceServer::new(self.clone()));
        Connection::over(in_memory::channel(routes.routes()))
    }

    fn list_generations(&self, _: proto::ListGenerationsRequest) -> Result<proto::ListGenerationsResponse, Status> {
        let state = self.state();
        let generations = state.generations.keys().map(|&generation| state.gallery(generation)).collect();
        Ok(proto::ListGenerationsResponse { generations, active: state.active })
    }

    fn create_generation(&self, _: proto::CreateGenerationRequest) -> Result<proto::Gallery, Status> {
        let mut state = self.state();
        let next = state.active + 1;
        state.generations.entry(next).or_default();
        Ok(state.gallery(next))
    }

    fn compare_generations(
        &self,
        request: proto::CompareGenerationsRequest,
    ) -> Result<proto::CompareGenerationsResponse, Status> {
        let mut state = self.state();
        if state.failing_comparisons > 0 {
            state.failing_comparisons -= 1;
            return Err(Status::unavailable("restarting"));
        }
        state.compared_pages += 1;
        let generation = request.generation;
        let (missing, surplus) = (state.missing(generation), state.surplus(generation));
        let (active, own) = (&state.generations[&state.active], &state.generations[&generation]);
        let ids: Vec<&String> = active.keys().chain(own.keys()).collect();
        let first: usize = request.page_token.parse().unwrap_or_default();
        let behind = (first + COMPARED_TOGETHER).min(ids.len());
        let on_page = |wanted: &[String], from: usize, to: usize| -> Vec<String> {
            let (from, to) = (from.clamp(first, behind), to.clamp(first, behind));
            ids[from..to].iter().filter(|id| wanted.contains(id)).map(|id| (*id).clone()).collect()
        };
        let missing_ids = on_page(&missing, 0, active.len());
        let surplus_ids = on_page(&surplus, active.len(), ids.len());
        Ok(proto::CompareGenerationsResponse {
            images: own.len() as u64,
            images_against: active.len() as u64,
            missing: missing_ids.len() as u64,
            missing_ids,
            surplus: surplus_ids.len() as u64,
            surplus_ids,
            next_page_token: if behind < ids.len() { behind.to_string() } else { String::new() },
            examined: (behind - first) as u64,
            ready: behind == ids.len() && missing.is_empty(),
        })
    }

    fn activate_generation(&self, request: proto::ActivateGenerationRequest) -> Result<proto::Gallery, Status> {
        let mut state = self.state();
        if let Some(event) = state.before_activation.pop_front() {
            event(&mut state);
        }
        let (generation, keep_surplus) = (request.generation, request.keep_surplus);
        state.activations.push(request);
        if !state.missing(generation).is_empty() || !(keep_surplus || state.surplus(generation).is_empty()) {
            return Err(Status::failed_precondition("the generations differ"));
        }
        state.active = generation;
        Ok(state.gallery(generation))
    }

    fn delete_generation(
        &self,
        request: proto::DeleteGenerationRequest,
    ) -> Result<proto::DeleteGenerationResponse, Status> {
        self.state().generations.remove(&request.generation);
        Ok(proto::DeleteGenerationResponse {})
    }

    fn list_images(&self, request: proto::ListImagesRequest) -> Result<proto::ListImagesResponse, Status> {
        let generation: u32 = request.gallery.trim_start_matches("lobby.").parse().unwrap();
        let wanted = request.filter.unwrap_or_default().image_ids;
        let state = self.state();
        let images = state.generations[&generation].values();
        let images = images.filter(|image| wanted.is_empty() || wanted.contains(&image.image_id)).cloned().collect();
        Ok(proto::ListImagesResponse { images, ..proto::ListImagesResponse::default() })
    }

    fn delete_images(&self, request: proto::DeleteImagesRequest) -> Result<proto::DeleteImagesResponse, Status> {
        let generation: u32 = request.gallery.trim_start_matches("lobby.").parse().unwrap();
        let mut state = self.state();
        let images = state.generations.get_mut(&generation).unwrap();
        let deleted = request.image_ids.iter().filter(|image_id| images.remove(*image_id).is_some()).count() as u64;
        Ok(proto::DeleteImagesResponse { deleted, held: 0 })
    }
}

type BoxStream<Item> = Pin<Box<dyn Stream<Item = Result<Item, Status>> + Send>>;

/// Methods with a script, and methods that nobody here calls.
macro_rules! serve {
    ([$($method:ident($request:ident) -> $reply:ident),* $(,)?], [$($other:ident($ask:ident) -> $tell:ident),* $(,)?]) => {
        #[tonic::async_trait]
        impl SearchService for Scripted {
            type IndexImagesStream = BoxStream<proto::IndexImagesResponse>;
            type WatchMatchesStream = BoxStream<proto::WatchMatch>;

            $(
                async fn $method(
                    &self,
                    request: Request<proto::$request>,
                ) -> Result<Response<proto::$reply>, Status> {
                    Scripted::$method(self, request.into_inner()).map(Response::new)
                }
            )*

            $(
                async fn $other(&self, _: Request<proto::$ask>) -> Result<Response<proto::$tell>, Status> {
                    Err(Status::unimplemented(stringify!($other)))
                }
            )*

            async fn index_images(
                &self,
                request: Request<Streaming<proto::IndexImagesRequest>>,
            ) -> Result<Response<Self::IndexImagesStream>, Status> {
                let mut requests = request.into_inner();
                let Some(Message::Start(start)) = requests.message().await?.and_then(|first| first.message) else {
                    return Err(Status::invalid_argument("the first message is no start"));
                };
                let (service, (replies, receiver)) = (self.clone(), mpsc::channel(16));
                tokio::spawn(async move {
                    while let Ok(Some(request)) = requests.message().await {
                        let Some(Message::Image(image)) = request.message else { continue };
                        let reply = service.state().index(start.generation, image);
                        if replies.send(Ok(reply)).await.is_err() {
                            return;
                        }
                    }
                });
                Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
            }

            async fn watch_matches(
                &self,
                request: Request<proto::WatchMatchesRequest>,
            ) -> Result<Response<Self::WatchMatchesStream>, Status> {
                let mut state = self.state();
                let request = request.into_inner();
                state.since.push(request.since);
                state.after.push(request.after);
                let matches = state.streams.pop_front().ok_or_else(|| Status::not_found("no further stream"))?;
                let broken = std::iter::once(Err(Status::unavailable("restarting")));
                let items: Vec<_> = matches.into_iter().map(Ok).chain(broken).collect();
                Ok(Response::new(Box::pin(tokio_stream::iter(items))))
            }
        }
    };
}

serve!(
    [
        list_generations(ListGenerationsRequest) -> ListGenerationsResponse,
        create_generation(CreateGenerationRequest) -> Gallery,
        compare_generations(CompareGenerationsRequest) -> CompareGenerationsResponse,
        activate_generation(ActivateGenerationRequest) -> Gallery,
        delete_generation(DeleteGenerationRequest) -> DeleteGenerationResponse,
        list_images(ListImagesRequest) -> ListImagesResponse,
        delete_images(DeleteImagesRequest) -> DeleteImagesResponse,
    ],
    [
        create_gallery(CreateGalleryRequest) -> Gallery,
        get_gallery(GetGalleryRequest) -> Gallery,
        get_gallery_statistics(GetGalleryStatisticsRequest) -> GalleryStatistics,
        list_galleries(ListGalleriesRequest) -> ListGalleriesResponse,
        delete_gallery(DeleteGalleryRequest) -> DeleteGalleryResponse,
        check_gallery(CheckGalleryRequest) -> CheckGalleryResponse,
        set_retention(SetRetentionRequest) -> Gallery,
        place_hold(PlaceHoldRequest) -> Hold,
        list_holds(ListHoldsRequest) -> ListHoldsResponse,
        lift_hold(LiftHoldRequest) -> LiftHoldResponse,
        index_embeddings(IndexEmbeddingsRequest) -> IndexEmbeddingsResponse,
        update_images(UpdateImagesRequest) -> UpdateImagesResponse,
        erase_images(EraseImagesRequest) -> EraseImagesResponse,
        search(SearchRequest) -> SearchResponse,
        search_batch(SearchBatchRequest) -> SearchBatchResponse,
        refine(RefineRequest) -> SearchResponse,
        calibrate(CalibrateRequest) -> Calibration,
        create_watch(CreateWatchRequest) -> Watch,
        list_watches(ListWatchesRequest) -> ListWatchesResponse,
        delete_watch(DeleteWatchRequest) -> DeleteWatchResponse,
        list_encoders(ListEncodersRequest) -> ListEncodersResponse,
    ]
);
