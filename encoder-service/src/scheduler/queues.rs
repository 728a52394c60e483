//! Who is next: one queue a priority, in the order of arrival.

use super::job::{Gone, Job, Priority};
use std::collections::VecDeque;
use std::time::Instant;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::fixture::JobMaker;
    use Priority::{Bulk, Interactive};

    fn payloads(queues: &Queues<usize>, priority: Priority) -> Vec<usize> {
        queues.of(priority).iter().map(|job| job.payload).collect()
    }

    #[test]
    fn jobs_stand_in_the_order_of_their_arrival() {
        let mut maker = JobMaker::new(8);
        let mut queues = Queues::new();
        let mut jobs: Vec<_> = (0..4).map(|number| Some(maker.job(number, Bulk))).collect();
        jobs.push(Some(maker.job(4, Interactive)));
        for position in [2, 0, 3, 1, 4] {
            queues.put(jobs[position].take().unwrap());
        }
        assert_eq!(payloads(&queues, Bulk), [0, 1, 2, 3]);
        assert_eq!(payloads(&queues, Interactive), [4]);
        let mut taken = Vec::new();
        queues.take_at(Bulk, &[0, 2], &mut taken);
        assert_eq!(taken.iter().map(|job| job.payload).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(payloads(&queues, Bulk), [1, 3]);
    }

    #[test]
    fn bulk_has_every_nth_turn_and_whatever_nobody_else_wants() {
        let mut turns = Turns::new(4);
        let both: Vec<_> = (0..8).map(|_| turns.take(true, true).unwrap()).collect();
        let four = [Interactive, Interactive, Interactive, Bulk];
        assert_eq!(both, [four, four].concat());
        assert_eq!(turns.take(false, true), Some(Bulk));
        assert_eq!(turns.take(true, false), Some(Interactive));
        assert_eq!(turns.take(false, false), None);
        assert_eq!(Turns::new(1).take(true, true), Some(Bulk));
    }

    #[test]
    fn what_nobody_waits_for_is_found_and_told_apart() {
        let mut maker = JobMaker::new(8);
        let mut queues = Queues::new();
        for number in 0..4 {
            queues.put(maker.job(number, Interactive));
        }
        let expired = maker.expired_job(4, Bulk);
        queues.put(expired);
        maker.cancel(1);
        maker.cancel(3);
        let mut gone = Vec::new();
        queues.take_gone(Instant::now(), 3, &mut gone);
        let found: Vec<_> = gone.iter().map(|(reason, job)| (*reason, job.payload)).collect();
        assert_eq!(found, [(Gone::Cancelled, 1), (Gone::Expired, 4)]);
        assert_eq!(payloads(&queues, Interactive), [0, 2, 3], "beyond the window nothing is looked at");
    }
}
