//! Room in a tower's queue: taken before any work is done for an item, given back when it is answered or dropped.

use super::SchedulerLimits;
use super::job::Priority;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a caller is told to wait at least and at most when the queue is full.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 50..=5_000;

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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn admitting(max_queued: usize, share: usize) -> Admitting {
        let limits = SchedulerLimits {
            max_queued,
            max_queued_bulk_lists: share,
            max_queued_streams: share,
            ..SchedulerLimits::for_tests()
        };
        Admitting::new(limits, 1)
    }

    #[test]
    fn a_list_is_admitted_as_a_whole_or_not_at_all() {
        let admitting = admitting(4, 4);
        let mut three = admitting.try_admit(3, Priority::Interactive).unwrap();
        assert!(admitting.try_admit(2, Priority::Interactive).is_none());
        assert_eq!(admitting.queued(), 3);
        let one = three.split_one().unwrap();
        drop(three);
        assert_eq!(admitting.queued(), 1);
        drop(one);
        assert!(admitting.try_admit(4, Priority::Interactive).is_some());
    }

    #[test]
    fn bulk_leaves_room_for_interactive() {
        let admitting = admitting(4, 3);
        assert!(admitting.try_admit(4, Priority::Bulk).is_none());
        let mut bulk = admitting.try_admit(3, Priority::Bulk).unwrap();
        assert!(admitting.try_admit(1, Priority::Bulk).is_none());
        assert!(admitting.try_admit(1, Priority::Interactive).is_some());
        drop(bulk.split_one());
        assert!(admitting.try_admit(1, Priority::Bulk).is_some());
    }

    #[tokio::test]
    async fn streams_that_wait_take_no_room_from_bulk_lists() {
        let admitting = admitting(4, 2);
        let _streaming = (admitting.admit_waiting().await.unwrap(), admitting.admit_waiting().await.unwrap());
        let mut waiting = std::pin::pin!(admitting.admit_waiting());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(admitting.try_admit(2, Priority::Bulk).is_some());
    }

    #[tokio::test]
    async fn streams_wait_for_room_and_leave_some() {
        let admitting = admitting(4, 3);
        let mut list =
            (admitting.admit_waiting().await, admitting.admit_waiting().await, admitting.admit_waiting().await);
        let mut waiting = std::pin::pin!(admitting.admit_waiting());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(admitting.try_admit(1, Priority::Interactive).is_some(), "who waits must not be in the way");
        drop(list.0.take());
        assert!(waiting.await.is_some());
    }

    #[test]
    fn the_retry_delay_follows_queue_and_speed() {
        let rate = RunRate { item_ns: AtomicU64::new(0), runners: 1 };
        assert_eq!(rate.retry_after_ms(512), 50);
        rate.record(Duration::from_millis(80), 8);
        assert_eq!(rate.retry_after_ms(200), 1_000);
        assert_eq!(rate.retry_after_ms(1_000_000), 5_000);
        for _ in 0..100 {
            rate.record(Duration::from_millis(160), 8);
        }
        assert!((1_950..=2_000).contains(&rate.retry_after_ms(200)));
        let doubled = RunRate { item_ns: AtomicU64::new(10_000_000), runners: 2 };
        assert_eq!(doubled.retry_after_ms(200), 500);
    }
}
