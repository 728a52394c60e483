//! Between messages and the service's parts.

use crate::config::RequestLimits;
use crate::indexer::{Acknowledgement, Indexed, Indexer, NewImage};
use crate::retriever::{Query, Retriever};
use crate::validation::{check_gallery_name, invalid};
use crate::vector_store::{Gallery, Hit, ImageMetadata, SearchFilter, VectorStore};
use crate::{SearchError, SearchService};
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_request::Message;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_request::Query as QueryMessage;
use descry_proto::search::v1::search_service_server::{SearchService as SearchGrpcService, SearchServiceServer};
use descry_proto::status::v1::ItemError;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use prost_types::Timestamp;
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

/// The name under which the health service knows this service.
pub const SERVICE_NAME: &str = descry_proto::search::v1::search_service_server::SERVICE_NAME;

struct SearchGrpc {
    store: Arc<dyn VectorStore>,
    retriever: Retriever,
    indexer: Indexer,
    limits: RequestLimits,
    shutdown: CancellationToken,
    /// One permit for each index stream.
    streams: Arc<Semaphore>,
    /// One permit for each KiB of image files that wait to be indexed, of all streams together.
    memory: Arc<Semaphore>,
}

/// Adds the search service to a server's routes.
pub fn add_search_service(routes: &mut RoutesBuilder, service: SearchService, max_message_bytes: usize) {
    let SearchService { store, encoder, limits, indexing, shutdown } = service;
    let grpc = SearchGrpc {
        streams: Arc::new(Semaphore::new(indexing.max_streams)),
        memory: Arc::new(Semaphore::new(indexing.max_bytes_in_memory.div_ceil(1024))),
        retriever: Retriever::new(encoder.clone(), Arc::clone(&store), limits.clone()),
        indexer: Indexer::new(encoder, Arc::clone(&store), limits.clone(), indexing),
        store,
        limits,
        shutdown,
    };
    routes.add_service(SearchServiceServer::new(grpc).max_decoding_message_size(max_message_bytes));
}

#[tonic::async_trait]
impl SearchGrpcService for SearchGrpc {
    type IndexImagesStream = BoxStream<'static, Result<proto::IndexImagesResponse, Status>>;

    async fn create_gallery(
        &self,
        request: Request<proto::CreateGalleryRequest>,
    ) -> Result<Response<proto::Gallery>, Status> {
        let name = request.into_inner().name;
        Ok(Response::new(gallery_message(self.indexer.create_gallery(&name).await?)))
    }

    async fn get_gallery(
        &self,
        request: Request<proto::GetGalleryRequest>,
    ) -> Result<Response<proto::Gallery>, Status> {
        let name = request.into_inner().name;
        check_gallery_name(&name)?;
        Ok(Response::new(gallery_message(self.store.gallery(&name).await?)))
    }

    async fn list_galleries(
        &self,
        _request: Request<proto::ListGalleriesRequest>,
    ) -> Result<Response<proto::ListGalleriesResponse>, Status> {
        let galleries = self.store.list_galleries().await?.into_iter().map(gallery_message).collect();
        Ok(Response::new(proto::ListGalleriesResponse { galleries }))
    }

    async fn delete_gallery(
        &self,
        request: Request<proto::DeleteGalleryRequest>,
    ) -> Result<Response<proto::DeleteGalleryResponse>, Status> {
        let name = request.into_inner().name;
        check_gallery_name(&name)?;
        self.store.delete_gallery(&name).await?;
        Ok(Response::new(proto::DeleteGalleryResponse {}))
    }

    async fn index_images(
        &self,
        request: Request<Streaming<proto::IndexImagesRequest>>,
    ) -> Result<Response<Self::IndexImagesStream>, Status> {
        let stream_permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| SearchError::Overloaded {
            what: "the number of index streams",
            retry_after_ms: RETRY_AFTER_MS,
        })?;
        let mut messages = request.into_inner();
        let first = tokio::select! {
            first = messages.message() => first?,
            () = self.shutdown.cancelled() => return Err(shutting_down()),
        };
        let Some(Message::Start(start)) = first.and_then(|first| first.message) else {
            return Err(invalid("message", "the first message of the stream must be `start`").into());
        };
        let fingerprint = self.indexer.open_gallery(&start.gallery, start.create).await?;
        let (ended, end) = oneshot::channel();
        let limits = self.limits.clone();
        let memory = Arc::clone(&self.memory);
        let images = messages
            .map(move |message| new_image(message, &limits))
            // An image waits here until there is memory for it; the client waits with it.
            .then(move |image| hold_memory(image, Arc::clone(&memory)))
            .take_until(self.shutdown.clone().cancelled_owned().map(|()| ()))
            .chain(shutdown_notice(self.shutdown.clone()))
            .scan(Some(ended), |ended, image| {
                let kept = match image {
                    Ok(image) => Some(image),
                    Err(status) => {
                        if let Some(ended) = ended.take() {
                            // Nobody listens only when the reply stream is gone, and then nobody is to be told.
                            let _ = ended.send(status);
                        }
                        None
                    }
                };
                async move { kept }
            });
        let acknowledgements = self.indexer.clone().index(start.gallery, fingerprint, images);
        let replies = acknowledgements.flat_map(|chunk| futures::stream::iter(chunk.into_iter().map(acknowledgement)));
        // What was taken in is indexed and acknowledged first; then the stream says why it ended early, if it did.
        let end = futures::stream::once(end).filter_map(|end| async move { end.ok().map(Err) });
        let replies = replies.map(Ok).chain(end).inspect(move |_| {
            let _in_use = &stream_permit;
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn delete_images(
        &self,
        request: Request<proto::DeleteImagesRequest>,
    ) -> Result<Response<proto::DeleteImagesResponse>, Status> {
        let proto::DeleteImagesRequest { gallery, image_ids } = request.into_inner();
        check_gallery_name(&gallery)?;
        let (count, max) = (image_ids.len(), self.limits.max_deleted_ids);
        if count > max {
            return Err(invalid("image_ids", format!("{count} ids, at most {max} are allowed")).into());
        }
        let deleted = self.store.delete_images(&gallery, &image_ids).await?;
        Ok(Response::new(proto::DeleteImagesResponse { deleted }))
    }

    async fn search(&self, request: Request<proto::SearchRequest>) -> Result<Response<proto::SearchResponse>, Status> {
        let proto::SearchRequest { gallery, query, limit, filter } = request.into_inner();
        let query = match query {
            Some(QueryMessage::Text(text)) => Query::Text(text),
            Some(QueryMessage::Image(image)) => Query::Image(image.into()),
            None => return Err(invalid("query", "give `text` or `image`").into()),
        };
        let filter = filter.map(search_filter).transpose()?.unwrap_or_default();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let span = tracing::info_span!("search", gallery, limit);
        let ranking = self.retriever.search(&gallery, query, limit, filter).instrument(span).await?;
        Ok(Response::new(proto::SearchResponse {
            hits: ranking.hits.into_iter().map(hit_message).collect(),
            fingerprint: ranking.fingerprint.to_string(),
            truncated: ranking.truncated,
        }))
    }
}

const RETRY_AFTER_MS: u64 = 1_000;

fn shutting_down() -> Status {
    Status::unavailable("the service is shutting down; send the images that were not answered again")
}

/// Nothing while the service runs, the reason for the stream's end once it shuts down.
fn shutdown_notice<Item: Send + 'static>(shutdown: CancellationToken) -> BoxStream<'static, Result<Item, Status>> {
    let notice = async move { shutdown.is_cancelled().then(|| Err(shutting_down())) };
    futures::stream::once(notice).filter_map(|notice| async move { notice }).boxed()
}

/// One message of the stream. A bad image stays in the stream, to be answered like any other; a message that is no image
/// ends it.
fn new_image(message: Result<proto::IndexImagesRequest, Status>, limits: &RequestLimits) -> Result<NewImage, Status> {
    match message?.message {
        Some(Message::Image(image)) => {
            let metadata = image_metadata(image.metadata.unwrap_or_default());
            let mut new = NewImage { image_id: image.image_id, content: image.content, metadata, memory: None };
            let (bytes, max) = (new.content.len(), limits.max_image_bytes);
            if bytes > max {
                new.content = bytes::Bytes::new();
                new.metadata = Err(invalid("content", format!("{bytes} bytes, at most {max} are allowed")));
            }
            Ok(new)
        }
        Some(Message::Start(_)) | None => {
            Err(invalid("message", "every message after the first must be an `image`").into())
        }
    }
}

async fn hold_memory(image: Result<NewImage, Status>, memory: Arc<Semaphore>) -> Result<NewImage, Status> {
    let mut image = image?;
    // Not more than there is at all: the configuration is checked, and an image is smaller.
    let kibibytes = u32::try_from(image.content.len().div_ceil(1024)).unwrap_or(u32::MAX);
    image.memory = memory.acquire_many_owned(kibibytes).await.ok();
    Ok(image)
}

fn acknowledgement(acknowledgement: Acknowledgement) -> proto::IndexImagesResponse {
    let outcome = match acknowledgement.outcome {
        Ok(indexed) => {
            Outcome::Indexed(proto::index_images_response::Indexed { unchanged: indexed == Indexed::Unchanged })
        }
        Err(error) => {
            let status = Status::from(error);
            Outcome::Error(ItemError { code: status.code().into(), message: status.message().to_owned() })
        }
    };
    proto::IndexImagesResponse { image_id: acknowledgement.image_id, outcome: Some(outcome) }
}

fn gallery_message(gallery: Gallery) -> proto::Gallery {
    proto::Gallery {
        name: gallery.name,
        fingerprint: gallery.fingerprint.to_string(),
        embedding_dimension: u32::try_from(gallery.dimension).unwrap_or(u32::MAX),
        images: gallery.images,
        created_at: Some(timestamp(gallery.created_at_ms)),
    }
}

fn hit_message(hit: Hit) -> proto::Hit {
    let ImageMetadata { person_id, camera_id, captured_at_ms, attributes, content_sha256: _ } = hit.metadata;
    let metadata = proto::ImageMetadata {
        person_id,
        camera_id,
        captured_at: captured_at_ms.map(timestamp),
        attributes: attributes.into_iter().collect(),
    };
    proto::Hit { image_id: hit.image_id, score: hit.score, metadata: Some(metadata) }
}

fn image_metadata(metadata: proto::ImageMetadata) -> Result<ImageMetadata, SearchError> {
    let captured_at_ms = metadata.captured_at.map(|time| milliseconds("metadata.captured_at", time)).transpose()?;
    Ok(ImageMetadata {
        person_id: metadata.person_id,
        camera_id: metadata.camera_id,
        captured_at_ms,
        attributes: metadata.attributes.into_iter().collect(),
        content_sha256: String::new(),
    })
}

fn search_filter(filter: proto::Filter) -> Result<SearchFilter, SearchError> {
    let time = |field: &str, time: Option<Timestamp>| time.map(|time| milliseconds(field, time)).transpose();
    Ok(SearchFilter {
        person_ids: filter.person_ids,
        camera_ids: filter.camera_ids,
        captured_from_ms: time("filter.captured_from", filter.captured_from)?,
        captured_before_ms: time("filter.captured_before", filter.captured_before)?,
    })
}

/// Whole milliseconds since the Unix epoch, rounded down. Years 1 to 9999, the range of protobuf's timestamps: beyond
/// it no client could print the reply.
fn milliseconds(field: &str, time: Timestamp) -> Result<i64, SearchError> {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    const NANOS: std::ops::Range<i32> = 0..1_000_000_000;
    if !SECONDS.contains(&time.seconds) || !NANOS.contains(&time.nanos) {
        return Err(invalid(field, "is no time of the years 1 to 9999 with nanos of 0 to 999999999"));
    }
    Ok(time.seconds * 1_000 + i64::from(time.nanos / 1_000_000))
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1_000), nanos: (ms.rem_euclid(1_000) * 1_000_000) as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_survive_the_way_there_and_back(ms in -62_135_596_800_000..253_402_300_800_000_i64) {
            prop_assert_eq!(milliseconds("time", timestamp(ms)).unwrap(), ms);
        }

        #[test]
        fn any_time_is_accepted_or_refused(seconds: i64, nanos: i32) {
            let _ = milliseconds("time", Timestamp { seconds, nanos });
        }
    }
}
