//! One item on its way through a tower's queue: the room it takes, whoever waits for it, and the ticket that its caller
//! holds meanwhile.

use super::SchedulerLimits;
use crate::EncodeError;
use crate::tower_metrics::TowerMetrics;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What a caller is told to wait at least and at most when the queue is full.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 50..=5_000;

/// What goes first when a tower has more to do than fits a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for the answer.
    Interactive,
    /// Goes after interactive work, but is never kept waiting for good.
    Bulk,
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

/// The room of one or more items.
pub(super) struct Room {
    permits: OwnedSemaphorePermit,
    // What may wait or retry must not take all of the room: a caller who cannot would always find the queue full. Streams
    // and bulk lists have a share each, because a stream always waits in line before a list that only tries.
    patient: Option<OwnedSemaphorePermit>,
}

impl Room {
    fn items(&self) -> usize {
        self.permits.num_permits()
    }

    fn split_one(&mut self) -> Option<Self> {
        let permits = self.permits.split(1)?;
        Some(Self { permits, patient: self.patient.as_mut().and_then(|patient| patient.split(1)) })
    }
}

/// Room for some items of one caller, and when it came.
pub(crate) struct Admission {
    room: Room,
    pub(super) arrived: Instant,
}

impl Admission {
    /// Takes one item's room out; `None` when no room is left.
    pub(crate) fn split_one(&mut self) -> Option<Self> {
        Some(Self { room: self.room.split_one()?, arrived: self.arrived })
    }

    pub(super) fn into_room(self) -> Room {
        debug_assert_eq!(self.room.items(), 1, "an item goes with the room of one");
        self.room
    }
}

/// All the room of one tower's queue.
pub(super) struct Admitting {
    room: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    limits: SchedulerLimits,
    run_rate: RunRate,
}

impl Admitting {
    pub(super) fn new(limits: SchedulerLimits, runners: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(limits.max_queued)),
            lists: Arc::new(Semaphore::new(limits.max_queued_bulk_lists)),
            streams: Arc::new(Semaphore::new(limits.max_queued_streams)),
            limits,
            run_rate: RunRate { item_ns: AtomicU64::new(0), runners: runners.max(1) as u64 },
        }
    }

    /// Room for all of `count` items, or `None`.
    pub(super) fn try_admit(&self, count: usize, priority: Priority) -> Option<Admission> {
        let arrived = Instant::now();
        let count = u32::try_from(count).ok()?;
        let patient = match priority {
            Priority::Interactive => None,
            Priority::Bulk => Some(Arc::clone(&self.lists).try_acquire_many_owned(count).ok()?),
        };
        let permits = Arc::clone(&self.room).try_acquire_many_owned(count).ok()?;
        Some(Admission { room: Room { permits, patient }, arrived })
    }

    /// Waits for the room of one item, whatever its priority among those that are in; `None` when there will be none.
    pub(super) async fn admit_waiting(&self) -> Option<Admission> {
        let arrived = Instant::now();
        let patient = Arc::clone(&self.streams).acquire_owned().await.ok()?;
        let permits = Arc::clone(&self.room).acquire_owned().await.ok()?;
        Some(Admission { room: Room { permits, patient: Some(patient) }, arrived })
    }

    /// Remembers how long a run took.
    pub(super) fn ran(&self, run: Duration, items: usize) {
        self.run_rate.record(run, items);
    }

    /// Items admitted and not yet answered.
    pub(super) fn queued(&self) -> usize {
        self.limits.max_queued.saturating_sub(self.room.available_permits())
    }

    /// After how long it is worth asking again.
    pub(super) fn retry_after_ms(&self) -> u64 {
        self.run_rate.retry_after_ms(self.queued())
    }
}

/// How fast the tower has been lately.
struct RunRate {
    /// Moving average of a run's time divided by its items.
    item_ns: AtomicU64,
    runners: u64,
}

impl RunRate {
    fn record(&self, run: Duration, items: usize) {
        let sample = u64::try_from(run.as_nanos()).unwrap_or(u64::MAX) / (items.max(1) as u64);
        let average = self.item_ns.load(Ordering::Relaxed);
        // Two runners may overwrite each other's sample: it is an estimate.
        let average = if average == 0 { sample } else { average - average / 8 + sample / 8 };
        self.item_ns.store(average, Ordering::Relaxed);
    }

    /// The time in which half of the queue is worked off: there is room then, and the tower is still busy.
    fn retry_after_ms(&self, queued: usize) -> u64 {
        let half_ns = (queued as u64 / 2).saturating_mul(self.item_ns.load(Ordering::Relaxed)) / self.runners;
        (half_ns / 1_000_000).clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end())
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

#[cfg(test)]
mod tests;
