//! Between messages and the service's parts. What belongs to one kind of request is in a file beside this one.

mod answers;
mod encoders;
mod erasing;
mod galleries;
mod holding;
mod images;
mod index_stream;
mod messages;
mod reply_room;
mod searches;
mod watching;

pub(crate) use messages::{ERASED, search_filter};

use crate::admission::Admission;
use crate::audit::{self, Audited};
use crate::calibration::Calibrations;
use crate::config::{RequestLimits, WatchConfig};
use crate::encoder_pool::EncoderPool;
use crate::galleries::Galleries;
use crate::indexing::Indexer;
use crate::recall::RecallProbe;
use crate::retention::RetentionClock;
use crate::retrieval::Retriever;
use crate::watches::Descriptions;
use crate::{IndexingConfig, SearchError, SearchService};
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::search_service_server::{SearchService as SearchGrpcService, SearchServiceServer};
use descry_serving::{Access, PermittedStream, Shares, permitted};
use descry_store::VectorStore;
use descry_trust::Denial;
use futures::stream::BoxStream;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};

/// The name under which the health service knows this service.
pub const SERVICE_NAME: &str = descry_proto::search::v1::search_service_server::SERVICE_NAME;

struct SearchGrpc {
    /// For reading; what changes something goes through `galleries`.
    store: Arc<dyn VectorStore>,
    galleries: Galleries,
    encoders: EncoderPool,
    calibrations: Calibrations,
    retriever: Retriever,
    probe: RecallProbe,
    indexer: Indexer,
    limits: RequestLimits,
    indexing: IndexingConfig,
    watches: WatchConfig,
    descriptions: Descriptions,
    retention_clock: RetentionClock,
    shutdown: CancellationToken,
    /// One place for each index stream. One peer gets at most half of these, and of the next but one.
    index_streams: Arc<Shares>,
    /// One permit for each KiB of image files that wait to be indexed, of all streams together.
    memory: Arc<Semaphore>,
    /// One place for each stream of matches.
    match_streams: Arc<Shares>,
    /// One permit for each gallery that is being counted.
    counting: Semaphore,
    /// One permit for each gallery that is being calibrated.
    calibrating: Semaphore,
}

/// Adds the search service to a server's routes.
pub fn add_search_service(routes: &mut RoutesBuilder, service: SearchService, max_message_bytes: usize) {
    let SearchService {
        galleries,
        store,
        encoders,
        limits,
        searching,
        indexing,
        watches,
        descriptions,
        retention_clock,
        shutdown,
        probe,
        trail,
        ..
    } = service;
    let calibrations = Calibrations::new(Arc::clone(&store));
    let retriever = Retriever {
        encoders: encoders.clone(),
        store: Arc::clone(&store),
        calibrations: calibrations.clone(),
        admission: Admission::new(&searching),
        probe: probe.clone(),
        limits: limits.clone(),
    };
    let grpc = SearchGrpc {
        index_streams: Shares::new(indexing.max_streams, indexing.max_streams.div_ceil(2)),
        memory: Arc::new(Semaphore::new(indexing.max_bytes_in_memory.div_ceil(1024))),
        match_streams: Shares::new(limits.max_match_streams, limits.max_match_streams.div_ceil(2)),
        counting: Semaphore::new(galleries::COUNTED_TOGETHER),
        calibrating: Semaphore::new(1),
        indexer: Indexer::new(encoders.clone(), galleries.clone(), limits.clone(), indexing.clone()),
        retriever,
        probe,
        encoders,
        calibrations,
        store,
        galleries,
        limits,
        indexing,
        watches,
        descriptions,
        retention_clock,
        shutdown,
    };
    let inner = SearchServiceServer::new(grpc).max_decoding_message_size(max_message_bytes);
    routes.add_service(Audited { inner, trail });
}

/// A denial in the words of this service.
fn denied(denial: Denial) -> Status {
    SearchError::from(denial).into()
}

/// Each method of the service is the method of the same name beside this file, on plain messages, which come from callers who
/// may send them. Methods behind `asking` decide about more than the whole of their message, and are told who asks.
macro_rules! serve {
    (
        { $($method:ident($request:ident) -> $reply:ident,)* }
        asking { $($asking:ident($asked:ident) -> $answer:ident,)* }
    ) => {
        #[tonic::async_trait]
        impl SearchGrpcService for SearchGrpc {
            type IndexImagesStream = BoxStream<'static, Result<proto::IndexImagesResponse, Status>>;
            type WatchMatchesStream = BoxStream<'static, Result<proto::WatchMatch, Status>>;

            $(
                async fn $method(
                    &self,
                    request: Request<proto::$request>,
                ) -> Result<Response<proto::$reply>, Status> {
                    audit::asked(request.get_ref())?;
                    let message = permitted(request).map_err(denied)?;
                    audit::begin(&message).await?;
                    let reply = SearchGrpc::$method(self, message).await?;
                    audit::told(&reply);
                    Ok(Response::new(reply))
                }
            )*

            $(
                async fn $asking(&self, request: Request<proto::$asked>) -> Result<Response<proto::$answer>, Status> {
                    audit::asked(request.get_ref())?;
                    let access = Access::of(&request);
                    let message = permitted(request).map_err(denied)?;
                    audit::begin(&message).await?;
                    let reply = SearchGrpc::$asking(self, &access, message).await?;
                    audit::told(&reply);
                    Ok(Response::new(reply))
                }
            )*

            async fn index_images(
                &self,
                request: Request<Streaming<proto::IndexImagesRequest>>,
            ) -> Result<Response<Self::IndexImagesStream>, Status> {
                let peer = Access::of(&request).peer();
                let messages = PermittedStream::open(request, denied).map_err(denied)?;
                Ok(Response::new(SearchGrpc::index_images(self, peer, messages).await?))
            }

            async fn watch_matches(
                &self,
                request: Request<proto::WatchMatchesRequest>,
            ) -> Result<Response<Self::WatchMatchesStream>, Status> {
                let peer = Access::of(&request).peer();
                let message = permitted(request).map_err(denied)?;
                Ok(Response::new(SearchGrpc::watch_matches(self, peer, message).await?))
            }
        }
    };
}

serve! {
    {
        create_gallery(CreateGalleryRequest) -> Gallery,
        get_gallery(GetGalleryRequest) -> Gallery,
        get_gallery_statistics(GetGalleryStatisticsRequest) -> GalleryStatistics,
        delete_gallery(DeleteGalleryRequest) -> DeleteGalleryResponse,
        check_gallery(CheckGalleryRequest) -> CheckGalleryResponse,
        set_retention(SetRetentionRequest) -> Gallery,
        place_hold(PlaceHoldRequest) -> Hold,
        list_holds(ListHoldsRequest) -> ListHoldsResponse,
        lift_hold(LiftHoldRequest) -> LiftHoldResponse,
        create_generation(CreateGenerationRequest) -> Gallery,
        list_generations(ListGenerationsRequest) -> ListGenerationsResponse,
        compare_generations(CompareGenerationsRequest) -> CompareGenerationsResponse,
        activate_generation(ActivateGenerationRequest) -> Gallery,
        delete_generation(DeleteGenerationRequest) -> DeleteGenerationResponse,
        index_embeddings(IndexEmbeddingsRequest) -> IndexEmbeddingsResponse,
        list_images(ListImagesRequest) -> ListImagesResponse,
        update_images(UpdateImagesRequest) -> UpdateImagesResponse,
        delete_images(DeleteImagesRequest) -> DeleteImagesResponse,
        erase_images(EraseImagesRequest) -> EraseImagesResponse,
        search(SearchRequest) -> SearchResponse,
        refine(RefineRequest) -> SearchResponse,
        calibrate(CalibrateRequest) -> Calibration,
        create_watch(CreateWatchRequest) -> Watch,
        list_watches(ListWatchesRequest) -> ListWatchesResponse,
        delete_watch(DeleteWatchRequest) -> DeleteWatchResponse,
        list_encoders(ListEncodersRequest) -> ListEncodersResponse,
    }
    asking {
        list_galleries(ListGalleriesRequest) -> ListGalleriesResponse,
        search_batch(SearchBatchRequest) -> SearchBatchResponse,
    }
}
