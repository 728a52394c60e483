//! The model, met over gRPC. Besides `grpc` the only file of this crate that names generated types.

use crate::SearchError;
use crate::config::EncoderClientConfig;
use descry_model::{Embedding, Fingerprint};
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_retry::{Again, RetryPolicy};
use descry_serving::{deadline, trace_context};
use std::future::Future;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

const DEPENDENCY: &str = "the encoder service";
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What the encoder says of its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncoderModel {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) dimension: usize,
}

/// An embedding, the model that made it, and whether all of the text is in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncodedQuery {
    pub(crate) embedding: Embedding,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) uncounted: Uncounted,
}

/// What of a query's texts did not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uncounted {
    /// A text was longer than the model reads; its end.
    pub(crate) truncated: bool,
    /// Letters that the model has no token for, in words.
    pub(crate) unknown_letters: String,
}

impl Uncounted {
    /// Adds what of another text did not count.
    pub(crate) fn join(mut self, other: &Self) -> Self {
        self.truncated |= other.truncated;
        if !self.unknown_letters.is_empty() && !other.unknown_letters.is_empty() {
            self.unknown_letters.push_str(", ");
        }
        self.unknown_letters.push_str(&other.unknown_letters);
        self
    }
}

/// The embeddings of some images, each for itself.
pub(crate) struct EncodedImages {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) embeddings: Vec<Result<Embedding, SearchError>>,
}

/// A client of the encoder service. Clones share its connection.
#[derive(Clone)]
pub(crate) struct EncoderClient {
    client: EncoderServiceClient<Channel>,
    config: EncoderClientConfig,
}

impl EncoderClient {
    /// Prepares a connection, which is made at the first call.
    pub(crate) fn connect_lazily(url: &str, config: &EncoderClientConfig) -> Result<Self, SearchError> {
        let invalid = |reason: String| SearchError::Invalid { field: "the encoder's address".to_owned(), reason };
        // tonic takes other schemes, and fails with each call.
        if !url.starts_with("http://") {
            let advice = "the encoder is met without TLS, so it begins with http://, as in http://127.0.0.1:50051";
            return Err(invalid(format!("{url:?} cannot be used; {advice}")));
        }
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| invalid(format!("{url:?}: {error}")))?;
        // A peer that vanished without a word is noticed, and replaced with the next call.
        let endpoint = endpoint
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        Ok(Self::new(endpoint.connect_lazy(), config.clone()))
    }

    pub(crate) fn new(channel: Channel, config: EncoderClientConfig) -> Self {
        let client = EncoderServiceClient::new(channel)
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(usize::MAX);
        Self { client, config }
    }

    /// Which model runs.
    pub(crate) async fn model(&self) -> Result<EncoderModel, SearchError> {
        let mut client = self.client.clone();
        let request = self.request(proto::GetModelRequest {});
        let model = client.get_model(request).await.map_err(|status| from_status(status, "model"))?.into_inner();
        Ok(EncoderModel {
            fingerprint: parse_fingerprint(&model.fingerprint)?,
            dimension: usize::try_from(model.embedding_dimension).map_err(|_| malformed("its dimension"))?,
        })
    }

    /// Encodes a description. Not repeated on failure: a person waits.
    /// `field` is what the caller knows the text by.
    pub(crate) async fn encode_text(&self, text: String, field: &str) -> Result<EncodedQuery, SearchError> {
        let mut client = self.client.clone();
        let request =
            self.request(proto::EncodeTextRequest { texts: vec![text], priority: proto::Priority::Interactive.into() });
        let reply = client.encode_text(request).await.map_err(|status| from_status(status, field))?.into_inner();
        single(reply.fingerprint, reply.results, field)
    }

    /// Encodes one image as a query. `field` is what the caller knows it by.
    pub(crate) async fn encode_query_image(
        &self,
        image: bytes::Bytes,
        apply_exif_orientation: bool,
        field: &str,
    ) -> Result<EncodedQuery, SearchError> {
        let mut client = self.client.clone();
        let request = self.request(proto::EncodeImageRequest {
            images: vec![image],
            priority: proto::Priority::Interactive.into(),
            apply_exif_orientation,
        });
        let reply = client.encode_image(request).await.map_err(|status| from_status(status, field))?.into_inner();
        single(reply.fingerprint, reply.results, field)
    }

    /// Encodes images for a gallery, patiently: while the encoder is unavailable or full a call is repeated. Large
    /// images go in several calls.
    pub(crate) async fn encode_images(
        &self,
        images: Vec<bytes::Bytes>,
        apply_exif_orientation: bool,
    ) -> Result<EncodedImages, SearchError> {
        let mut encoded: Option<EncodedImages> = None;
        for group in groups_by_size(images) {
            let next = self.encode_group(group, apply_exif_orientation).await?;
            match &mut encoded {
                None => encoded = Some(next),
                Some(encoded) if encoded.fingerprint == next.fingerprint => encoded.embeddings.extend(next.embeddings),
                Some(_) => return Err(malformed("the model changed between two calls")),
            }
        }
        encoded.ok_or_else(|| malformed("no images were given"))
    }

    async fn encode_group(
        &self,
        images: Vec<bytes::Bytes>,
        apply_exif_orientation: bool,
    ) -> Result<EncodedImages, SearchError> {
        let count = images.len();
        let reply = self
            .repeat(|| {
                let mut client = self.client.clone();
                let request = self.request(proto::EncodeImageRequest {
                    images: images.clone(),
                    priority: proto::Priority::Bulk.into(),
                    apply_exif_orientation,
                });
                async move { client.encode_image(request).await }
            })
            .await;
        let reply = match reply {
            Ok(reply) => reply,
            // The encoder answers so when each and every image is bad; the others of the chunk are none.
            Err(status) if status.code() == Code::InvalidArgument && count > 1 => {
                return self.one_by_one(images, apply_exif_orientation).await;
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                let fingerprint = self.model().await?.fingerprint;
                return Ok(EncodedImages { fingerprint, embeddings: vec![Err(from_status(status, CONTENT))] });
            }
            Err(status) => return Err(from_status(status, CONTENT)),
        };
        if reply.results.len() != count {
            return Err(malformed("the number of its results"));
        }
        let embeddings =
            reply.results.into_iter().map(|result| embedding(result, CONTENT).map(|(embedding, _)| embedding));
        Ok(EncodedImages { fingerprint: parse_fingerprint(&reply.fingerprint)?, embeddings: embeddings.collect() })
    }

    /// Tells each of several bad images what is wrong with it.
    async fn one_by_one(
        &self,
        images: Vec<bytes::Bytes>,
        apply_exif_orientation: bool,
    ) -> Result<EncodedImages, SearchError> {
        let fingerprint = self.model().await?.fingerprint;
        let mut embeddings = Vec::with_capacity(images.len());
        for image in images {
            let mut encoded = Box::pin(self.encode_group(vec![image], apply_exif_orientation)).await?;
            embeddings.push(encoded.embeddings.pop().unwrap_or_else(|| Err(malformed("an empty reply"))));
        }
        Ok(EncodedImages { fingerprint, embeddings })
    }

    async fn repeat<Reply, Call>(&self, call: impl FnMut() -> Call) -> Result<Reply, Status>
    where
        Call: Future<Output = Result<Response<Reply>, Status>>,
    {
        let policy = RetryPolicy {
            retry_for: Duration::from_millis(self.config.retry_for_ms),
            first_pause: Duration::from_millis(self.config.min_retry_pause_ms),
            longest_pause: Duration::from_millis(self.config.max_retry_pause_ms),
            remaining_time: deadline::remaining,
        };
        policy.repeat("encoding images", call, again).await.map(Response::into_inner)
    }

    /// A call in the trace of the request that it is made for, and not longer than that one's caller waits.
    fn request<Message>(&self, message: Message) -> Request<Message> {
        let mut request = Request::new(message);
        let timeout = Duration::from_millis(self.config.timeout_ms);
        request.set_timeout(deadline::remaining().map_or(timeout, |left| left.min(timeout)));
        trace_context::inject(request.metadata_mut());
        request
    }
}

/// An indexed image's bytes, as the stream's messages call them.
const CONTENT: &str = "content";

/// Image bytes of one call, well under the encoder's limit of a message.
const MAX_CALL_BYTES: usize = 24 << 20;

fn groups_by_size(images: Vec<bytes::Bytes>) -> Vec<Vec<bytes::Bytes>> {
    let mut groups: Vec<Vec<bytes::Bytes>> = Vec::new();
    let mut room = 0;
    for image in images {
        match groups.last_mut() {
            Some(group) if image.len() <= room => {
                room -= image.len();
                group.push(image);
            }
            _ => {
                room = MAX_CALL_BYTES.saturating_sub(image.len());
                groups.push(vec![image]);
            }
        }
    }
    groups
}

/// The encoder's replies are small; a larger one is not from an encoder.
const MAX_REPLY_BYTES: usize = 64 << 20;

fn single(
    fingerprint: String,
    mut results: Vec<proto::EncodeResult>,
    field: &str,
) -> Result<EncodedQuery, SearchError> {
    let (embedding, uncounted) = embedding(results.pop().ok_or_else(|| malformed("an empty reply"))?, field)?;
    Ok(EncodedQuery { embedding, fingerprint: parse_fingerprint(&fingerprint)?, uncounted })
}

fn embedding(result: proto::EncodeResult, field: &str) -> Result<(Embedding, Uncounted), SearchError> {
    match result.outcome {
        Some(Outcome::Embedding(found)) => {
            let embedding = Embedding::normalized(found.values).map_err(malformed)?;
            let (truncated, unknown_letters) = (result.truncated, result.unknown_letters);
            Ok((embedding, Uncounted { truncated, unknown_letters }))
        }
        Some(Outcome::Error(error)) => Err(from_status(Status::new(Code::from(error.code), error.message), field)),
        None => Err(malformed("a result without outcome")),
    }
}

fn parse_fingerprint(text: &str) -> Result<Fingerprint, SearchError> {
    text.parse().map_err(malformed)
}

fn malformed(what: impl std::fmt::Display) -> SearchError {
    SearchError::Encoder { reason: format!("malformed reply: {what}") }
}

/// What may be over soon is worth another try for work that nobody waits for; a call that was broken off, too.
fn again(status: &Status) -> Again {
    if status.code() == Code::Cancelled { Again::Later } else { Again::of(status) }
}

/// The encoder's statuses in this service's words. `field` is what the caller of this service knows the item by; the
/// encoder's own name for it is a place in a request that the caller never sent.
fn from_status(status: Status, field: &str) -> SearchError {
    let message = status.message();
    let reason = match message.split_once("]: ") {
        Some((item, reason)) if item.starts_with("images[") || item.starts_with("texts[") => reason.to_owned(),
        _ => message.to_owned(),
    };
    match status.code() {
        Code::InvalidArgument => SearchError::Invalid { field: field.to_owned(), reason },
        Code::ResourceExhausted => {
            SearchError::Overloaded { what: DEPENDENCY, retry_after_ms: retry_after_ms(&status) }
        }
        Code::DeadlineExceeded | Code::Cancelled => SearchError::DeadlineExceeded { activity: "encoding" },
        Code::Unavailable => SearchError::Unavailable { dependency: DEPENDENCY, reason },
        // Something else listens there, or an encoder of an earlier release.
        Code::Unimplemented => SearchError::Unavailable {
            dependency: DEPENDENCY,
            reason:
                "what answers at its address knows no such call; encoder.url and encoder.other_urls must name encoder \
                     services of this release"
                    .to_owned(),
        },
        Code::Ok
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => SearchError::Encoder { reason: status.to_string() },
    }
}

/// When the encoder wants to be asked again, or soon.
fn retry_after_ms(status: &Status) -> u64 {
    match Again::of(status) {
        Again::After(delay) => u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        Again::Later | Again::Never => RETRY_AFTER_MS,
    }
}

const RETRY_AFTER_MS: u64 = 500;
