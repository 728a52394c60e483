//! The model, met over gRPC. Besides `grpc` the only file of this crate that names generated types.

use crate::SearchError;
use descry_model::{Embedding, Fingerprint};
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_retry::Again;
use descry_serving::{GrpcChannel, SentToken, channel_to, network_channel, trace_context};
use descry_trust::tls::{Address, ClientTls, TlsHints, explain_refusal};
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::{Code, Request, Status};

/// What errors about TLS tell people to set.
pub(crate) const TLS_HINTS: TlsHints =
    TlsHints { ca: "encoder.tls.ca", certificate: "encoder.tls.certificate and encoder.tls.key" };

/// What the encoders are called in errors.
pub(crate) const DEPENDENCY: &str = "the encoder service";

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

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

/// What an encoder answered: the model, and for each item what became of it.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) items: Vec<Result<(Embedding, Uncounted), Status>>,
}

/// What is to be encoded. Cheap to clone: images share their bytes.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Somebody waits for the embedding of a description.
    Text(String),
    /// Somebody waits for the embedding of an image.
    QueryImage { image: bytes::Bytes, apply_exif_orientation: bool },
    /// Images of a gallery, for which nobody waits.
    Images { images: Vec<bytes::Bytes>, apply_exif_orientation: bool },
}

impl Work {
    /// How many items the answer has to have.
    pub(crate) fn items(&self) -> usize {
        match self {
            Self::Text(_) | Self::QueryImage { .. } => 1,
            Self::Images { images, .. } => images.len(),
        }
    }
}

/// A client of one encoder. Clones share its connection.
#[derive(Clone)]
pub(crate) struct EncoderClient {
    client: EncoderServiceClient<GrpcChannel>,
}

impl EncoderClient {
    /// Prepares a connection, which is made at the first call: to `place`, or to what `url` says itself without one. The name
    /// stays what the encoder, or what stands before it, is addressed by, and what its certificate must be for.
    pub(crate) fn connect_lazily(
        url: &str,
        place: Option<SocketAddr>,
        tls: Option<&ClientTls>,
        connect_timeout: Duration,
        token: Option<&SentToken>,
    ) -> Result<Self, SearchError> {
        let address = Address::parse(url).map_err(|error| invalid_url(error.to_string()))?;
        // A peer that vanished without a word is noticed, and replaced with the next call.
        let channel = channel_to(&address, place, tls, |endpoint| {
            endpoint
                .connect_timeout(connect_timeout)
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
        });
        let channel = network_channel(channel.map_err(|error| invalid_url(error.to_string()))?);
        Ok(Self::new(match token {
            Some(token) => token.over(channel),
            None => channel,
        }))
    }

    pub(crate) fn new(channel: GrpcChannel) -> Self {
        let client = EncoderServiceClient::new(channel)
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(usize::MAX);
        Self { client }
    }

    /// Which model runs.
    pub(crate) async fn model(&self, limit: Duration) -> Result<EncoderModel, SearchError> {
        let mut client = self.client.clone();
        let request = request(proto::GetModelRequest {}, limit);
        let model = client.get_model(request).await.map_err(|status| from_status(status, "model"))?.into_inner();
        Ok(EncoderModel {
            fingerprint: parse_fingerprint(&model.fingerprint).map_err(malformed)?,
            dimension: usize::try_from(model.embedding_dimension).map_err(|_| malformed("its dimension"))?,
        })
    }

    /// One call, with the encoder's own status where it fails. A malformed answer is `DATA_LOSS`.
    pub(crate) async fn encode(self, work: Work, limit: Duration) -> Result<Encoded, Status> {
        let mut client = self.client;
        let count = work.items();
        let (fingerprint, results) = match work {
            Work::Text(text) => {
                let message =
                    proto::EncodeTextRequest { texts: vec![text], priority: proto::Priority::Interactive.into() };
                let reply = client.encode_text(request(message, limit)).await?.into_inner();
                (reply.fingerprint, reply.results)
            }
            Work::QueryImage { image, apply_exif_orientation } => {
                let message = images_message(vec![image], proto::Priority::Interactive, apply_exif_orientation);
                let reply = client.encode_image(request(message, limit)).await?.into_inner();
                (reply.fingerprint, reply.results)
            }
            Work::Images { images, apply_exif_orientation } => {
                let message = images_message(images, proto::Priority::Bulk, apply_exif_orientation);
                let reply = client.encode_image(request(message, limit)).await?.into_inner();
                (reply.fingerprint, reply.results)
            }
        };
        if results.len() != count {
            return Err(Status::data_loss("malformed reply: the number of its results"));
        }
        let fingerprint = parse_fingerprint(&fingerprint).map_err(Status::data_loss)?;
        Ok(Encoded { fingerprint, items: results.into_iter().map(item).collect() })
    }
}

fn images_message(
    images: Vec<bytes::Bytes>,
    priority: proto::Priority,
    apply_exif_orientation: bool,
) -> proto::EncodeImageRequest {
    proto::EncodeImageRequest { images, priority: priority.into(), apply_exif_orientation }
}

/// A call in the trace of the request that it is made for.
fn request<Message>(message: Message, limit: Duration) -> Request<Message> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    trace_context::inject(request.metadata_mut());
    request
}

/// The encoder's replies are small; a larger one is not from an encoder.
const MAX_REPLY_BYTES: usize = 64 << 20;

fn item(result: proto::EncodeResult) -> Result<(Embedding, Uncounted), Status> {
    match result.outcome {
        Some(Outcome::Embedding(found)) => {
            let embedding = Embedding::normalized(found.values)
                .map_err(|error| Status::data_loss(format!("malformed reply: {error}")))?;
            let (truncated, unknown_letters) = (result.truncated, result.unknown_letters);
            Ok((embedding, Uncounted { truncated, unknown_letters }))
        }
        Some(Outcome::Error(error)) => Err(Status::new(Code::from(error.code), error.message)),
        None => Err(Status::data_loss("malformed reply: a result without outcome")),
    }
}

fn parse_fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|error| format!("malformed reply: {error}"))
}

fn malformed(what: impl Display) -> SearchError {
    SearchError::Encoder { reason: what.to_string() }
}

/// Why an address cannot be one of an encoder.
pub(crate) fn invalid_url(reason: String) -> SearchError {
    SearchError::Invalid { field: "the encoder's address".to_owned(), reason }
}

/// Whether the way to the encoder broke, rather than that the encoder answered so.
pub(crate) fn is_broken(status: &Status) -> bool {
    // What a server answers has no source; what breaks on the way has one.
    std::error::Error::source(status).is_some() && !is_timeout(status)
}

fn is_timeout(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::TimeoutExpired>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// What may be over soon is worth another try for work that nobody waits for; a call that was broken off, too.
pub(crate) fn again(status: &Status) -> Again {
    if status.code() == Code::Cancelled { Again::Later } else { Again::of(status) }
}

/// The encoder's statuses in this service's words. `field` is what the caller of this service knows the item by; the
/// encoder's own name for it is a place in a request that the caller never sent.
pub(crate) fn from_status(status: Status, field: &str) -> SearchError {
    let message = status.message();
    let reason = match message.split_once("]: ") {
        Some((item, reason)) if item.starts_with("images[") || item.starts_with("texts[") => reason.to_owned(),
        _ => message.to_owned(),
    };
    if is_broken(&status) {
        let reason = explain_refusal(&status, TLS_HINTS).unwrap_or(reason);
        return SearchError::Unavailable { dependency: DEPENDENCY, reason };
    }
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
            reason: "what answers at its address knows no such call; encoder.urls must name encoder services of this \
                     release"
                .to_owned(),
        },
        // The settings of the two do not agree, until somebody changes them.
        Code::Unauthenticated | Code::PermissionDenied => SearchError::Unavailable {
            dependency: DEPENDENCY,
            reason:
                "it asks who calls, and does not take this service's token: encoder.token_file must name a file with a \
                     valid one of the scope encode"
                    .to_owned(),
        },
        Code::Ok
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => SearchError::Encoder { reason: status.to_string() },
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
