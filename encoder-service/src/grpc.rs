//! Between messages and the encoder. Nothing else of this crate names generated types.

mod deadline;
mod messages;

use crate::{Encoder, Priority, Urgency};
use deadline::deadline;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use messages::{Encoded, list_results, priority};
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status};
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

    type EncodeTextStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;
    type EncodeImageStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_text_stream(
        &self,
        _request: Request<tonic::Streaming<proto::EncodeTextStreamRequest>>,
    ) -> Result<Response<Self::EncodeTextStreamStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn encode_image_stream(
        &self,
        _request: Request<tonic::Streaming<proto::EncodeImageStreamRequest>>,
    ) -> Result<Response<Self::EncodeImageStreamStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_model(
        &self,
        _request: Request<proto::GetModelRequest>,
    ) -> Result<Response<proto::GetModelResponse>, Status> {
        let manifest = self.encoder.manifest();
        let size = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Response::new(proto::GetModelResponse {
            fingerprint: manifest.fingerprint.clone(),
            family: manifest.family.to_string(),
            embedding_dimension: size(manifest.embedding_dimension),
            image_height_px: size(manifest.image.height_px),
            image_width_px: size(manifest.image.width_px),
            context_length: size(manifest.text.context_length),
            precision: manifest.precision.to_string(),
            execution_provider: self.encoder.execution_provider().to_owned(),
            requested_device: String::new(),
            fallback_reason: String::new(),
            device_precision: String::new(),
        }))
    }
}
