//! One item on its way through a tower's queue: whoever waits for it, and the ticket that its caller holds meanwhile.

use super::room::{Flow, Room};
use crate::EncodeError;
use crate::tower_metrics::TowerMetrics;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What goes first when a tower has more to do than fits a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for the answer.
    Interactive,
    /// Goes after interactive work, but is never kept waiting for good.
    Bulk,
}

impl Priority {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Interactive => Self::Bulk,
            Self::Bulk => Self::Interactive,
        }
    }
}

/// How a caller wants its items to be treated.
#[derive(Debug, Clone, Copy)]
pub struct Urgency {
    /// Which queue they wait in.
    pub priority: Priority,
    /// After this moment nobody wants the answer any more.
    pub deadline: Option<Instant>,
}

impl Urgency {
    /// Interactive, without a deadline.
    pub const INTERACTIVE: Self = Self { priority: Priority::Interactive, deadline: None };
    /// Bulk, without a deadline.
    pub const BULK: Self = Self { priority: Priority::Bulk, deadline: None };
}

/// Where the time of an item went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timings {
    /// Waiting for room, for preparation and for the tower.
    pub queue: Duration,
    /// Decoding and resizing, or tokenizing.
    pub prepare: Duration,
    /// The tower's run, shared by the whole batch.
    pub run: Duration,
    /// Items of that run.
    pub batch_size: usize,
}

impl Timings {
    /// From the item's arrival to its answer.
    pub fn total(&self) -> Duration {
        self.queue + self.prepare + self.run
    }
}

/// What a tower reads, made from what a caller sent.
pub(crate) struct Prepared<Item> {
    /// The tower's input.
    pub(crate) item: Item,
    /// What of it the tower does not see.
    pub(crate) lost: Lost,
}

/// What of an item did not become an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Something was cut off to make it fit.
    pub(crate) truncated: bool,
    /// Letters that the vocabulary lacks, in words.
    pub(crate) unknown_letters: Option<String>,
}

/// A prepared item in the queue.
pub(super) struct Ready<Item> {
    pub(super) prepared: Prepared<Item>,
    pub(super) length: usize,
}

/// An item's features and the story of its run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// One row of the tower's output, not normalised.
    pub(crate) features: Vec<f32>,
    /// See [`Prepared::lost`].
    pub(crate) lost: Lost,
    /// Where the time went.
    pub(crate) timings: Timings,
}

pub(super) type Reply = Result<Answer, EncodeError>;

/// An item with whoever waits for it.
pub(super) struct Job<Payload> {
    pub(super) payload: Payload,
    pub(super) caller: Caller,
}

/// Why a job needs no work any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// Nobody waits for the answer.
    Cancelled,
    /// The deadline has passed.
    Expired,
}

/// Everything about a job but its content.
pub(super) struct Caller {
    /// Position among all jobs of the tower, in the order of their arrival.
    pub(super) order: u64,
    /// Whose turn its preparation is.
    pub(super) flow: Flow,
    /// What its preparation costs: pixels of an image, bytes of a text.
    pub(super) cost: u64,
    pub(super) urgency: Urgency,
    pub(super) arrived: Instant,
    pub(super) prepare: Duration,
    pub(super) reply: oneshot::Sender<Reply>,
    /// Held until the answer, so that work in progress counts as queued.
    pub(super) room: Room,
    /// Counts the job as waiting, until its run begins.
    pub(super) queued: Option<QueuedGauge>,
}

impl Caller {
    /// Why this job needs no work any more, if so.
    pub(super) fn gone(&self, now: Instant) -> Option<Gone> {
        if self.reply.is_closed() {
            return Some(Gone::Cancelled);
        }
        self.urgency.deadline.is_some_and(|deadline| deadline <= now).then_some(Gone::Expired)
    }

    /// Gives the job up without work.
    pub(super) fn give_up(self, tower: &'static str, reason: Gone, metrics: &TowerMetrics) {
        match reason {
            Gone::Cancelled => metrics.cancelled.increment(1),
            Gone::Expired => {
                metrics.expired.increment(1);
                self.send(Err(EncodeError::Expired { tower }));
            }
        }
    }

    /// Answers with an error.
    pub(super) fn refuse(self, error: EncodeError, metrics: &TowerMetrics) {
        metrics.refused(&error);
        self.send(Err(error));
    }

    /// Answers with features.
    pub(super) fn succeed(self, features: Vec<f32>, lost: Lost, run: Run, metrics: &TowerMetrics) {
        let prepare = self.prepare;
        let queue = run.ended.duration_since(self.arrived).saturating_sub(prepare).saturating_sub(run.time);
        metrics.succeeded(queue, prepare);
        let timings = Timings { queue, prepare, run: run.time, batch_size: run.batch_size };
        self.send(Ok(Answer { features, lost, timings }));
    }

    fn send(self, reply: Reply) {
        // First the room, then the answer: whoever has the answer may come back at once.
        drop(self.queued);
        drop(self.room);
        // A caller that left in the meantime is no error.
        let _ = self.reply.send(reply);
    }
}

/// One run of a tower.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) time: Duration,
    pub(super) ended: Instant,
    pub(super) batch_size: usize,
}

/// One waiting item in the queue's gauge.
pub(super) struct QueuedGauge(metrics::Gauge);

impl QueuedGauge {
    pub(super) fn count(priority: Priority, metrics: &TowerMetrics) -> Self {
        let gauge = match priority {
            Priority::Interactive => &metrics.queue_interactive,
            Priority::Bulk => &metrics.queue_bulk,
        };
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for QueuedGauge {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

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
