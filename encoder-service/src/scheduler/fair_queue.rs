//! Jobs that wait for preparation, in turns that are shared by cost.
//!
//! Weighted fair queueing (Demers, Keshav and Shenker 1989): a job is due when its flow, the list or stream that it is of,
//! would have had it done if all flows that wait were worked on at the same time, each as fast as the others. Whoever sends a
//! small image waits for hardly anything of what a hundred large ones cost, be they of one caller or of many; and what is
//! large is not passed over for more than [`SHARES`] times its own cost.

use super::job::{Gone, Job};
use super::room::Flow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// How often a job that is due is passed over for smaller ones because there is no room for what it decodes to.
const PASSES: usize = 16;

/// Among so many flows work is shared at most. With more of them nobody would ever come to what is large, as long as small
/// jobs come, each of a flow of its own.
const SHARES: u64 = 64;

/// When a job is due, and in which order of arrival.
type Due = (u64, u64);

/// Jobs of one priority.
pub(super) struct FairQueue<Payload> {
    jobs: BTreeMap<Due, Job<Payload>>,
    flows: HashMap<Flow, Backlog>,
    /// The flows that would not be done yet if all were worked on at the same time, and when each would be.
    active: BTreeSet<(u64, Flow)>,
    /// What each of them would have had done by now.
    clock: u64,
    /// Work that was too little to share.
    unshared: u64,
    /// How often the first job was passed over.
    passed_over: usize,
}

/// What waits of one flow.
struct Backlog {
    jobs: usize,
    /// When the last of them is due.
    due: u64,
}

impl<Payload> FairQueue<Payload> {
    pub(super) fn new() -> Self {
        Self {
            jobs: BTreeMap::new(),
            flows: HashMap::new(),
            active: BTreeSet::new(),
            clock: 0,
            unshared: 0,
            passed_over: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn put(&mut self, job: Job<Payload>) {
        let (flow, order) = (job.caller.flow, job.caller.order);
        let backlog = self.flows.entry(flow).or_insert(Backlog { jobs: 0, due: 0 });
        self.active.remove(&(backlog.due, flow));
        // An item that costs nothing has its turn, too.
        backlog.due = backlog.due.max(self.clock).saturating_add(job.caller.cost.max(1));
        backlog.jobs += 1;
        self.active.insert((backlog.due, flow));
        self.jobs.insert((backlog.due, order), job);
    }

    /// Takes out the first job that is due and for whose cost there is room. A job is not passed over for ever: after some
    /// times it is waited for until there is room.
    pub(super) fn take(&mut self, has_room: impl Fn(u64) -> bool) -> Option<Job<Payload>> {
        let due = self.next(has_room)?;
        let is_first = self.jobs.keys().next() == Some(&due);
        self.passed_over = if is_first { 0 } else { self.passed_over + 1 };
        let job = self.remove(due)?;
        self.share(job.caller.cost.max(1));
        Some(job)
    }

    /// Whether [`FairQueue::take`] would find something.
    pub(super) fn has_next(&self, has_room: impl Fn(u64) -> bool) -> bool {
        self.next(has_room).is_some()
    }

    /// Whether the first job was passed over so often that nothing may come before it any more.
    pub(super) fn is_waited_for(&self) -> bool {
        self.passed_over >= PASSES && !self.jobs.is_empty()
    }

    /// Room was given to another queue while the first job waited for some.
    pub(super) fn pass_over(&mut self) {
        self.passed_over = self.passed_over.saturating_add(1);
    }

    fn next(&self, has_room: impl Fn(u64) -> bool) -> Option<Due> {
        let looked_at = if self.passed_over < PASSES { usize::MAX } else { 1 };
        self.jobs.iter().take(looked_at).find(|(_, job)| has_room(job.caller.cost)).map(|(due, _)| *due)
    }

    /// What comes before the last of some items of a flow of their own that cost so much: how many jobs, and what they cost.
    pub(super) fn ahead_of(&self, cost: u64) -> (usize, u64) {
        let due = self.clock.saturating_add(cost);
        let ahead = self.jobs.range(..=(due, u64::MAX));
        ahead.fold((0, 0), |(jobs, sum): (usize, u64), (_, job)| (jobs + 1, sum.saturating_add(job.caller.cost)))
    }

    /// Takes out what needs no work any more.
    pub(super) fn take_gone(&mut self, now: Instant, gone: &mut Vec<(Gone, Job<Payload>)>) {
        let found: Vec<(Due, Gone)> =
            self.jobs.iter().filter_map(|(due, job)| Some((*due, job.caller.gone(now)?))).collect();
        for (due, reason) in found {
            if self.jobs.keys().next() == Some(&due) {
                // The next one has not been passed over yet.
                self.passed_over = 0;
            }
            let Some(job) = self.remove(due) else { continue };
            // What is left of a flow of which nothing is left was never worked on.
            if let Some(backlog) = self.flows.get(&job.caller.flow)
                && backlog.jobs == 0
            {
                self.active.remove(&(backlog.due, job.caller.flow));
                self.flows.remove(&job.caller.flow);
            }
            gone.push((reason, job));
        }
    }

    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.flows.clear();
        self.active.clear();
    }

    /// Shares work that is done among the flows as if it had been done for all of them at the same time.
    fn share(&mut self, work: u64) {
        self.unshared = self.unshared.saturating_add(work);
        while let Some(&(due, flow)) = self.active.first() {
            let shares = (self.active.len() as u64).min(SHARES);
            let until_due = due.saturating_sub(self.clock).saturating_mul(shares);
            if until_due > self.unshared {
                self.clock += self.unshared / shares;
                self.unshared %= shares;
                return;
            }
            self.unshared -= until_due;
            self.clock = self.clock.max(due);
            self.active.pop_first();
            if self.flows.get(&flow).is_some_and(|backlog| backlog.jobs == 0) {
                self.flows.remove(&flow);
            }
        }
        self.unshared = 0;
    }

    fn remove(&mut self, due: Due) -> Option<Job<Payload>> {
        let job = self.jobs.remove(&due)?;
        if let Some(backlog) = self.flows.get_mut(&job.caller.flow) {
            backlog.jobs -= 1;
            if backlog.jobs == 0 && !self.active.contains(&(backlog.due, job.caller.flow)) {
                self.flows.remove(&job.caller.flow);
            }
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::fixture::JobMaker;
    use crate::scheduler::job::Priority::Bulk;
    use proptest::prelude::*;

    const EVERYTHING: fn(u64) -> bool = |_| true;

    fn payloads(queue: &mut FairQueue<usize>) -> Vec<usize> {
        std::iter::from_fn(|| queue.take(EVERYTHING)).map(|job| job.payload).collect()
    }

    #[test]
    fn a_small_job_waits_for_none_of_a_long_list_of_large_ones() {
        let (mut queue, mut maker) = (FairQueue::new(), JobMaker::new(1_000));
        let list = Flow::open();
        for number in 0..256 {
            queue.put(maker.costly_job(number, Bulk, list, 50_000_000));
        }
        for _ in 0..10 {
            queue.take(EVERYTHING).unwrap();
        }
        queue.put(maker.costly_job(1_000, Bulk, Flow::open(), 100_000));
        assert_eq!(queue.ahead_of(100_000), (1, 100_000));
        assert_eq!(queue.take(EVERYTHING).unwrap().payload, 1_000);
        assert_eq!(queue.take(EVERYTHING).unwrap().payload, 10);
    }

    #[test]
    fn nor_of_many_callers_with_a_large_one_each() {
        let (mut queue, mut maker) = (FairQueue::new(), JobMaker::new(1_000));
        for number in 0..256 {
            queue.put(maker.costly_job(number, Bulk, Flow::open(), 50_000_000));
        }
        // Behind that, those that are left have waited long enough to have their turn.
        for served in 0..60 {
            assert_eq!(queue.take(EVERYTHING).unwrap().payload, served);
            queue.put(maker.costly_job(1_000, Bulk, Flow::open(), 100_000));
            assert_eq!(queue.take(EVERYTHING).unwrap().payload, 1_000, "after {served}");
        }
    }

    #[test]
    fn two_lists_take_turns_by_cost() {
        let (mut queue, mut maker) = (FairQueue::new(), JobMaker::new(1_000));
        let (dear, cheap) = (Flow::open(), Flow::open());
        for number in 0..4 {
            queue.put(maker.costly_job(number, Bulk, dear, 300));
        }
        for number in 10..16 {
            queue.put(maker.costly_job(number, Bulk, cheap, 100));
        }
        assert_eq!(payloads(&mut queue), [10, 11, 0, 12, 13, 14, 1, 15, 2, 3]);
    }

    #[test]
    fn what_does_not_fit_is_passed_over_some_times_and_then_waited_for() {
        let (mut queue, mut maker) = (FairQueue::new(), JobMaker::new(1_000));
        queue.put(maker.costly_job(0, Bulk, Flow::open(), 1));
        let small = Flow::open();
        for number in 1..100 {
            queue.put(maker.costly_job(number, Bulk, small, 2));
        }
        let only_two = |cost: u64| cost == 2;
        let passed: Vec<_> = std::iter::from_fn(|| queue.take(only_two)).map(|job| job.payload).collect();
        assert_eq!(passed, (1..=PASSES).collect::<Vec<_>>());
        assert!(!queue.has_next(only_two) && queue.has_next(EVERYTHING));
        assert_eq!(queue.take(EVERYTHING).unwrap().payload, 0);
        assert!(queue.has_next(only_two));
    }

    #[test]
    fn what_nobody_waits_for_is_found() {
        let (mut queue, mut maker) = (FairQueue::new(), JobMaker::new(8));
        for number in 0..4 {
            queue.put(maker.job(number, Bulk));
        }
        queue.put(maker.expired_job(4, Bulk));
        maker.cancel(1);
        let mut gone = Vec::new();
        queue.take_gone(Instant::now(), &mut gone);
        let found: Vec<_> = gone.iter().map(|(reason, job)| (*reason, job.payload)).collect();
        assert_eq!(found, [(Gone::Cancelled, 1), (Gone::Expired, 4)]);
        assert_eq!(payloads(&mut queue), [0, 2, 3]);
        assert!(queue.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// A job that is large among many small ones, each of a caller of its own who comes whenever another was served.
        #[test]
        fn nothing_is_passed_over_for_good(cost in 1_u64..60, others in 1_usize..20, small in 1_u64..50) {
            let (mut queue, mut maker) = (FairQueue::new(), JobMaker::new(1_000_000));
            queue.put(maker.costly_job(0, Bulk, Flow::open(), cost));
            for _ in 0..others {
                queue.put(maker.costly_job(1, Bulk, Flow::open(), small));
            }
            let mut spent = 0;
            while queue.take(EVERYTHING).unwrap().payload != 0 {
                spent += small;
                queue.put(maker.costly_job(1, Bulk, Flow::open(), small));
            }
            prop_assert!(spent <= SHARES * (cost + 1) + small, "{} spent on others", spent);
        }

        /// Whoever leaves, the books of the flows are kept: when nothing waits, nothing is remembered but the time.
        #[test]
        fn nothing_is_left_of_flows_that_are_done(jobs in prop::collection::vec((0_usize..4, 0_u64..100, any::<bool>()), 0..60)) {
            let (mut queue, mut maker) = (FairQueue::new(), JobMaker::new(1_000));
            let flows = [(); 4].map(|()| Flow::open());
            for (number, (flow, cost, leaves)) in jobs.into_iter().enumerate() {
                queue.put(maker.costly_job(number, Bulk, flows[flow], cost));
                if leaves {
                    maker.cancel(number);
                    queue.take_gone(Instant::now(), &mut Vec::new());
                }
                if number % 3 == 0 {
                    queue.take(EVERYTHING);
                }
            }
            payloads(&mut queue);
            prop_assert!(queue.flows.values().all(|backlog| backlog.jobs == 0));
            prop_assert_eq!(queue.flows.len(), queue.active.len());
            prop_assert!(queue.active.iter().all(|(due, _)| *due > queue.clock));
        }
    }
}
