//! Everything a scheduler knows, and its decisions: what is prepared next, what runs together next, and whether there is
//! time for more. No threads, no clock.

use super::batch_plan::{BatchPlan, Turns};
use super::fair_queue::FairQueue;
use super::job::{Gone, Job, Priority, Ready};
use super::pace::{Pace, scaled};
use super::ready_queue::Queues;
use super::{BatchLimits, SchedulerLimits};
use std::time::{Duration, Instant};

/// How many times a full batch of waiting items is looked through for lengths that go together.
const WINDOW_BATCHES: usize = 8;
/// What is let in is to be answered in time, and runs take longer than they took: by so much.
const CAUTION: f64 = 1.25;
/// As [`CAUTION`], for a run that is to begin at once: less can come in between.
const HASTE: f64 = 1.1;
/// A batch is cut short for a deadline where an item takes at most so much longer in it than in a full one.
const QUICK: f64 = 1.25;

/// Jobs on their way from admission to a run.
pub(super) struct State<Raw, Item> {
    limits: SchedulerLimits,
    runners: usize,
    arrivals: u64,
    waiting_interactive: FairQueue<Raw>,
    waiting_bulk: FairQueue<Raw>,
    ready: Queues<Ready<Item>>,
    preparing_interactive: usize,
    preparing_bulk: usize,
    /// What is being prepared costs so much.
    preparing_cost: u64,
    running: Vec<Running>,
    runs: u64,
    pace: Pace,
    preparation_turns: Turns,
    batch_turns: Turns,
    closed: bool,
    abandoned: bool,
}

/// A batch that a runner is at.
struct Running {
    number: u64,
    items: usize,
    tokens: usize,
    began: Instant,
    expected: Duration,
}

/// What a runner is to do next.
pub(super) struct Batch<Item> {
    /// What to tell [`State::run_ended`].
    pub(super) number: u64,
    /// Empty only if there is nothing to run.
    pub(super) jobs: Vec<Job<Ready<Item>>>,
    /// What was found to need no work any more.
    pub(super) gone: Vec<(Gone, Job<Ready<Item>>)>,
}

impl<Raw, Item> State<Raw, Item> {
    pub(super) fn new(limits: SchedulerLimits, runners: usize) -> Self {
        Self {
            limits,
            runners: runners.max(1),
            arrivals: 0,
            waiting_interactive: FairQueue::new(),
            waiting_bulk: FairQueue::new(),
            ready: Queues::new(),
            preparing_interactive: 0,
            preparing_bulk: 0,
            preparing_cost: 0,
            running: Vec::new(),
            runs: 0,
            pace: Pace::new(),
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
            self.waiting_mut(job.caller.urgency.priority).put(job);
        }
    }

    pub(super) fn put_ready(&mut self, job: Job<Ready<Item>>) {
        if !self.abandoned {
            self.ready.put(job);
        }
    }

    fn waiting(&self, priority: Priority) -> &FairQueue<Raw> {
        match priority {
            Priority::Interactive => &self.waiting_interactive,
            Priority::Bulk => &self.waiting_bulk,
        }
    }

    fn waiting_mut(&mut self, priority: Priority) -> &mut FairQueue<Raw> {
        match priority {
            Priority::Interactive => &mut self.waiting_interactive,
            Priority::Bulk => &mut self.waiting_bulk,
        }
    }

    /// The next job to prepare, if there is one and room for what becomes of it. Its slot is held until
    /// [`State::preparation_ended`].
    pub(super) fn next_to_prepare(&mut self) -> Option<Job<Raw>> {
        let priority = {
            let (interactive, bulk) = (self.can_prepare_of(Priority::Interactive), self.can_prepare_of(Priority::Bulk));
            self.preparation_turns.take(interactive, bulk)?
        };
        let room = self.decoding_room();
        let job = self.waiting_mut(priority).take(|cost| room.is_for(cost))?;
        let other = priority.other();
        if self.has_slot(other)
            && !self.waiting(other).is_empty()
            && !self.waiting(other).has_next(|cost| room.is_for(cost))
        {
            self.waiting_mut(other).pass_over();
        }
        *self.preparing(priority) += 1;
        self.preparing_cost = self.preparing_cost.saturating_add(room.taken_by(job.caller.cost));
        Some(job)
    }

    /// Whether [`State::next_to_prepare`] would find something.
    pub(super) fn can_prepare(&self) -> bool {
        self.can_prepare_of(Priority::Interactive) || self.can_prepare_of(Priority::Bulk)
    }

    fn can_prepare_of(&self, priority: Priority) -> bool {
        let room = self.decoding_room();
        let has_next = |priority| self.waiting(priority).has_next(|cost| room.is_for(cost));
        // What the other priority waits for needs room that must not be given away piece by piece.
        let other = priority.other();
        let is_kept = self.has_slot(other) && self.waiting(other).is_waited_for() && !has_next(other);
        !is_kept && self.has_slot(priority) && has_next(priority)
    }

    fn decoding_room(&self) -> DecodingRoom {
        DecodingRoom { taken: self.preparing_cost, all: self.limits.max_preparing_cost }
    }

    /// A job that was handed out to be prepared has become a ready one, or has been answered.
    ///
    /// - `took`: how long it was worked on, if it was
    pub(super) fn preparation_ended(&mut self, priority: Priority, cost: u64, took: Option<Duration>) {
        let preparing = self.preparing(priority);
        *preparing = preparing.saturating_sub(1);
        self.preparing_cost = self.preparing_cost.saturating_sub(self.decoding_room().taken_by(cost));
        if let Some(time) = took {
            self.pace.prepared(cost, time);
        }
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

    /// The next batch of what is ready. Its runner says when it ended: [`State::run_ended`].
    ///
    /// Headed by the oldest interactive item and filled with interactive items, then bulk ones. Every n-th time it is
    /// bulk work's turn, the other way round.
    pub(super) fn next_batch(&mut self, now: Instant) -> Batch<Item> {
        let window = self.limits.batch.max_items.saturating_mul(WINDOW_BATCHES);
        let mut batch = Batch { number: 0, jobs: Vec::new(), gone: Vec::new() };
        // Again and again: behind what is taken out others move up, which nobody has looked at.
        loop {
            let found = batch.gone.len();
            self.ready.take_gone(now, window, &mut batch.gone);
            if batch.gone.len() == found {
                break;
            }
        }
        self.take_late(now, window, &mut batch.gone);
        let waits = |priority| !self.ready.of(priority).is_empty();
        let Some(first) = self.batch_turns.take(waits(Priority::Interactive), waits(Priority::Bulk)) else {
            return batch;
        };
        let second = match first {
            Priority::Interactive => Priority::Bulk,
            Priority::Bulk => Priority::Interactive,
        };
        let Some(head) = self.ready.take_oldest(first) else { return batch };
        let max_items = self.items_until(head.caller.urgency.deadline, now);
        let mut plan = BatchPlan::new(head.payload.length, BatchLimits { max_items, ..self.limits.batch });
        batch.jobs.push(head);
        for priority in [first, second] {
            let lengths = self.ready.of(priority).iter().take(window).map(|job| job.payload.length);
            let positions = plan.fill(lengths);
            self.ready.take_at(priority, &positions, &mut batch.jobs);
        }
        batch.number = self.begin_run(now, &batch.jobs);
        batch
    }

    /// Takes out interactive items that would be answered too late, if there are some that would not be: whoever came first
    /// must not take along everybody behind it. If all are late, they are run: what is expected may be wrong.
    fn take_late(&mut self, now: Instant, window: usize, gone: &mut Vec<(Gone, Job<Ready<Item>>)>) {
        let soonest = now + scaled(self.run_of(self.quick_batch()), HASTE);
        let is_late = |job: &Job<Ready<Item>>| job.caller.urgency.deadline.is_some_and(|deadline| deadline < soonest);
        let queue = self.ready.of(Priority::Interactive);
        let late: Vec<usize> = queue
            .iter()
            .take(window)
            .enumerate()
            .filter(|(_, job)| is_late(job))
            .map(|(position, _)| position)
            .collect();
        if late.len() == queue.len().min(window) {
            return;
        }
        let mut jobs = Vec::with_capacity(late.len());
        self.ready.take_at(Priority::Interactive, &late, &mut jobs);
        gone.extend(jobs.into_iter().map(|job| (Gone::Expired, job)));
    }

    /// How many items may run together so that the first of them is answered in time; as many as ever where that would cost
    /// others too much.
    fn items_until(&self, deadline: Option<Instant>, now: Instant) -> usize {
        let most = self.limits.batch.max_items.max(1);
        let Some(deadline) = deadline else { return most };
        let quick = self.quick_batch();
        let fewer = std::iter::successors(Some(most), |items| Some(items / 2)).take_while(|items| *items >= quick);
        fewer.chain([quick]).find(|items| now + scaled(self.run_of(*items), HASTE) <= deadline).unwrap_or(most)
    }

    /// The fewest items whose run takes hardly longer an item than a full batch's.
    fn quick_batch(&self) -> usize {
        let most = self.limits.batch.max_items.max(1);
        let an_item = |items: usize| self.run_of(items).as_secs_f64() / items as f64;
        let enough = an_item(most) * QUICK;
        let doubled = std::iter::successors(Some(1_usize), |items| items.checked_mul(2));
        doubled.take_while(|items| *items < most).find(|items| an_item(*items) <= enough).unwrap_or(most)
    }

    fn run_of(&self, items: usize) -> Duration {
        self.pace.run(self.pace.item_tokens() * items as f64)
    }

    fn begin_run(&mut self, now: Instant, jobs: &[Job<Ready<Item>>]) -> u64 {
        let longest = jobs.iter().map(|job| job.payload.length).max().unwrap_or_default();
        let (items, tokens) = (jobs.len(), jobs.len().saturating_mul(longest));
        self.runs += 1;
        let expected = self.pace.run(tokens as f64);
        self.running.push(Running { number: self.runs, items, tokens, began: now, expected });
        self.runs
    }

    /// The run of a batch ended, after this time.
    pub(super) fn run_ended(&mut self, number: u64, time: Duration) {
        let Some(position) = self.running.iter().position(|running| running.number == number) else { return };
        let Running { items, tokens, .. } = self.running.swap_remove(position);
        self.pace.ran(items, tokens, time);
    }

    /// In how long some interactive items that come now would be answered, if that is not before their deadline.
    pub(super) fn time_missing(&self, items: usize, cost: u64, deadline: Instant, now: Instant) -> Option<Duration> {
        let time = self.time_to_answer(items, cost, now);
        (now.checked_add(scaled(time, CAUTION)).is_none_or(|answer| answer > deadline)).then_some(time)
    }

    /// In how long some interactive items that come now would be answered, as far as can be told from how long others
    /// took. Nothing where nobody is before them: then it is tried, whatever was seen before.
    ///
    /// - `items`: of one list
    /// - `cost`: of all of them
    fn time_to_answer(&self, items: usize, cost: u64, now: Instant) -> Duration {
        let (jobs_ahead, cost_ahead) = self.waiting_interactive.ahead_of(cost);
        let (ready, ready_tokens) = self.ready_interactive();
        let unprepared = jobs_ahead + self.preparing_interactive;
        if unprepared + self.preparing_bulk + ready + self.running.len() == 0 {
            return Duration::ZERO;
        }
        let count = ready + unprepared + items;
        let tokens = ready_tokens + self.pace.item_tokens() * (unprepared + items) as f64;
        let batches = self.batches(count, tokens).max(1);
        let a_run = self.pace.run(tokens / batches as f64);
        let before =
            self.with_turns_of_bulk(batches, !self.ready.of(Priority::Bulk).is_empty()).div_ceil(self.runners) - 1;
        let runs = self.until_a_runner_is_free(now).saturating_add(scaled(a_run, before as f64));
        let cost = cost_ahead.saturating_add(self.preparing_cost).saturating_add(cost);
        let preparation = self.pace.preparation(cost) / u32::try_from(self.limits.preparers.max(1)).unwrap_or(u32::MAX);
        let preparation = match self.waiting_bulk.is_empty() {
            true => preparation,
            false => scaled(preparation, f64::from(self.turns()) / f64::from(self.turns() - 1)),
        };
        runs.max(preparation).saturating_add(a_run)
    }

    fn ready_interactive(&self) -> (usize, f64) {
        let ready = self.ready.of(Priority::Interactive);
        (ready.len(), ready.iter().map(|job| job.payload.length as f64).sum())
    }

    /// Into how many full batches so much goes.
    fn batches(&self, items: usize, tokens: f64) -> usize {
        let by_tokens = (tokens / self.limits.batch.max_tokens as f64).ceil() as usize;
        items.div_ceil(self.limits.batch.max_items.max(1)).max(by_tokens)
    }

    fn with_turns_of_bulk(&self, batches: usize, bulk_waits: bool) -> usize {
        if bulk_waits { batches + batches / (self.turns() as usize - 1) } else { batches }
    }

    /// At least 2.
    fn turns(&self) -> u32 {
        u32::try_from(self.limits.bulk_turn_every).unwrap_or(u32::MAX).max(2)
    }

    fn until_a_runner_is_free(&self, now: Instant) -> Duration {
        if self.running.len() < self.runners {
            return Duration::ZERO;
        }
        let left = |running: &Running| running.expected.saturating_sub(now.saturating_duration_since(running.began));
        self.running.iter().map(left).min().unwrap_or_default()
    }

    /// Whether a runner would find something.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes out everything that needs no work any more.
    pub(super) fn take_gone(&mut self, now: Instant) -> AllGone<Raw, Item> {
        let mut gone = AllGone { waiting: Vec::new(), ready: Vec::new() };
        self.waiting_interactive.take_gone(now, &mut gone.waiting);
        self.waiting_bulk.take_gone(now, &mut gone.waiting);
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
        self.waiting_interactive.clear();
        self.waiting_bulk.clear();
        self.ready.clear();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether preparation is over for good.
    pub(super) fn is_prepared(&self) -> bool {
        self.closed && self.waiting_interactive.is_empty() && self.waiting_bulk.is_empty()
    }

    /// Whether everything is over for good.
    pub(super) fn is_done(&self) -> bool {
        let nothing_comes = self.abandoned || self.preparing_interactive + self.preparing_bulk == 0;
        self.is_prepared() && nothing_comes && self.ready.is_empty()
    }

    /// Forgets how long runs took, but for this.
    #[cfg(test)]
    pub(super) fn expect_runs_of(&mut self, time: Duration) {
        self.pace = Pace::new();
        self.pace.ran(1, 1, time);
    }

    /// Jobs that wait for preparation, are being prepared, and wait for the tower.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        let waiting = self.waiting_interactive.len() + self.waiting_bulk.len();
        let ready = self.ready.of(Priority::Interactive).len() + self.ready.of(Priority::Bulk).len();
        (waiting, self.preparing_interactive + self.preparing_bulk, ready)
    }
}

/// Memory for what is being decoded.
#[derive(Clone, Copy)]
struct DecodingRoom {
    taken: u64,
    all: u64,
}

impl DecodingRoom {
    /// Whatever it costs, one thing after the other is decoded; and beside the largest there is room for small ones.
    fn taken_by(self, cost: u64) -> u64 {
        cost.min(self.all / 4 * 3)
    }

    fn is_for(self, cost: u64) -> bool {
        self.taken == 0 || self.taken.saturating_add(self.taken_by(cost)) <= self.all
    }
}

/// What [`State::take_gone`] found.
pub(super) struct AllGone<Raw, Item> {
    pub(super) waiting: Vec<(Gone, Job<Raw>)>,
    pub(super) ready: Vec<(Gone, Job<Ready<Item>>)>,
}

#[cfg(test)]
mod tests;
