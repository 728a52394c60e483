//! Room in a tower's queue, counted twice: in items, and in what it will cost to prepare them.

use super::SchedulerLimits;
use super::job::Priority;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a caller is told to wait at least and at most when the queue is full.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 50..=5_000;
/// Cost is admitted in units of so much: a sixteenth of a megapixel.
const COST_UNIT: u64 = 1 << 16;

/// Whose items share their turns: those of one list, or of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Flow(u64);

impl Flow {
    /// One that no other item belongs to yet.
    pub(crate) fn open() -> Self {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        Self(OPENED.fetch_add(1, Ordering::Relaxed))
    }
}

/// Permits for something that is short, in shares.
///
/// What may wait or retry must not take all of the room: a caller who cannot would always find the queue full. Streams
/// and bulk lists have a share each, because a stream always waits in line before a list that only tries.
struct Budget {
    all: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    limits: Shares,
}

/// The sizes of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Everything.
    pub(crate) all: usize,
    /// Of this, at most so much for bulk lists.
    pub(crate) bulk_lists: usize,
    /// And at most so much for streams.
    pub(crate) streams: usize,
}

impl Shares {
    /// No limit.
    pub(crate) const ENDLESS: Self = Self::whole(Semaphore::MAX_PERMITS);

    /// Everybody may take everything.
    pub(crate) const fn whole(all: usize) -> Self {
        Self { all, bulk_lists: all, streams: all }
    }

    /// In the units that cost is counted in.
    ///
    /// - `megapixels`: each share
    pub(crate) fn of_megapixels(self) -> Self {
        let units = |megapixels: usize| (megapixels.saturating_mul(1_000_000) / COST_UNIT as usize).max(1);
        let Self { all, bulk_lists, streams } = self;
        Self { all: units(all), bulk_lists: units(bulk_lists), streams: units(streams) }
    }
}

/// What was taken out of a budget.
struct Share {
    permits: OwnedSemaphorePermit,
    patient: Option<OwnedSemaphorePermit>,
}

impl Share {
    fn split(&mut self, count: usize) -> Option<Self> {
        let permits = self.permits.split(count)?;
        Some(Self { permits, patient: self.patient.as_mut().and_then(|patient| patient.split(count)) })
    }
}

impl Budget {
    fn new(limits: Shares) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self {
            all: semaphore(limits.all),
            lists: semaphore(limits.bulk_lists),
            streams: semaphore(limits.streams),
            limits,
        }
    }

    fn try_take(&self, count: usize, priority: Priority) -> Option<Share> {
        let count = u32::try_from(count).ok()?;
        let patient = match priority {
            Priority::Interactive => None,
            Priority::Bulk => Some(Arc::clone(&self.lists).try_acquire_many_owned(count).ok()?),
        };
        let permits = Arc::clone(&self.all).try_acquire_many_owned(count).ok()?;
        Some(Share { permits, patient })
    }

    async fn take_waiting(&self, count: usize) -> Option<Share> {
        let count = u32::try_from(count).ok()?;
        let patient = Arc::clone(&self.streams).acquire_many_owned(count).await.ok()?;
        let permits = Arc::clone(&self.all).acquire_many_owned(count).await.ok()?;
        Some(Share { permits, patient: Some(patient) })
    }

    fn taken(&self) -> usize {
        self.limits.all.min(Semaphore::MAX_PERMITS).saturating_sub(self.all.available_permits())
    }

    /// The most that one list may take, so that no one can take it all.
    fn largest_list(&self) -> usize {
        (self.limits.all / 2).min(self.limits.bulk_lists).max(1)
    }

    /// The most that one item may take: of a list or of a stream.
    fn largest_item(&self) -> usize {
        self.largest_list().min(self.limits.streams).max(1)
    }
}

/// The room of one or more items.
pub(super) struct Room {
    items: Share,
    cost: Share,
}

/// Room for some items of one caller, and when it came.
pub(crate) struct Admission {
    room: Room,
    /// What each item costs that was not taken out yet, and its units of room.
    costs: std::vec::IntoIter<(u64, usize)>,
    pub(super) flow: Flow,
    pub(super) arrived: Instant,
}

impl Admission {
    /// Takes the next item's room out; `None` when no room is left.
    pub(crate) fn split_one(&mut self) -> Option<Self> {
        let (cost, units) = self.costs.next()?;
        let room = Room { items: self.room.items.split(1)?, cost: self.room.cost.split(units)? };
        Some(Self { room, costs: vec![(cost, units)].into_iter(), flow: self.flow, arrived: self.arrived })
    }

    /// What its items cost to prepare.
    pub(super) fn cost(&self) -> u64 {
        self.costs.as_slice().iter().fold(0, |sum: u64, (cost, _)| sum.saturating_add(*cost))
    }

    pub(super) fn into_room(self) -> Room {
        debug_assert_eq!(self.room.items.permits.num_permits(), 1, "an item goes with the room of one");
        self.room
    }
}

/// Why there is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many items are queued.
    Items,
    /// What is queued costs too much already.
    Cost,
    /// The list alone costs more than any may.
    ListTooCostly {
        /// Of the list.
        megapixels: u64,
        /// Of any list.
        max_megapixels: u64,
    },
}

/// All the room of one tower's queue.
pub(super) struct Admitting {
    items: Budget,
    cost: Budget,
    run_rate: Rate,
    preparation_rate: Rate,
}

impl Admitting {
    pub(super) fn new(limits: SchedulerLimits, runners: usize) -> Self {
        Self {
            items: Budget::new(limits.queued),
            cost: Budget::new(limits.queued_cost),
            run_rate: Rate::of(runners),
            preparation_rate: Rate::of(limits.preparers),
        }
    }

    /// Room for all of the items, each of which costs so much.
    pub(super) fn try_admit(&self, costs: &[u64], priority: Priority) -> Result<Admission, Refusal> {
        let arrived = Instant::now();
        let costs: Vec<(u64, usize)> = costs.iter().map(|&cost| (cost, self.units(cost))).collect();
        let units: usize = costs.iter().map(|(_, units)| units).sum();
        let largest = self.cost.largest_list();
        if costs.len() > 1 && units > largest {
            let megapixels = |units: usize| (units as u64).saturating_mul(COST_UNIT) / 1_000_000;
            return Err(Refusal::ListTooCostly { megapixels: megapixels(units), max_megapixels: megapixels(largest) });
        }
        let items = self.items.try_take(costs.len(), priority).ok_or(Refusal::Items)?;
        let cost = self.cost.try_take(units, priority).ok_or(Refusal::Cost)?;
        Ok(Admission { room: Room { items, cost }, costs: costs.into_iter(), flow: Flow::open(), arrived })
    }

    /// Waits for the room of one item of a stream, whatever its priority among those that are in; `None` when there will
    /// be none.
    pub(super) async fn admit_waiting(&self, cost: u64, flow: Flow) -> Option<Admission> {
        let arrived = Instant::now();
        let units = self.units(cost);
        let items = self.items.take_waiting(1).await?;
        let room = Room { items, cost: self.cost.take_waiting(units).await? };
        Some(Admission { room, costs: vec![(cost, units)].into_iter(), flow, arrived })
    }

    /// An item that costs more than all may is let in as if it did not, once there is nothing else.
    fn units(&self, cost: u64) -> usize {
        usize::try_from(cost.div_ceil(COST_UNIT)).unwrap_or(usize::MAX).clamp(1, self.cost.largest_item())
    }

    /// Remembers how long a run took.
    pub(super) fn ran(&self, run: Duration, items: usize) {
        self.run_rate.record(run, items);
    }

    /// Remembers how long a preparation took.
    pub(super) fn prepared(&self, preparation: Duration, cost: u64) {
        self.preparation_rate.record(preparation, usize::try_from(cost.div_ceil(COST_UNIT)).unwrap_or(usize::MAX));
    }

    /// Items admitted and not yet answered.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.items.taken()
    }

    /// Items that may be.
    pub(super) fn capacity(&self) -> usize {
        self.items.limits.all
    }

    /// After how long it is worth asking again.
    pub(super) fn retry_after_ms(&self) -> u64 {
        let runs = self.run_rate.half_ms(self.items.taken());
        let preparations = self.preparation_rate.half_ms(self.cost.taken());
        runs.max(preparations).clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end())
    }
}

/// How fast something has been lately.
struct Rate {
    /// Moving average of a task's time divided by its parts.
    part_ns: AtomicU64,
    workers: u64,
}

impl Rate {
    fn of(workers: usize) -> Self {
        Self { part_ns: AtomicU64::new(0), workers: workers.max(1) as u64 }
    }

    fn record(&self, task: Duration, parts: usize) {
        let sample = u64::try_from(task.as_nanos()).unwrap_or(u64::MAX) / (parts.max(1) as u64);
        let average = self.part_ns.load(Ordering::Relaxed);
        // Two workers may overwrite each other's sample: it is an estimate.
        let average = if average == 0 { sample } else { average - average / 8 + sample / 8 };
        self.part_ns.store(average, Ordering::Relaxed);
    }

    /// The time in which half of the queue is worked off: there is room then, and the workers are still busy.
    fn half_ms(&self, queued: usize) -> u64 {
        (queued as u64 / 2).saturating_mul(self.part_ns.load(Ordering::Relaxed)) / self.workers / 1_000_000
    }
}

#[cfg(test)]
mod tests;
