//! Between messages and the service's parts.

use crate::config::RequestLimits;
use crate::encoder_client::EncoderClient;
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
use futures::{StreamExt as _, TryStreamExt as _};
use prost_types::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

/// The name under which the health service knows this service.
pub const SERVICE_NAME: &str = descry_proto::search::v1::search_service_server::SERVICE_NAME;

struct SearchGrpc {
    store: Arc<dyn VectorStore>,
    encoder: EncoderClient,
    retriever: Retriever,
    indexer: Indexer,
    limits: RequestLimits,
    shutdown: CancellationToken,
}

/// Adds the search service to a server's routes.
pub fn add_search_service(routes: &mut RoutesBuilder, service: SearchService, max_message_bytes: usize) {
    let SearchService { store, encoder, limits, indexing, shutdown } = service;
    let grpc = SearchGrpc {
        retriever: Retriever::new(encoder.clone(), Arc::clone(&store), limits.clone()),
        indexer: Indexer::new(encoder.clone(), Arc::clone(&store), limits.clone(), indexing),
        store,
        encoder,
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
        check_gallery_name(&name)?;
        let model = self.encoder.model().await?;
        let gallery = self.store.create_gallery(&name, &model.fingerprint, model.dimension).await?;
        Ok(Response::new(gallery_message(gallery)))
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
        let mut messages = request.into_inner();
        let Some(Message::Start(start)) = messages.message().await?.and_then(|first| first.message) else {
            return Err(invalid("message", "the first message of the stream must be `start`").into());
        };
        let fingerprint = self.indexer.open_gallery(&start.gallery, start.create).await?;
        // Ends the intake at shutdown, at a broken stream and at a message that is no image; what was taken in before
        // is still indexed and acknowledged.
        let (failed, failure) = tokio::sync::oneshot::channel();
        let images = messages
            .map_err(SearchGrpcError::Stream)
            .and_then(|message| async move { new_image(message) })
            .scan(Some(failed), |failed, image| {
                let kept = match image {
                    Ok(image) => Some(image),
                    Err(error) => {
                        if let Some(failed) = failed.take() {
                            // Nobody listens only when the reply stream is gone, and then nobody is to be told.
                            let _ = failed.send(error);
                        }
                        None
                    }
                };
                async move { kept }
            })
            .take_until(self.shutdown.clone().cancelled_owned());
        let acknowledgements = self.indexer.clone().index(start.gallery, fingerprint, images);
        let replies = acknowledgements.flat_map(|chunk| futures::stream::iter(chunk.into_iter().map(acknowledgement)));
        let end = futures::stream::once(failure).filter_map(|failure| async move {
            failure.ok().map(|error| match error {
                SearchGrpcError::Stream(status) => Err(status),
                SearchGrpcError::Request(error) => Err(error.into()),
            })
        });
        Ok(Response::new(replies.map(Ok).chain(end).boxed()))
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

/// Why the intake of a stream ended early.
enum SearchGrpcError {
    Stream(Status),
    Request(SearchError),
}

fn new_image(message: proto::IndexImagesRequest) -> Result<NewImage, SearchGrpcError> {
    match message.message {
        Some(Message::Image(image)) => {
            let metadata = image_metadata(image.metadata.unwrap_or_default()).map_err(SearchGrpcError::Request)?;
            Ok(NewImage { image_id: image.image_id, content: image.content, metadata })
        }
        Some(Message::Start(_)) | None => {
            let reason = "every message after the first must be an `image`";
            Err(SearchGrpcError::Request(invalid("message", reason)))
        }
    }
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

/// Whole milliseconds since the Unix epoch, rounded down.
fn milliseconds(field: &str, time: Timestamp) -> Result<i64, SearchError> {
    const NANOS: std::ops::Range<i32> = 0..1_000_000_000;
    if !NANOS.contains(&time.nanos) {
        return Err(invalid(field, "nanos must be 0 to 999999999"));
    }
    time.seconds
        .checked_mul(1_000)
        .and_then(|ms| ms.checked_add(i64::from(time.nanos / 1_000_000)))
        .ok_or_else(|| invalid(field, "is too far from 1970"))
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
        fn times_survive_the_way_there_and_back(ms in i64::MIN / 2..i64::MAX / 2) {
            prop_assert_eq!(milliseconds("time", timestamp(ms)).unwrap(), ms);
        }

        #[test]
        fn any_time_is_accepted_or_refused(seconds: i64, nanos: i32) {
            let _ = milliseconds("time", Timestamp { seconds, nanos });
        }
    }
}
