//! Between messages and the encoder. The only file of this crate that names generated types.

use crate::{EncodeError, Encoder};
use descry_model::Embedding;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use descry_proto::status::v1::ItemError;
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
        let texts = request.into_inner().texts;
        let span = tracing::info_span!("encode_text", count = texts.len());
        let encoded = self.encoder.encode_texts(texts).instrument(span).await?;
        let results = encoded
            .into_iter()
            .map(|result| result.map(|text| (text.embedding, text.truncated)))
            .map(encode_result)
            .collect();
        let results = some_success(results)?;
        Ok(Response::new(proto::EncodeTextResponse {
            fingerprint: self.encoder.fingerprint().to_string(),
            results,
            timings: None,
        }))
    }

    async fn encode_image(
        &self,
        request: Request<proto::EncodeImageRequest>,
    ) -> Result<Response<proto::EncodeImageResponse>, Status> {
        let images = request.into_inner().images;
        let span = tracing::info_span!("encode_image", count = images.len());
        let encoded = self.encoder.encode_images(images).instrument(span).await?;
        let results =
            encoded.into_iter().map(|result| encode_result(result.map(|embedding| (embedding, false)))).collect();
        let results = some_success(results)?;
        Ok(Response::new(proto::EncodeImageResponse {
            fingerprint: self.encoder.fingerprint().to_string(),
            results,
            timings: None,
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

fn encode_result(result: Result<(Embedding, bool), EncodeError>) -> Result<proto::EncodeResult, Status> {
    let (embedding, truncated) = result?;
    let outcome = Outcome::Embedding(proto::Embedding { values: embedding.into_vec() });
    Ok(proto::EncodeResult { outcome: Some(outcome), truncated })
}

/// Failed items stay with their neighbours; when nothing succeeded, the first failure is the call's.
fn some_success(results: Vec<Result<proto::EncodeResult, Status>>) -> Result<Vec<proto::EncodeResult>, Status> {
    let any_success = results.iter().any(Result::is_ok);
    let mut kept = Vec::with_capacity(results.len());
    for result in results {
        match result {
            Ok(result) => kept.push(result),
            Err(status) if !any_success => return Err(status),
            Err(status) => {
                let error = ItemError { code: status.code().into(), message: status.message().to_owned() };
                kept.push(proto::EncodeResult { outcome: Some(Outcome::Error(error)), truncated: false });
            }
        }
    }
    Ok(kept)
}
