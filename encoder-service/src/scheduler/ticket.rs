//! What a caller holds while its item is on the way.

use super::job::{Answer, Reply};
use crate::EncodeError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// The answer to one item, when it comes. Dropping it withdraws the item.
pub(crate) struct Ticket {
    /// Taken when the answer has come.
    answer: Option<oneshot::Receiver<Reply>>,
    tower: &'static str,
    /// Counts the tickets that were dropped without their answer.
    abandoned: Arc<AtomicUsize>,
}

impl Ticket {
    pub(super) fn new(answer: oneshot::Receiver<Reply>, tower: &'static str, abandoned: Arc<AtomicUsize>) -> Self {
        Self { answer: Some(answer), tower, abandoned }
    }
}

impl Future for Ticket {
    type Output = Result<Answer, EncodeError>;

    /// # Errors
    /// [`EncodeError`] of the preparation or the run; [`EncodeError::Stopped`] when the threads are gone.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let stopped = EncodeError::Stopped { tower: self.tower };
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(stopped)) };
        let reply = ready!(Pin::new(answer).poll(context));
        self.answer = None;
        Poll::Ready(reply.unwrap_or(Err(stopped)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.answer.take().is_some() {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}
