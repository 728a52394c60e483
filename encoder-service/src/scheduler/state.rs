//! Everything a scheduler knows, and its decisions: what is prepared next, and what runs next. No threads, no clock.

use super::SchedulerLimits;
use super::batch::BatchPlan;
use super::job::{Gone, Job, Priority, Ready};
use super::queues::{Queues, Turns};
use std::time::Instant;

/// How many times a full batch of waiting items is looked through for lengths that go together.
const WINDOW_BATCHES: usize = 8;

/// Jobs on their way from admission to a run.
pub(super) struct State<Raw, Item> {
    limits: SchedulerLimits,
    arrivals: u64,
    waiting: Queues<Raw>,
    ready: Queues<Ready<Item>>,
    preparing_interactive: usize,
    preparing_bulk: usize,
    preparation_turns: Turns,
    batch_turns: Turns,
    closed: bool,
}

/// What a runner is to do next.
pub(super) struct Batch<Item> {
    /// Empty only if there is nothing to run.
    pub(super) jobs: Vec<Job<Ready<Item>>>,
    /// What was found to need no work any more.
    pub(super) gone: Vec<(Gone, Job<Ready<Item>>)>,
}

impl<Raw, Item> State<Raw, Item> {
    pub(super) fn new(limits: SchedulerLimits) -> Self {
        Self {
            limits,
            arrivals: 0,
            waiting: Queues::new(),
            ready: Queues::new(),
            preparing_interactive: 0,
            preparing_bulk: 0,
            preparation_turns: Turns::new(limits.bulk_turn_every),
            batch_turns: Turns::new(limits.bulk_turn_every),
            closed: false,
        }
    }

    /// The place of the next job in the order of arrival.
    pub(super) fn next_order(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    pub(super) fn put_waiting(&mut self, job: Job<Raw>) {
        self.waiting.put(job);
    }

    pub(super) fn put_ready(&mut self, job: Job<Ready<Item>>) {
        self.ready.put(job);
    }

    /// The next job to prepare, if there is one and room for what becomes of it. Its place is held until
    /// [`State::preparation_ended`].
    pub(super) fn next_to_prepare(&mut self) -> Option<Job<Raw>> {
        let priority = {
            let can = |priority| !self.waiting.of(priority).is_empty() && self.has_place(priority);
            let (interactive, bulk) = (can(Priority::Interactive), can(Priority::Bulk));
            self.preparation_turns.take(interactive, bulk)?
        };
        *self.preparing(priority) += 1;
        self.waiting.take_oldest(priority)
    }

    /// Whether [`State::next_to_prepare`] would find something.
    pub(super) fn can_prepare(&self) -> bool {
        let can = |priority| !self.waiting.of(priority).is_empty() && self.has_place(priority);
        can(Priority::Interactive) || can(Priority::Bulk)
    }

    /// A job that was handed out to be prepared has become a ready one, or has been answered.
    pub(super) fn preparation_ended(&mut self, priority: Priority) {
        let preparing = self.preparing(priority);
        *preparing = preparing.saturating_sub(1);
    }

    /// Each priority may hold `max_prepared` places, both together one batch more: whoever holds many, the other always
    /// finds places for a whole batch.
    fn has_place(&self, priority: Priority) -> bool {
        let interactive = self.preparing_interactive + self.ready.of(Priority::Interactive).len();
        let bulk = self.preparing_bulk + self.ready.of(Priority::Bulk).len();
        let own = match priority {
            Priority::Interactive => interactive,
            Priority::Bulk => bulk,
        };
        own < self.limits.max_prepared && interactive + bulk < self.limits.max_prepared + self.limits.batch.max_items
    }

    fn preparing(&mut self, priority: Priority) -> &mut usize {
        match priority {
            Priority::Interactive => &mut self.preparing_interactive,
            Priority::Bulk => &mut self.preparing_bulk,
        }
    }

    /// The next batch of what is ready.
    ///
    /// Headed by the oldest interactive item and filled with interactive items, then bulk ones. Every n-th time it is
    /// bulk work's turn, the other way round.
    pub(super) fn next_batch(&mut self, now: Instant) -> Batch<Item> {
        let window = self.limits.batch.max_items.saturating_mul(WINDOW_BATCHES);
        let mut batch = Batch { jobs: Vec::new(), gone: Vec::new() };
        // Again and again: behind what is taken out others move up, which nobody has looked at.
        loop {
            let found = batch.gone.len();
            self.ready.take_gone(now, window, &mut batch.gone);
            if batch.gone.len() == found {
                break;
            }
        }
        let waits = |priority| !self.ready.of(priority).is_empty();
        let Some(first) = self.batch_turns.take(waits(Priority::Interactive), waits(Priority::Bulk)) else {
            return batch;
        };
        let second = match first {
            Priority::Interactive => Priority::Bulk,
            Priority::Bulk => Priority::Interactive,
        };
        let Some(head) = self.ready.take_oldest(first) else { return batch };
        let mut plan = BatchPlan::new(head.payload.length, self.limits.batch);
        batch.jobs.push(head);
        for priority in [first, second] {
            let lengths = self.ready.of(priority).iter().take(window).map(|job| job.payload.length);
            let positions = plan.fill(lengths);
            self.ready.take_at(priority, &positions, &mut batch.jobs);
        }
        batch
    }

    /// Whether a runner would find something.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes out everything that needs no work any more.
    pub(super) fn take_gone(&mut self, now: Instant) -> AllGone<Raw, Item> {
        let mut gone = AllGone { waiting: Vec::new(), ready: Vec::new() };
        self.waiting.take_gone(now, usize::MAX, &mut gone.waiting);
        self.ready.take_gone(now, usize::MAX, &mut gone.ready);
        gone
    }

    /// No job will come any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Closes, and gives up what waits: nobody is left to work on it.
    pub(super) fn abandon(&mut self) {
        self.closed = true;
        self.waiting.clear();
        self.ready.clear();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether preparation is over for good.
    pub(super) fn is_prepared(&self) -> bool {
        self.closed && self.waiting.is_empty()
    }

    /// Whether everything is over for good.
    pub(super) fn is_done(&self) -> bool {
        self.is_prepared() && self.preparing_interactive + self.preparing_bulk == 0 && self.ready.is_empty()
    }

    /// Jobs that wait for preparation, are being prepared, and wait for the tower.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        fn both<Payload>(queues: &Queues<Payload>) -> usize {
            queues.of(Priority::Interactive).len() + queues.of(Priority::Bulk).len()
        }
        (both(&self.waiting), self.preparing_interactive + self.preparing_bulk, both(&self.ready))
    }
}

/// What [`State::take_gone`] found.
pub(super) struct AllGone<Raw, Item> {
    pub(super) waiting: Vec<(Gone, Job<Raw>)>,
    pub(super) ready: Vec<(Gone, Job<Ready<Item>>)>,
}

#[cfg(test)]
mod tests;
