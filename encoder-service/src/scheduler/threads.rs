//! The threads of a scheduler: preparers make what the tower reads, runners own a tower each.
//!
//! The lock is held to decide, never to prepare or to run. Each wake-up is for one thread; one that finds more than it
//! takes wakes the next.

use super::job::{Caller, Job, Lost, Priority, Ready, Run};
use super::room::Admitting;
use super::state::{Batch, State};
use super::{Prepare, SchedulerLimits};
use crate::EncodeError;
use crate::tower::Tower;
use crate::tower_metrics::TowerMetrics;
use descry_model::Patience;
use ndarray::Array2;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One failed run may be the batch's fault, so many in a row are the tower's.
const FAILURES: usize = 3;

/// What the threads and the handles of a scheduler share.
pub(super) struct Shared<T: Tower, P: Prepare<T>> {
    pub(super) state: Mutex<State<P::Raw, T::Item>>,
    pub(super) to_prepare: Condvar,
    pub(super) to_run: Condvar,
    pub(super) preparation: P,
    pub(super) admitting: Admitting,
    pub(super) metrics: TowerMetrics,
    pub(super) condition: Condition,
    /// Jobs whose caller left since the queues were last searched for such.
    pub(super) abandoned: Arc<AtomicUsize>,
    /// Nothing is worked on any more, whoever waits for it.
    halted: AtomicBool,
}

impl<T: Tower, P: Prepare<T>> Shared<T, P> {
    pub(super) fn new(preparation: P, limits: SchedulerLimits, runners: usize) -> Self {
        Self {
            state: Mutex::new(State::new(limits, runners)),
            to_prepare: Condvar::new(),
            to_run: Condvar::new(),
            preparation,
            admitting: Admitting::new(limits, runners),
            metrics: TowerMetrics::of(T::NAME),
            condition: Condition::default(),
            abandoned: Arc::new(AtomicUsize::new(0)),
            halted: AtomicBool::new(false),
        }
    }

    /// Gives up everything: what waits, and what is being prepared. A tower's run goes on to its end.
    pub(super) fn halt(&self) {
        self.halted.store(true, Ordering::Relaxed);
        self.lock().abandon();
        self.wake_all();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<P::Raw, T::Item>> {
        // Nothing in the state's methods is left half done by a panic that could be caught.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake_all(&self) {
        self.to_prepare.notify_all();
        self.to_run.notify_all();
    }

    /// Prepares jobs until none will come any more.
    pub(super) fn work_as_preparer(&self) {
        let _guard = AbandonOnPanic(self);
        while let Some(Job { payload, mut caller }) = self.wait_for_raw() {
            let slot = PreparationSlot { shared: self, priority: caller.urgency.priority, cost: caller.cost };
            let started = Instant::now();
            if let Some(gone) = caller.gone(started) {
                drop(payload);
                drop(slot);
                caller.give_up(T::NAME, gone, &self.metrics);
                continue;
            }
            let is_over = || self.halted.load(Ordering::Relaxed) || caller.gone(Instant::now()).is_some();
            let prepared = prepare_contained(&self.preparation, payload, Patience::until(&is_over));
            caller.prepare = started.elapsed();
            match prepared {
                Ok(ready) => {
                    self.admitting.prepared(caller.prepare, caller.cost);
                    slot.fill(Job { payload: ready, caller });
                }
                Err(error) => {
                    drop(slot);
                    match caller.gone(Instant::now()) {
                        Some(gone) if matches!(error, EncodeError::Stopped { .. }) => {
                            caller.give_up(T::NAME, gone, &self.metrics);
                        }
                        _ => caller.refuse(error, &self.metrics),
                    }
                }
            }
        }
    }

    fn wait_for_raw(&self) -> Option<Job<P::Raw>> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.next_to_prepare() {
                if state.is_prepared() {
                    self.to_prepare.notify_all();
                } else if state.can_prepare() {
                    self.to_prepare.notify_one();
                }
                return Some(job);
            }
            if state.is_prepared() {
                return None;
            }
            state = self.to_prepare.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs batches until none will come any more.
    pub(super) fn work_as_runner(&self, mut tower: T) {
        let _guard = AbandonOnPanic(self);
        while let Some(batch) = self.wait_for_batch() {
            self.run(&mut tower, batch);
        }
    }

    /// A batch of at least one job.
    fn wait_for_batch(&self) -> Option<Batch<T::Item>> {
        let mut state = self.lock();
        loop {
            let mut batch = state.next_batch(Instant::now());
            if batch.jobs.is_empty() && batch.gone.is_empty() {
                if state.is_done() {
                    return None;
                }
                state = self.to_run.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if state.is_closed() {
                self.wake_all();
            }
            // Slots have become free.
            if state.can_prepare() {
                self.to_prepare.notify_one();
            }
            if state.has_ready() {
                self.to_run.notify_one();
            }
            drop(state);
            for (gone, job) in batch.gone.drain(..) {
                drop(job.payload);
                job.caller.give_up(T::NAME, gone, &self.metrics);
            }
            if !batch.jobs.is_empty() {
                return Some(batch);
            }
            state = self.lock();
        }
    }

    fn run(&self, tower: &mut T, Batch { number, jobs, .. }: Batch<T::Item>) {
        let longest = jobs.iter().map(|job| job.payload.length).max().unwrap_or_default();
        let mut items = Vec::with_capacity(jobs.len());
        let mut callers = Vec::with_capacity(jobs.len());
        for Job { payload, mut caller } in jobs {
            items.push(payload.prepared.item);
            drop(caller.queued.take());
            callers.push((caller, payload.prepared.lost));
        }
        let started = Instant::now();
        // A panic must not take the thread along: every later request would wait for nobody.
        let result = catch_unwind(AssertUnwindSafe(|| tower.run(&items))).unwrap_or_else(|_| Err(panicked::<T>()));
        let ended = Instant::now();
        let run = Run { time: ended - started, ended, batch_size: items.len() };
        self.metrics.ran(run.batch_size, longest, run.time);
        self.condition.ran(result.is_ok());
        self.admitting.ran(run.time, run.batch_size);
        self.lock().run_ended(number, run.time);
        tracing::debug!(
            tower = T::NAME,
            batch_size = run.batch_size,
            longest,
            run_ms = run.time.as_secs_f64() * 1_000.0,
            "batch"
        );
        self.answer(result, callers, run);
    }

    fn answer(&self, result: Result<Array2<f32>, EncodeError>, callers: Vec<(Caller, Lost)>, run: Run) {
        let reason = match result {
            Ok(features) if features.nrows() == callers.len() => {
                for (row, (caller, lost)) in features.outer_iter().zip(callers) {
                    caller.succeed(row.to_vec(), lost, run, &self.metrics);
                }
                return;
            }
            Ok(features) => format!("{} rows for {} items", features.nrows(), callers.len()),
            Err(EncodeError::Tower { reason, .. }) => reason,
            Err(error) => error.to_string(),
        };
        for (caller, _) in callers {
            caller.refuse(EncodeError::Tower { tower: T::NAME, reason: reason.clone() }, &self.metrics);
        }
    }
}

/// Prepares one item; a panic is an error of this item alone.
pub(super) fn prepare_contained<T: Tower, P: Prepare<T>>(
    preparation: &P,
    raw: P::Raw,
    patience: Patience<'_>,
) -> Result<Ready<T::Item>, EncodeError> {
    let prepare = || {
        let prepared = preparation.prepare(raw, patience)?;
        let length = T::length(&prepared.item);
        Ok(Ready { prepared, length })
    };
    catch_unwind(AssertUnwindSafe(prepare)).unwrap_or_else(|_| Err(panicked::<T>()))
}

fn panicked<T: Tower>() -> EncodeError {
    EncodeError::Tower { tower: T::NAME, reason: "it panicked; the log has the message".to_owned() }
}

/// A job in preparation, as the state counts it. Dropping it ends the preparation without a ready job, also while a panic
/// unwinds.
struct PreparationSlot<'a, T: Tower, P: Prepare<T>> {
    shared: &'a Shared<T, P>,
    priority: Priority,
    cost: u64,
}

impl<T: Tower, P: Prepare<T>> PreparationSlot<'_, T, P> {
    /// Ends the preparation with a job for the tower, in one step: whoever looks sees it as one or the other.
    fn fill(self, job: Job<Ready<T::Item>>) {
        let Self { shared, priority, cost } = *ManuallyDrop::new(self);
        let took: Duration = job.caller.prepare;
        let mut state = shared.lock();
        state.preparation_ended(priority, cost, Some(took));
        state.put_ready(job);
        if state.is_closed() {
            shared.wake_all();
        } else {
            shared.to_run.notify_one();
        }
    }
}

impl<T: Tower, P: Prepare<T>> Drop for PreparationSlot<'_, T, P> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.preparation_ended(self.priority, self.cost, None);
        if state.is_closed() {
            self.shared.wake_all();
        }
        // Otherwise this thread itself looks for the next one, and wakes another if there is room for more.
    }
}

/// A thread that ends by a panic of the scheduler itself leaves nobody waiting for it.
struct AbandonOnPanic<'a, T: Tower, P: Prepare<T>>(&'a Shared<T, P>);

impl<T: Tower, P: Prepare<T>> Drop for AbandonOnPanic<'_, T, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().abandon();
            self.0.condition.broke();
            self.0.wake_all();
        }
    }
}

/// Whether the towers of one scheduler still work: a device that is lost fails every run, and nobody should be sent to it.
pub(super) struct Condition {
    failures_in_a_row: AtomicUsize,
    /// For good.
    broken: AtomicBool,
    works: watch::Sender<bool>,
}

impl Default for Condition {
    fn default() -> Self {
        Self { failures_in_a_row: AtomicUsize::new(0), broken: AtomicBool::new(false), works: watch::Sender::new(true) }
    }
}

impl Condition {
    /// A run ended, well or not.
    pub(super) fn ran(&self, well: bool) {
        if well {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            self.tell(true);
        } else if self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.tell(false);
        }
    }

    /// A thread of the scheduler is gone, and nothing is taken in any more, however well the last run of another one ends.
    pub(super) fn broke(&self) {
        self.broken.store(true, Ordering::Relaxed);
        self.tell(false);
    }

    /// Tells whether the towers work, and when that changes.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.works.subscribe()
    }

    fn tell(&self, works: bool) {
        self.works.send_if_modified(|told| {
            let works = works && !self.broken.load(Ordering::Relaxed);
            std::mem::replace(told, works) != works
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_count_and_a_good_run_heals() {
        let condition = Condition::default();
        let works = condition.watch();
        for well in [false, false, true, false, false] {
            condition.ran(well);
            assert!(*works.borrow());
        }
        condition.ran(false);
        assert!(!*works.borrow());
        condition.ran(true);
        assert!(*works.borrow());
        condition.broke();
        assert!(!*works.borrow());
        condition.ran(true);
        assert!(!*works.borrow(), "a run that had begun before does not heal what is broken");
    }
}
