//! The encoder's interface as a load generator sees it. The only file of this crate that builds requests.

use bytes::Bytes;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

/// A request that takes longer has failed, whatever comes later.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) type Client = EncoderServiceClient<Channel>;

/// What is sent, over and over.
#[derive(Debug, Clone)]
pub(crate) enum Items {
    Texts(Arc<[String]>),
    Images(Arc<[Bytes]>),
}

/// An answer to a list, or to one item of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) items_ok: u64,
    /// Items that failed although their request succeeded.
    pub(crate) item_faults: Vec<Fault>,
    pub(crate) timings: Option<proto::Timings>,
}

/// Why a request or an item failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// One item of a stream: what the answer is recognised by, and which of the items it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamItem {
    pub(crate) id: u64,
    pub(crate) position: usize,
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self { code: status.code(), message: status.message().to_owned() }
    }
}

impl Items {
    fn text(texts: &[String], position: usize) -> String {
        texts.get(position % texts.len().max(1)).cloned().unwrap_or_default()
    }

    fn image(images: &[Bytes], position: usize) -> Bytes {
        images.get(position % images.len().max(1)).cloned().unwrap_or_default()
    }

    /// Sends `count` items from `first` on as one list.
    pub(crate) async fn encode_list(
        &self,
        mut client: Client,
        first: usize,
        count: usize,
        priority: proto::Priority,
    ) -> Result<Answer, Fault> {
        let positions = first..first.saturating_add(count);
        let (results, timings) = match self {
            Self::Texts(texts) => {
                let texts = positions.map(|position| Self::text(texts, position)).collect();
                let message = proto::EncodeTextRequest { texts, priority: priority.into() };
                let reply = client.encode_text(with_timeout(message)).await?.into_inner();
                (reply.results, reply.timings)
            }
            Self::Images(images) => {
                let images = positions.map(|position| Self::image(images, position)).collect();
                let message = proto::EncodeImageRequest {
                    images,
                    priority: priority.into(),
                    ..proto::EncodeImageRequest::default()
                };
                let reply = client.encode_image(with_timeout(message)).await?.into_inner();
                (reply.results, reply.timings)
            }
        };
        let mut answer = Answer { timings, ..Answer::default() };
        for result in results {
            match item_fault(Some(result)) {
                None => answer.items_ok += 1,
                Some(fault) => answer.item_faults.push(fault),
            }
        }
        Ok(answer)
    }

    /// Opens a stream that sends whatever comes through `items`.
    pub(crate) async fn open_stream(
        &self,
        mut client: Client,
        items: mpsc::Receiver<StreamItem>,
        priority: proto::Priority,
    ) -> Result<Streaming<proto::EncodeStreamResponse>, Fault> {
        let items = ReceiverStream::new(items);
        let answers = match self {
            Self::Texts(texts) => {
                let texts = texts.clone();
                let messages = items.map(move |StreamItem { id, position }| proto::EncodeTextStreamRequest {
                    id: id.to_string(),
                    text: Self::text(&texts, position),
                    priority: priority.into(),
                });
                client.encode_text_stream(messages).await?
            }
            Self::Images(images) => {
                let images = images.clone();
                let messages = items.map(move |StreamItem { id, position }| proto::EncodeImageStreamRequest {
                    id: id.to_string(),
                    image: Self::image(&images, position),
                    priority: priority.into(),
                    ..Default::default()
                });
                client.encode_image_stream(messages).await?
            }
        };
        Ok(answers.into_inner())
    }
}

/// An answer of a stream: to which item, and what.
pub(crate) fn stream_answer(message: proto::EncodeStreamResponse) -> (Option<u64>, Result<Answer, Fault>) {
    let answer = match item_fault(message.result) {
        None => Ok(Answer { items_ok: 1, item_faults: Vec::new(), timings: message.timings }),
        Some(fault) => Err(fault),
    };
    (message.id.parse().ok(), answer)
}

fn item_fault(result: Option<proto::EncodeResult>) -> Option<Fault> {
    match result.and_then(|result| result.outcome) {
        Some(Outcome::Embedding(_)) => None,
        Some(Outcome::Error(error)) => Some(Fault { code: Code::from_i32(error.code), message: error.message }),
        None => Some(Fault { code: Code::Unknown, message: "an answer without a result".to_owned() }),
    }
}

fn with_timeout<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(REQUEST_TIMEOUT);
    request
}
