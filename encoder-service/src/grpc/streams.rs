//! Streams of items: read as fast as they are answered, answered as they are ready.

use crate::encoder::Intake;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::Status;

/// The bounds of one stream.
pub(super) struct StreamBounds {
    /// Items worked on at once.
    pub(super) window: usize,
    /// Ends the stream for the caller.
    pub(super) deadline: Option<Instant>,
    /// Ends a stream that sends nothing for so long.
    pub(super) idle: Duration,
    /// Ends the stream for the service.
    pub(super) intake: Intake,
    /// What is held, and told, as long as the stream is open.
    pub(super) open: OpenStream,
}

/// An open stream: its permit, and what the log says of it when it ends.
pub(super) struct OpenStream {
    _permit: OwnedSemaphorePermit,
    span: tracing::Span,
    answered: u64,
}

impl OpenStream {
    pub(super) fn new(permit: OwnedSemaphorePermit, span: tracing::Span) -> Self {
        Self { _permit: permit, span, answered: 0 }
    }

    /// A method, so that a closure that counts holds all of this and not the number alone.
    fn count_answer(&mut self) {
        self.answered += 1;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.span.in_scope(|| tracing::debug!(answered = self.answered, "stream closed"));
    }
}

/// Answers a stream's items: `take` queues one, waiting for room if it must, and `finish` waits for its answer.
///
/// While `take` waits, or as many items as the window holds are not answered, nothing is read. What was read is answered
/// before the stream ends, and then it says why it ended early, if it did. Dropping the answers drops what is in flight.
pub(super) fn answers<Message, Taken, Response, Take, Finish>(
    messages: impl Stream<Item = Result<Message, Status>> + Send + Unpin + 'static,
    bounds: StreamBounds,
    take: impl FnMut(Message) -> Take + Send + 'static,
    finish: impl FnMut(Taken) -> Finish + Send + 'static,
) -> BoxStream<'static, Result<Response, Status>>
where
    Message: Send + 'static,
    Taken: Send + 'static,
    Response: Send + 'static,
    Take: Future<Output = Taken> + Send + 'static,
    Finish: Future<Output = Response> + Send + 'static,
{
    let StreamBounds { window, deadline, idle, intake, mut open } = bounds;
    let (ended, end) = oneshot::channel();
    let reading = Reading { messages, deadline, idle, intake, ended };
    let answers = stream::unfold(reading, Reading::next).then(take).map(finish).buffer_unordered(window);
    let end = stream::once(end).filter_map(|end| async move { end.ok().map(Err) });
    answers.inspect(move |_| open.count_answer()).map(Ok).chain(end).boxed()
}

/// A stream that is read, until one of the three sides ends it.
struct Reading<Messages> {
    messages: Messages,
    deadline: Option<Instant>,
    idle: Duration,
    intake: Intake,
    /// Takes the reason of an early end.
    ended: oneshot::Sender<Status>,
}

impl<Message, Messages: Stream<Item = Result<Message, Status>> + Unpin> Reading<Messages> {
    async fn next(mut self) -> Option<(Message, Self)> {
        let reason = tokio::select! {
            // In this order: a caller that never pauses would hide the others.
            biased;
            () = self.intake.stopped() => shutting_down(),
            () = passed(self.deadline) => Status::deadline_exceeded("the stream's deadline has passed"),
            message = self.messages.next() => match message? {
                Ok(message) => return Some((message, self)),
                Err(status) => status,
            },
            () = tokio::time::sleep(self.idle) => {
                Status::deadline_exceeded(format!("no item came for {} ms", self.idle.as_millis()))
            }
        };
        // Nobody listens only when the answers are gone, and then nobody is to be told.
        let _ = self.ended.send(reason);
        None
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the service is shutting down; send the items that were not answered again")
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
