//! Jobs for tests of what needs no threads.

use super::job::{Caller, Job, Lost, Prepared, Priority, QueuedGauge, Ready, Reply, Urgency};
use super::room::{Admitting, Flow, Shares};
use super::{BatchLimits, SchedulerLimits};
use crate::tower_metrics::TowerMetrics;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

impl SchedulerLimits {
    pub(super) fn for_tests() -> Self {
        Self {
            queued: Shares::whole(1_000),
            queued_cost: Shares::ENDLESS,
            max_preparing_cost: u64::MAX,
            max_prepared: 4,
            batch: BatchLimits { max_items: 2, max_tokens: 1_000 },
            bulk_turn_every: 4,
            preparers: 1,
        }
    }
}

/// Makes jobs and is the caller of all of them.
pub(super) struct JobMaker {
    admitting: Admitting,
    answers: Vec<Option<oneshot::Receiver<Reply>>>,
}

impl JobMaker {
    pub(super) fn new(max_queued: usize) -> Self {
        let limits = SchedulerLimits { queued: Shares::whole(max_queued), ..SchedulerLimits::for_tests() };
        Self { admitting: Admitting::new(limits, 1), answers: Vec::new() }
    }

    /// The next job in the order of arrival.
    pub(super) fn job<Payload>(&mut self, payload: Payload, priority: Priority) -> Job<Payload> {
        self.make(payload, Urgency { priority, deadline: None }, Flow::open(), 1)
    }

    /// One of a flow, whose preparation costs so much.
    pub(super) fn costly_job<Payload>(
        &mut self,
        payload: Payload,
        priority: Priority,
        flow: Flow,
        cost: u64,
    ) -> Job<Payload> {
        self.make(payload, Urgency { priority, deadline: None }, flow, cost)
    }

    /// One whose deadline has passed.
    pub(super) fn expired_job<Payload>(&mut self, payload: Payload, priority: Priority) -> Job<Payload> {
        self.job_until(payload, priority, Some(Instant::now()))
    }

    /// One that somebody waits for until then.
    pub(super) fn job_until<Payload>(
        &mut self,
        payload: Payload,
        priority: Priority,
        deadline: Option<Instant>,
    ) -> Job<Payload> {
        self.make(payload, Urgency { priority, deadline }, Flow::open(), 1)
    }

    /// One that is prepared.
    pub(super) fn ready_job(&mut self, length: usize, priority: Priority) -> Job<Ready<usize>> {
        let number = self.answers.len();
        self.job(Ready { prepared: Prepared { item: number, lost: Lost::default() }, length }, priority)
    }

    /// Leaves the job that was made as number `position`, counted from 0.
    pub(super) fn cancel(&mut self, position: usize) {
        self.answers[position] = None;
    }

    /// Items that hold room.
    pub(super) fn queued(&self) -> usize {
        self.admitting.queued()
    }

    fn make<Payload>(&mut self, payload: Payload, urgency: Urgency, flow: Flow, cost: u64) -> Job<Payload> {
        let admission = self.admitting.try_admit(&[cost], Priority::Interactive).unwrap();
        let (reply, answer) = oneshot::channel();
        self.answers.push(Some(answer));
        let caller = Caller {
            order: self.answers.len() as u64,
            flow,
            cost,
            urgency,
            arrived: admission.arrived,
            prepare: Duration::ZERO,
            reply,
            room: admission.into_room(),
            queued: Some(QueuedGauge::count(urgency.priority, &TowerMetrics::of("text"))),
        };
        Job { payload, caller }
    }
}
