//! Between messages and the encoder. Nothing else of this crate names generated types.

mod deadline;
mod messages;
mod streams;

use crate::scheduler::Ticket;
use crate::{EncodeError, Encoder, Priority, Urgency};
use deadline::deadline;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use futures::stream::BoxStream;
use messages::{Encoded, list_results, priority, stream_response};
use std::time::Duration;
use std::time::Instant;
use streams::{OpenStream, StreamBounds, answers};
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

/// The name under which the health service knows this service.
pub const SERVICE_NAME: &str = descry_proto::encoder::v1::encoder_service_server::SERVICE_NAME;

struct EncoderGrpc {
    encoder: Encoder,
}

/// Adds the encoder service to a server's routes.
pub fn add_encoder_service(routes: &mut RoutesBuilder, encoder: Encoder, max_message_bytes: usize) {
    let service = EncoderServiceServer::new(EncoderGrpc { encoder }).max_decoding_message_size(max_message_bytes);
    routes.add_service(service);
}

#[tonic::async_trait]
impl EncoderService for EncoderGrpc {
    async fn encode_text(
        &self,
        request: Request<proto::EncodeTextRequest>,
    ) -> Result<Response<proto::EncodeTextResponse>, Status> {
        let deadline = deadline(request.metadata());
        let proto::EncodeTextRequest { texts, priority: asked } = request.into_inner();
        let urgency = Urgency { priority: priority(asked, Priority::Interactive), deadline };
        let span = tracing::info_span!("encode_text", count = texts.len());
        let encoded = self.encoder.encode_texts(texts, urgency).instrument(span).await?;
        let encoded = encoded.into_iter().map(|item| item.map(Encoded::from)).collect();
        let (results, timings) = list_results(encoded)?;
        Ok(Response::new(proto::EncodeTextResponse {
            fingerprint: self.encoder.fingerprint().to_string(),
            results,
            timings,
        }))
    }

    async fn encode_image(
        &self,
        request: Request<proto::EncodeImageRequest>,
    ) -> Result<Response<proto::EncodeImageResponse>, Status> {
        let deadline = deadline(request.metadata());
        let proto::EncodeImageRequest { images, priority: asked } = request.into_inner();
        let urgency = Urgency { priority: priority(asked, Priority::Interactive), deadline };
        let span = tracing::info_span!("encode_image", count = images.len());
        let encoded = self.encoder.encode_images(images, urgency).instrument(span).await?;
        let encoded = encoded.into_iter().map(|item| item.map(Encoded::from)).collect();
        let (results, timings) = list_results(encoded)?;
        Ok(Response::new(proto::EncodeImageResponse {
            fingerprint: self.encoder.fingerprint().to_string(),
            results,
            timings,
        }))
    }

    type EncodeTextStreamStream = BoxStream<'static, Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_text_stream(
        &self,
        request: Request<Streaming<proto::EncodeTextStreamRequest>>,
    ) -> Result<Response<Self::EncodeTextStreamStream>, Status> {
        let deadline = deadline(request.metadata());
        let bounds = self.admit_stream(deadline, tracing::info_span!("encode_text_stream"))?;
        let (taker, finisher) = (self.encoder.clone(), self.encoder.clone());
        let take = move |message: proto::EncodeTextStreamRequest| {
            let proto::EncodeTextStreamRequest { id, text, priority: asked } = message;
            let urgency = Urgency { priority: priority(asked, Priority::Bulk), deadline };
            let encoder = taker.clone();
            async move { (id, encoder.take_text(text, urgency).await) }
        };
        let finish = move |(id, ticket): (String, Result<Ticket, EncodeError>)| {
            let fingerprint = finisher.fingerprint().to_string();
            async move { stream_response(id, fingerprint, Encoder::encoded_text(ticket).await.map(Encoded::from)) }
        };
        Ok(Response::new(answers(request.into_inner(), bounds, take, finish)))
    }

    type EncodeImageStreamStream = BoxStream<'static, Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_image_stream(
        &self,
        request: Request<Streaming<proto::EncodeImageStreamRequest>>,
    ) -> Result<Response<Self::EncodeImageStreamStream>, Status> {
        let deadline = deadline(request.metadata());
        let bounds = self.admit_stream(deadline, tracing::info_span!("encode_image_stream"))?;
        let (taker, finisher) = (self.encoder.clone(), self.encoder.clone());
        let take = move |message: proto::EncodeImageStreamRequest| {
            let proto::EncodeImageStreamRequest { id, image, priority: asked } = message;
            let urgency = Urgency { priority: priority(asked, Priority::Bulk), deadline };
            let encoder = taker.clone();
            async move { (id, encoder.take_image(image, urgency).await) }
        };
        let finish = move |(id, ticket): (String, Result<Ticket, EncodeError>)| {
            let fingerprint = finisher.fingerprint().to_string();
            async move { stream_response(id, fingerprint, Encoder::encoded_image(ticket).await.map(Encoded::from)) }
        };
        Ok(Response::new(answers(request.into_inner(), bounds, take, finish)))
    }

    async fn get_model(
        &self,
        _request: Request<proto::GetModelRequest>,
    ) -> Result<Response<proto::GetModelResponse>, Status> {
        let manifest = self.encoder.manifest();
        let size = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Response::new(proto::GetModelResponse {
            fingerprint: self.encoder.fingerprint().to_string(),
            family: manifest.family.to_string(),
            embedding_dimension: size(manifest.embedding_dimension),
            image_height_px: size(manifest.image.height_px),
            image_width_px: size(manifest.image.width_px),
            context_length: size(manifest.text.context_length),
            precision: manifest.precision.to_string(),
            execution_provider: self.encoder.execution_provider().to_owned(),
            requested_device: self.encoder.device().requested.to_string(),
            fallback_reason: self.encoder.device().fallback_reason.clone().unwrap_or_default(),
            device_precision: self.encoder.device().precision.to_string(),
        }))
    }
}

impl EncoderGrpc {
    fn admit_stream(&self, deadline: Option<Instant>, span: tracing::Span) -> Result<StreamBounds, EncodeError> {
        Ok(StreamBounds {
            window: self.encoder.limits().max_stream_window,
            deadline,
            idle: Duration::from_millis(self.encoder.limits().max_stream_idle_ms),
            intake: self.encoder.intake(),
            open: OpenStream::new(self.encoder.admit_stream()?, span),
        })
    }
}
