//! Prepared jobs, in the order of their arrival.

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
