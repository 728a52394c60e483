//! Everything a scheduler knows, and its decisions: what is prepared next, and what runs together next. No threads, no
//! clock.

use super::job::{Gone, Job, Priority, Ready};
use super::{BatchLimits, SchedulerLimits};
use std::collections::VecDeque;
use std::time::Instant;

/// How many times a full batch of waiting items is looked through for lengths that go together.
const WINDOW_BATCHES: usize = 8;
/// Padding that is always worth it: a run reads all the weights, whatever it computes with them.
const FREE_PADDING_TOKENS: usize = 128;
/// Beyond that, at most one in this many tokens may be padding.
const PADDING_SHARE: usize = 4;

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
    abandoned: bool,
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
            abandoned: false,
        }
    }

    /// The number of the next job in the order of arrival.
    pub(super) fn next_order(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    pub(super) fn put_waiting(&mut self, job: Job<Raw>) {
        if !self.abandoned {
            self.waiting.put(job);
        }
    }

    pub(super) fn put_ready(&mut self, job: Job<Ready<Item>>) {
        if !self.abandoned {
            self.ready.put(job);
        }
    }

    /// The next job to prepare, if there is one and room for what becomes of it. Its slot is held until
    /// [`State::preparation_ended`].
    pub(super) fn next_to_prepare(&mut self) -> Option<Job<Raw>> {
        let priority = {
            let can = |priority| !self.waiting.of(priority).is_empty() && self.has_slot(priority);
            let (interactive, bulk) = (can(Priority::Interactive), can(Priority::Bulk));
            self.preparation_turns.take(interactive, bulk)?
        };
        *self.preparing(priority) += 1;
        self.waiting.take_oldest(priority)
    }

    /// Whether [`State::next_to_prepare`] would find something.
    pub(super) fn can_prepare(&self) -> bool {
        let can = |priority| !self.waiting.of(priority).is_empty() && self.has_slot(priority);
        can(Priority::Interactive) || can(Priority::Bulk)
    }

    /// A job that was handed out to be prepared has become a ready one, or has been answered.
    pub(super) fn preparation_ended(&mut self, priority: Priority) {
        let preparing = self.preparing(priority);
        *preparing = preparing.saturating_sub(1);
    }

    /// Each priority may hold `max_prepared` slots for what is prepared, both together one batch more: whoever holds many,
    /// the other always finds slots for a whole batch.
    fn has_slot(&self, priority: Priority) -> bool {
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

    /// Closes, and gives up what waits and what is still being prepared: nobody may be left to work on it.
    pub(super) fn abandon(&mut self) {
        self.closed = true;
        self.abandoned = true;
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
        let nothing_comes = self.abandoned || self.preparing_interactive + self.preparing_bulk == 0;
        self.is_prepared() && nothing_comes && self.ready.is_empty()
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

/// Jobs of both priorities that wait for the same thing.
pub(super) struct Queues<Payload> {
    interactive: VecDeque<Job<Payload>>,
    bulk: VecDeque<Job<Payload>>,
}

impl<Payload> Queues<Payload> {
    pub(super) fn new() -> Self {
        Self { interactive: VecDeque::new(), bulk: VecDeque::new() }
    }

    pub(super) fn of(&self, priority: Priority) -> &VecDeque<Job<Payload>> {
        match priority {
            Priority::Interactive => &self.interactive,
            Priority::Bulk => &self.bulk,
        }
    }

    fn of_mut(&mut self, priority: Priority) -> &mut VecDeque<Job<Payload>> {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Bulk => &mut self.bulk,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.bulk.is_empty()
    }

    /// Puts a job where its order of arrival says: preparation may have ended in another one.
    pub(super) fn put(&mut self, job: Job<Payload>) {
        let order = job.caller.order;
        let queue = self.of_mut(job.caller.urgency.priority);
        let later = queue.iter().rev().take_while(|other| other.caller.order > order).count();
        queue.insert(queue.len() - later, job);
    }

    pub(super) fn take_oldest(&mut self, priority: Priority) -> Option<Job<Payload>> {
        self.of_mut(priority).pop_front()
    }

    /// Takes out the jobs at these ascending positions. Touches nothing behind the last of them.
    pub(super) fn take_at(&mut self, priority: Priority, positions: &[usize], taken: &mut Vec<Job<Payload>>) {
        let Some(&last) = positions.last() else { return };
        let queue = self.of_mut(priority);
        let mut kept = Vec::with_capacity(last + 1 - positions.len());
        let mut positions = positions.iter().copied().peekable();
        for (position, job) in queue.drain(..=last).enumerate() {
            if positions.next_if_eq(&position).is_some() {
                taken.push(job);
            } else {
                kept.push(job);
            }
        }
        for job in kept.into_iter().rev() {
            queue.push_front(job);
        }
    }

    /// Takes out what needs no work any more among the oldest `window` jobs of each priority.
    pub(super) fn take_gone(&mut self, now: Instant, window: usize, gone: &mut Vec<(Gone, Job<Payload>)>) {
        for priority in [Priority::Interactive, Priority::Bulk] {
            let reasons = self.of(priority).iter().take(window).map(|job| job.caller.gone(now)).enumerate();
            let (positions, reasons): (Vec<usize>, Vec<Gone>) =
                reasons.filter_map(|(position, reason)| Some((position, reason?))).unzip();
            let mut jobs = Vec::with_capacity(positions.len());
            self.take_at(priority, &positions, &mut jobs);
            gone.extend(reasons.into_iter().zip(jobs));
        }
    }

    pub(super) fn clear(&mut self) {
        self.interactive.clear();
        self.bulk.clear();
    }
}

/// Whose turn it is: interactive work's, and every n-th time bulk work's, where both wait.
#[derive(Debug)]
pub(super) struct Turns {
    bulk_every: usize,
    passed_over: usize,
}

impl Turns {
    pub(super) fn new(bulk_every: usize) -> Self {
        Self { bulk_every, passed_over: 0 }
    }

    /// Decides between those that wait, and remembers the decision.
    pub(super) fn take(&mut self, interactive_waits: bool, bulk_waits: bool) -> Option<Priority> {
        match (interactive_waits, bulk_waits) {
            (false, false) => None,
            (true, false) => Some(Priority::Interactive),
            (true, true) if self.passed_over + 1 < self.bulk_every => {
                self.passed_over += 1;
                Some(Priority::Interactive)
            }
            (_, true) => {
                self.passed_over = 0;
                Some(Priority::Bulk)
            }
        }
    }
}

/// A batch being built around its oldest item. The head is in it whatever its length, so no item waits for good.
#[derive(Debug)]
pub(super) struct BatchPlan {
    limits: BatchLimits,
    head_length: usize,
    items: usize,
    longest: usize,
    tokens: usize,
}

impl BatchPlan {
    pub(super) fn new(head_length: usize, limits: BatchLimits) -> Self {
        Self { limits, head_length, items: 1, longest: head_length, tokens: head_length }
    }

    pub(super) fn is_full(&self) -> bool {
        self.items >= self.limits.max_items
    }

    /// Adds from these waiting lengths, given in the order of arrival: those closest to the head's first, the older of
    /// two alike. Returns the ascending positions of what was added.
    pub(super) fn fill(&mut self, lengths: impl Iterator<Item = usize>) -> Vec<usize> {
        if self.is_full() {
            return Vec::new();
        }
        let mut nearest: Vec<(usize, usize, usize)> = lengths
            .enumerate()
            .map(|(position, length)| (length.abs_diff(self.head_length), position, length))
            .collect();
        nearest.sort_unstable();
        let mut added = Vec::new();
        for (_, position, length) in nearest {
            if self.is_full() {
                break;
            }
            // The next one may be shorter and fit again.
            if self.add(length) {
                added.push(position);
            }
        }
        added.sort_unstable();
        added
    }

    fn add(&mut self, length: usize) -> bool {
        let longest = self.longest.max(length);
        let computed = longest.saturating_mul(self.items + 1);
        let tokens = self.tokens.saturating_add(length);
        let padding = computed - tokens.min(computed);
        let fits = computed <= self.limits.max_tokens && padding <= FREE_PADDING_TOKENS.max(computed / PADDING_SHARE);
        if fits {
            (self.items, self.longest, self.tokens) = (self.items + 1, longest, tokens);
        }
        fits
    }
}

#[cfg(test)]
mod tests;
