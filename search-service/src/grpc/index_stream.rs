//! The stream of images to index: read no faster than they are indexed, and answered to the last one that was taken in.

use super::SearchGrpc;
use super::answers::Answering;
use super::messages::{image_metadata, metadata_mask};
use crate::SearchError;
use crate::audit::{self, StreamBegun, StreamEntry};
use crate::config::RequestLimits;
use crate::erasure::Comeback;
use crate::indexing::{NewImage, Pace};
use crate::validation::{check_gallery_name, invalid};
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_request::{Message, Start};
use descry_serving::{Exceeded, Peer, PermittedStream};
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

const RETRY_AFTER_MS: u64 = 1_000;

impl SearchGrpc {
    pub(super) async fn index_images(
        &self,
        peer: Option<Peer>,
        mut messages: PermittedStream<proto::IndexImagesRequest>,
    ) -> Result<BoxStream<'static, Result<proto::IndexImagesResponse, Status>>, Status> {
        let place = self.index_streams.take(peer, 1).map_err(|exceeded| SearchError::Overloaded {
            what: match exceeded {
                Exceeded::All => "the number of index streams",
                Exceeded::Peer => "this caller's half of the index streams",
            },
            retry_after_ms: RETRY_AFTER_MS,
        })?;
        let first = tokio::select! {
            first = messages.next() => first.transpose()?,
            () = self.shutdown.cancelled() => return Err(shutting_down()),
        };
        let Some(Message::Start(start)) = first.and_then(|first| first.message) else {
            return Err(invalid("message", "the first message of the stream must be `start`").into());
        };
        let pace = Pace::new(start.max_images_per_second, self.indexing.max_images_per_second)
            .map_err(|reason| invalid("start.max_images_per_second", reason))?;
        let mask = metadata_mask(start.metadata_mask.clone(), &self.limits)?;
        let begun = audit::stream(&start).await?;
        let address = self.open_target(&start).await?;
        let entry = begun.map(StreamBegun::go_on);
        let (ended, end) = oneshot::channel();
        let limits = self.limits.clone();
        let memory = Arc::clone(&self.memory);
        let pace = Arc::new(Mutex::new(pace));
        let images = within_idle_limit(messages, Duration::from_millis(self.indexing.max_stream_idle_ms))
            .map(move |message| new_image(message, &limits))
            // An image waits here for its time, and until there is memory for it; the client waits with it.
            .then(move |image| take_in(image, Arc::clone(&pace), Arc::clone(&memory)))
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
        let answering = Arc::new(Answering::new(Arc::clone(&self.store), address.clone()));
        let acknowledgements = self.indexer.clone().index(address, (mask, Comeback::of(start.allow_erased)), images);
        let of_chunks = entry.clone();
        let replies = acknowledgements
            .then(move |chunk| {
                let (answering, entry) = (Arc::clone(&answering), of_chunks.clone());
                async move { recorded(answering.answers(chunk).await, entry.as_deref()).await }
            })
            .flat_map(futures::stream::iter);
        // What was taken in is indexed and acknowledged first; then the stream says why it ended early, if it did.
        let end = futures::stream::once(end).filter_map(move |end| {
            let end = end.ok();
            if let Some(entry) = &entry {
                entry.ended(end.as_ref().map_or(Code::Ok, Status::code));
            }
            async move { end.map(Err) }
        });
        let replies = replies.chain(end).inspect(move |_| {
            let _in_use = &place;
        });
        Ok(replies.boxed())
    }

    /// The generation that a stream fills, created if asked for.
    async fn open_target(&self, start: &Start) -> Result<String, SearchError> {
        check_gallery_name(&start.gallery)?;
        let address = match start.generation {
            0 => start.gallery.clone(),
            generation => format!("{}.{generation}", start.gallery),
        };
        match self.indexer.require_encoder(&address).await {
            Err(error) if error.is_not_found() && start.create && start.generation == 0 => {
                let request = proto::CreateGalleryRequest {
                    name: start.gallery.clone(),
                    ..proto::CreateGalleryRequest::default()
                };
                self.create_gallery(request).await?;
            }
            result => result?,
        }
        Ok(address)
    }
}

/// Answers whose record is on disk; in their place why there is none, where it is not. The images are in the gallery all the
/// same, and sent again are found unchanged.
async fn recorded(
    answers: Vec<proto::IndexImagesResponse>,
    entry: Option<&StreamEntry>,
) -> Vec<Result<proto::IndexImagesResponse, Status>> {
    if let Some(entry) = entry {
        let image_ids = audit::hash_of_ids(answers.iter().map(|answer| answer.image_id.as_str()));
        if let Err(error) = entry.chunk(image_ids, audit::counts_of(&answers)).await {
            return vec![Err(error.into())];
        }
    }
    answers.into_iter().map(Ok).collect()
}

fn shutting_down() -> Status {
    Status::unavailable("the service is shutting down; send the images that were not answered again")
}

/// The messages of a stream, until none comes for too long: it would keep its place from others. The time in which a message
/// waits for the service does not count.
fn within_idle_limit<Message: Send>(
    messages: impl Stream<Item = Result<Message, Status>> + Send + Unpin,
    limit: Duration,
) -> impl Stream<Item = Result<Message, Status>> + Send {
    futures::stream::unfold(Some(messages), move |messages| async move {
        let mut messages = messages?;
        match tokio::time::timeout(limit, messages.next()).await {
            Ok(message) => Some((message?, Some(messages))),
            Err(_) => {
                tracing::info!(idle_ms = limit.as_millis(), "an index stream without images is closed");
                Some((Err(idle_for_too_long(limit)), None))
            }
        }
    })
}

fn idle_for_too_long(limit: Duration) -> Status {
    let ms = limit.as_millis();
    Status::unavailable(format!("no image came for {ms} ms; open another stream for further images"))
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

async fn take_in(
    image: Result<NewImage, Status>,
    pace: Arc<Mutex<Pace>>,
    memory: Arc<Semaphore>,
) -> Result<NewImage, Status> {
    let mut image = image?;
    pace.lock().await.wait().await;
    // Not more than there is at all: the configuration is checked, and an image is smaller.
    let kibibytes = u32::try_from(image.content.len().div_ceil(1024)).unwrap_or(u32::MAX);
    image.memory = memory.acquire_many_owned(kibibytes).await.ok();
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_nothing_comes_for_too_long() {
        let limit = Duration::from_secs(300);
        let started = Instant::now();
        let messages = futures::stream::iter([200, 299, 301, 1]).then(|seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(seconds)
        });
        let taken: Vec<_> = within_idle_limit(Box::pin(messages), limit)
            .then(|message| async move {
                // However long the service takes for a message.
                tokio::time::sleep(Duration::from_secs(1_000)).await;
                message
            })
            .collect()
            .await;
        let [Ok(200), Ok(299), Err(status)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(started.elapsed().as_secs(), 200 + 299 + 300 + 3 * 1_000);
    }
}
