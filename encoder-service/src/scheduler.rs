//! Requests of many callers become batches of one tower.
//!
//! Two bounded stages on plain threads: preparers turn what was sent into what the tower reads, runners own a tower
//! each and run what is ready. While one batch runs, the next one is prepared and gathers, so no timer is needed: an
//! idle service runs a lone item at once, a busy one runs full batches. Every decision is made in `state`, without
//! threads. Items whose caller is gone or whose deadline has passed are neither prepared nor run.

mod batch_plan;
mod fair_queue;
mod job;
mod pace;
mod ready_queue;
mod room;
mod state;
mod threads;

pub(crate) use job::{Lost, Prepared, Ticket};
pub use job::{Priority, Timings, Urgency};
pub(crate) use room::{Admission, Flow, Shares};

use crate::EncodeError;
use crate::tower::Tower;
use descry_model::Patience;
use job::{Caller, Job, QueuedGauge};
use room::Refusal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use threads::{Shared, prepare_contained};
use tokio::sync::{oneshot, watch};

/// Makes what a tower reads from what a caller sent.
pub(crate) trait Prepare<T: Tower>: Send + Sync + 'static {
    /// What a caller sent.
    type Raw: Send + 'static;

    /// Prepares one item, on a thread of the scheduler or on the caller's own, as long as there is patience.
    ///
    /// # Errors
    /// [`EncodeError::InvalidItem`] for an unusable item, [`EncodeError::Stopped`] when patience is over.
    fn prepare(&self, raw: Self::Raw, patience: Patience<'_>) -> Result<Prepared<T::Item>, EncodeError>;
}

/// Sizes of a scheduler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SchedulerLimits {
    /// Items admitted and not yet answered.
    pub(crate) queued: Shares,
    /// What these cost to prepare.
    pub(crate) queued_cost: Shares,
    /// What may be prepared at once, by its cost. One item always may.
    pub(crate) max_preparing_cost: u64,
    /// Items of one priority that are prepared, or being prepared, and not yet running. Both priorities together may
    /// have one full batch more.
    pub(crate) max_prepared: usize,
    /// Sizes of one run.
    pub(crate) batch: BatchLimits,
    /// Bulk work's turn comes every n-th time.
    pub(crate) bulk_turn_every: usize,
    /// Threads that prepare.
    pub(crate) preparers: usize,
}

/// Sizes of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Items.
    pub(crate) max_items: usize,
    /// Items times the longest item's length: what is computed, padding included.
    pub(crate) max_tokens: usize,
}

/// Towers behind a bounded queue. Clones share it; its threads end when the last clone is dropped.
pub(crate) struct Scheduler<T: Tower, P: Prepare<T>> {
    handle: Arc<Handle<T, P>>,
}

struct Handle<T: Tower, P: Prepare<T>> {
    shared: Arc<Shared<T, P>>,
}

impl<T: Tower, P: Prepare<T>> Drop for Handle<T, P> {
    fn drop(&mut self) {
        self.shared.lock().close();
        self.shared.wake_all();
    }
}

impl<T: Tower, P: Prepare<T>> Clone for Scheduler<T, P> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<T: Tower, P: Prepare<T>> Scheduler<T, P> {
    /// Starts a thread for each of `towers`, which are equal, and the threads that prepare for them.
    ///
    /// # Errors
    /// [`EncodeError::Tower`] when the system refuses another thread.
    pub(crate) fn start(
        towers: Vec<T>,
        preparation: P,
        limits: SchedulerLimits,
    ) -> Result<(Self, Vec<JoinHandle<()>>), EncodeError> {
        let shared = Arc::new(Shared::new(preparation, limits, towers.len()));
        // Made first: if a later thread cannot start, dropping it ends the earlier ones.
        let scheduler = Self { handle: Arc::new(Handle { shared: Arc::clone(&shared) }) };
        let failed = |error: std::io::Error| EncodeError::Tower { tower: T::NAME, reason: error.to_string() };
        let mut threads = Vec::with_capacity(towers.len() + limits.preparers);
        for tower in towers {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("{}-tower", T::NAME));
            threads.push(builder.spawn(move || shared.work_as_runner(tower)).map_err(failed)?);
        }
        for _ in 0..limits.preparers.max(1) {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("{}-prepare", T::NAME));
            threads.push(builder.spawn(move || shared.work_as_preparer()).map_err(failed)?);
        }
        Ok((scheduler, threads))
    }

    /// Tells whether the towers work, and when that changes.
    pub(crate) fn condition(&self) -> watch::Receiver<bool> {
        self.handle.shared.condition.watch()
    }

    /// Gives up all work, when it is called: what waits, and what is being prepared. It keeps no thread alive.
    pub(crate) fn halt(&self) -> Box<dyn FnOnce() + Send> {
        let shared = Arc::clone(&self.handle.shared);
        Box::new(move || shared.halt())
    }

    /// What prepares items.
    pub(crate) fn preparation(&self) -> &P {
        &self.handle.shared.preparation
    }

    /// Asks for room for all of the items of a list before any work is put into preparing them.
    ///
    /// - `costs`: what the preparation of each costs
    ///
    /// # Errors
    /// [`EncodeError::Overloaded`] without room; [`EncodeError::NoTime`] for interactive items whose deadline cannot be met,
    /// as far as can be told; [`EncodeError::InvalidRequest`] for a list that costs more than any may.
    pub(crate) fn admit(&self, costs: &[u64], urgency: Urgency) -> Result<Admission, EncodeError> {
        let shared = &self.handle.shared;
        let admitted = shared.admitting.try_admit(costs, urgency.priority);
        // Those whose caller left give their room back when it is their turn; when room is short, now.
        let admitted = match admitted {
            Err(Refusal::Items | Refusal::Cost) if self.drop_abandoned() => {
                shared.admitting.try_admit(costs, urgency.priority)
            }
            admitted => admitted,
        };
        let refused = match admitted {
            Ok(admission) => match self.time_missing_of_present(&admission, costs.len(), urgency) {
                None => return Ok(admission),
                Some(wait) => EncodeError::NoTime {
                    tower: T::NAME,
                    wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    retry_after_ms: shared.admitting.retry_after_ms(),
                },
            },
            Err(Refusal::ListTooCostly { megapixels, max_megapixels }) => {
                return Err(EncodeError::InvalidRequest {
                    reason: format!(
                        "the items of the request have {megapixels} megapixels together, at most {max_megapixels} are \
                         allowed (half of batching.max_queued_megapixels); send fewer at once"
                    ),
                });
            }
            Err(Refusal::Items) => EncodeError::Overloaded {
                tower: T::NAME,
                capacity: shared.admitting.capacity(),
                retry_after_ms: shared.admitting.retry_after_ms(),
            },
            Err(Refusal::Cost) => {
                EncodeError::TooCostly { tower: T::NAME, retry_after_ms: shared.admitting.retry_after_ms() }
            }
        };
        shared.metrics.rejected.increment(costs.len() as u64);
        Err(refused)
    }

    /// As [`Scheduler::time_missing`], behind those alone whose callers are there.
    fn time_missing_of_present(&self, admission: &Admission, items: usize, urgency: Urgency) -> Option<Duration> {
        let missing = self.time_missing(admission, items, urgency)?;
        if self.drop_abandoned() { self.time_missing(admission, items, urgency) } else { Some(missing) }
    }

    /// How long interactive items would have to wait, if that is longer than their caller does.
    fn time_missing(&self, admission: &Admission, items: usize, urgency: Urgency) -> Option<Duration> {
        let (Priority::Interactive, Some(deadline)) = (urgency.priority, urgency.deadline) else { return None };
        self.handle.shared.lock().time_missing(items, admission.cost(), deadline, Instant::now())
    }

    /// Waits for the room of one item of a stream.
    ///
    /// # Errors
    /// [`EncodeError::Expired`] at the deadline, [`EncodeError::Stopped`].
    pub(crate) async fn admit_waiting(
        &self,
        cost: u64,
        flow: Flow,
        deadline: Option<Instant>,
    ) -> Result<Admission, EncodeError> {
        let shared = &self.handle.shared;
        let admitted = match deadline {
            None => shared.admitting.admit_waiting(cost, flow).await,
            Some(deadline) => {
                let admitting = shared.admitting.admit_waiting(cost, flow);
                tokio::time::timeout_at(deadline.into(), admitting).await.map_err(|_| {
                    shared.metrics.expired.increment(1);
                    EncodeError::Expired { tower: T::NAME }
                })?
            }
        };
        admitted.ok_or(EncodeError::Stopped { tower: T::NAME })
    }

    /// Queues one admitted item to be prepared and run.
    pub(crate) fn enqueue(&self, admission: Admission, urgency: Urgency, raw: P::Raw) -> Ticket {
        let (mut caller, ticket) = self.caller(admission, urgency, Duration::ZERO);
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        if !state.is_closed() {
            caller.order = state.next_order();
            state.put_waiting(Job { payload: raw, caller });
            drop(state);
            shared.to_prepare.notify_one();
        }
        ticket
    }

    /// Prepares one admitted item on the calling thread and queues it to be run: for what takes microseconds.
    ///
    /// # Errors
    /// [`EncodeError::InvalidItem`].
    pub(crate) fn prepare_and_enqueue(
        &self,
        admission: Admission,
        urgency: Urgency,
        raw: P::Raw,
    ) -> Result<Ticket, EncodeError> {
        let shared = &self.handle.shared;
        let started = Instant::now();
        let payload = prepare_contained(&shared.preparation, raw, Patience::ENDLESS)
            .inspect_err(|error| self.count_refused(error))?;
        let (mut caller, ticket) = self.caller(admission, urgency, started.elapsed());
        let mut state = shared.lock();
        if !state.is_closed() {
            caller.order = state.next_order();
            state.put_ready(Job { payload, caller });
            drop(state);
            shared.to_run.notify_one();
        }
        Ok(ticket)
    }

    /// Counts an item that was refused before it came here.
    pub(crate) fn count_refused(&self, error: &EncodeError) {
        self.handle.shared.metrics.refused(error);
    }

    /// After how long it is worth asking again.
    pub(crate) fn retry_after_ms(&self) -> u64 {
        self.handle.shared.admitting.retry_after_ms()
    }

    fn caller(&self, admission: Admission, urgency: Urgency, prepare: Duration) -> (Caller, Ticket) {
        let shared = &self.handle.shared;
        let (reply, answer) = oneshot::channel();
        let caller = Caller {
            order: 0,
            flow: admission.flow,
            cost: admission.cost(),
            urgency,
            arrived: admission.arrived,
            prepare,
            reply,
            room: admission.into_room(),
            queued: Some(QueuedGauge::count(urgency.priority, &shared.metrics)),
        };
        (caller, Ticket::new(answer, T::NAME, Arc::clone(&shared.abandoned)))
    }

    /// Drops the jobs whose caller left or whose deadline has passed, if there may be some.
    fn drop_abandoned(&self) -> bool {
        let shared = &self.handle.shared;
        if shared.abandoned.swap(0, Ordering::Relaxed) == 0 {
            return false;
        }
        let gone = shared.lock().take_gone(Instant::now());
        // Slots may have become free.
        shared.to_prepare.notify_one();
        for (reason, job) in gone.waiting {
            job.caller.give_up(T::NAME, reason, &shared.metrics);
        }
        for (reason, job) in gone.ready {
            job.caller.give_up(T::NAME, reason, &shared.metrics);
        }
        true
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod overload_tests;
#[cfg(test)]
mod tests;
