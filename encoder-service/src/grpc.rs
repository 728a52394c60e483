//! Between messages and the encoder. Nothing else of this crate names generated types.

mod streams;

use crate::scheduler::{Flow, Ticket};
use crate::{EncodeError, EncodedImage, EncodedText, Encoder, Priority, Timings, Urgency};
use descry_model::Embedding;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use descry_proto::status::v1::ItemError;
use descry_serving::{PermittedStream, deadline, permitted, refusal};
use futures::stream::BoxStream;
use std::time::{Duration, Instant};
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
        let deadline = deadline::of_caller();
        let proto::EncodeTextRequest { texts, priority: asked } = permitted(request).map_err(refusal)?;
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
        let deadline = deadline::of_caller();
        let message = permitted(request).map_err(refusal)?;
        let proto::EncodeImageRequest { images, priority: asked, apply_exif_orientation } = message;
        let urgency = Urgency { priority: priority(asked, Priority::Interactive), deadline };
        let span = tracing::info_span!("encode_image", count = images.len());
        let encoding = self.encoder.encode_turned_images(images, apply_exif_orientation, urgency);
        let encoded = encoding.instrument(span).await?;
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
        let deadline = deadline::of_caller();
        let messages = PermittedStream::open(request, refusal).map_err(refusal)?;
        let bounds = self.admit_stream(deadline, tracing::info_span!("encode_text_stream"))?;
        let (taker, finisher, flow) = (self.encoder.clone(), self.encoder.clone(), Flow::open());
        let take = move |message: proto::EncodeTextStreamRequest| {
            let proto::EncodeTextStreamRequest { id, text, priority: asked } = message;
            let urgency = Urgency { priority: priority(asked, Priority::Bulk), deadline };
            let encoder = taker.clone();
            async move { (id, encoder.take_text(text, flow, urgency).await) }
        };
        let finish = move |(id, ticket): (String, Result<Ticket, EncodeError>)| {
            let fingerprint = finisher.fingerprint().to_string();
            async move { stream_response(id, fingerprint, Encoder::encoded_text(ticket).await.map(Encoded::from)) }
        };
        Ok(Response::new(answers(messages, bounds, take, finish)))
    }

    type EncodeImageStreamStream = BoxStream<'static, Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_image_stream(
        &self,
        request: Request<Streaming<proto::EncodeImageStreamRequest>>,
    ) -> Result<Response<Self::EncodeImageStreamStream>, Status> {
        let deadline = deadline::of_caller();
        let messages = PermittedStream::open(request, refusal).map_err(refusal)?;
        let bounds = self.admit_stream(deadline, tracing::info_span!("encode_image_stream"))?;
        let (taker, finisher, flow) = (self.encoder.clone(), self.encoder.clone(), Flow::open());
        let take = move |message: proto::EncodeImageStreamRequest| {
            let proto::EncodeImageStreamRequest { id, image, priority: asked, apply_exif_orientation } = message;
            let urgency = Urgency { priority: priority(asked, Priority::Bulk), deadline };
            let encoder = taker.clone();
            async move { (id, encoder.take_image(image, apply_exif_orientation, flow, urgency).await) }
        };
        let finish = move |(id, ticket): (String, Result<Ticket, EncodeError>)| {
            let fingerprint = finisher.fingerprint().to_string();
            async move { stream_response(id, fingerprint, Encoder::encoded_image(ticket).await.map(Encoded::from)) }
        };
        Ok(Response::new(answers(messages, bounds, take, finish)))
    }

    async fn get_model(
        &self,
        request: Request<proto::GetModelRequest>,
    ) -> Result<Response<proto::GetModelResponse>, Status> {
        let proto::GetModelRequest {} = permitted(request).map_err(refusal)?;
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

/// An item that was encoded.
struct Encoded {
    embedding: Embedding,
    truncated: bool,
    unknown_letters: Option<String>,
    timings: Timings,
}

impl From<EncodedText> for Encoded {
    fn from(text: EncodedText) -> Self {
        let EncodedText { embedding, truncated, unknown_letters, timings } = text;
        Self { embedding, truncated, unknown_letters, timings }
    }
}

impl From<EncodedImage> for Encoded {
    fn from(image: EncodedImage) -> Self {
        let EncodedImage { embedding, timings } = image;
        Self { embedding, truncated: false, unknown_letters: None, timings }
    }
}

/// The results of a list, and the timings of the item that was answered last. Failed items stay with their neighbours;
/// when nothing succeeded, the first failure is the call's.
fn list_results(
    items: Vec<Result<Encoded, EncodeError>>,
) -> Result<(Vec<proto::EncodeResult>, Option<proto::Timings>), Status> {
    let any_success = items.iter().any(Result::is_ok);
    // All items of a list arrive together.
    let last = items.iter().flatten().map(|encoded| encoded.timings).max_by_key(Timings::total);
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Err(error) if !any_success => return Err(error.into()),
            item => results.push(item_result(item).0),
        }
    }
    Ok((results, last.map(timings_message)))
}

/// One item of a stream's answer, with its failure inside.
fn stream_response(id: String, fingerprint: String, item: Result<Encoded, EncodeError>) -> proto::EncodeStreamResponse {
    let (result, timings) = item_result(item);
    proto::EncodeStreamResponse { id, fingerprint, result: Some(result), timings }
}

fn item_result(item: Result<Encoded, EncodeError>) -> (proto::EncodeResult, Option<proto::Timings>) {
    match item {
        Ok(Encoded { embedding, truncated, unknown_letters, timings }) => {
            let outcome = Outcome::Embedding(proto::Embedding { values: embedding.into_vec() });
            let unknown_letters = unknown_letters.unwrap_or_default();
            let result = proto::EncodeResult { outcome: Some(outcome), truncated, unknown_letters };
            (result, Some(timings_message(timings)))
        }
        Err(error) => {
            let status = Status::from(error);
            let error =
                ItemError { code: status.code().into(), message: status.message().to_owned(), ..ItemError::default() };
            (proto::EncodeResult { outcome: Some(Outcome::Error(error)), ..Default::default() }, None)
        }
    }
}

fn timings_message(timings: Timings) -> proto::Timings {
    let milliseconds = |time: Duration| time.as_secs_f32() * 1_000.0;
    proto::Timings {
        queue_ms: milliseconds(timings.queue),
        prepare_ms: milliseconds(timings.prepare),
        run_ms: milliseconds(timings.run),
        batch_size: u32::try_from(timings.batch_size).unwrap_or(u32::MAX),
    }
}

/// The priority asked for, or the default of the call; so is one that a newer client knows and this service does not.
fn priority(asked: i32, default: Priority) -> Priority {
    match proto::Priority::try_from(asked) {
        Ok(proto::Priority::Interactive) => Priority::Interactive,
        Ok(proto::Priority::Bulk) => Priority::Bulk,
        Ok(proto::Priority::Unspecified) | Err(_) => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::ModelError;

    fn encoded(queue_ms: u64) -> Result<Encoded, EncodeError> {
        let timings = Timings {
            queue: Duration::from_millis(queue_ms),
            prepare: Duration::from_millis(2),
            run: Duration::from_millis(30),
            batch_size: 3,
        };
        Ok(Encoded {
            embedding: Embedding::normalized(vec![3.0, 4.0]).unwrap(),
            truncated: true,
            unknown_letters: Some("'x' in \"fix\"".to_owned()),
            timings,
        })
    }

    fn failed() -> Result<Encoded, EncodeError> {
        Err(EncodeError::InvalidItem { item: "texts[1]".to_owned(), source: ModelError::EmptyText })
    }

    #[test]
    fn a_failed_item_stays_with_its_neighbours() {
        let (results, timings) = list_results(vec![encoded(5), failed(), encoded(1)]).unwrap();
        assert!(matches!(&results[0].outcome, Some(Outcome::Embedding(e)) if e.values == [0.6, 0.8]));
        assert!(results[0].truncated && results[0].unknown_letters.contains("'x'"));
        assert!(matches!(&results[1].outcome, Some(Outcome::Error(error)) if error.message.contains("texts[1]")));
        let last = proto::Timings { queue_ms: 5.0, prepare_ms: 2.0, run_ms: 30.0, batch_size: 3 };
        assert_eq!(timings, Some(last));
    }

    #[test]
    fn a_list_without_any_success_fails_with_its_first_failure() {
        let status = list_results(vec![failed(), Err(EncodeError::Stopped { tower: "text" })]).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn an_unknown_priority_is_the_default() {
        assert_eq!(priority(0, Priority::Bulk), Priority::Bulk);
        assert_eq!(priority(99, Priority::Interactive), Priority::Interactive);
        assert_eq!(priority(proto::Priority::Bulk.into(), Priority::Interactive), Priority::Bulk);
        assert_eq!(priority(proto::Priority::Interactive.into(), Priority::Bulk), Priority::Interactive);
    }
}
