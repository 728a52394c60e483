//! Threads that prepare batches ahead of whoever takes them, in order and within bounded memory.
//!
//! Threads are handed single samples, not whole batches, so that all of them work on the batch that is waited for.
//! Whoever finishes a batch's last sample puts it together.

use crate::TrainError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How samples and batches are made. Called from several threads, in any order; a panic becomes an error.
pub(super) trait BatchWork: Send + Sync + 'static {
    /// A part of a batch.
    type Sample: Send + 'static;
    /// What is delivered.
    type Batch: Send + 'static;

    /// Makes the sample at a position of a batch; `None` leaves it out.
    fn sample(&self, batch: usize, position: usize) -> Result<Option<Self::Sample>, TrainError>;

    /// Puts the samples of a batch together, those that were not left out, at least one, in order of their positions.
    fn assemble(&self, batch: usize, samples: Vec<Self::Sample>) -> Result<Self::Batch, TrainError>;
}

/// How far and with how many threads it is worked ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefetching {
    /// The first batch that is made, from 0.
    pub(super) first_batch: usize,
    /// Threads; 0 is taken as 1.
    pub(super) threads: usize,
    /// Batches that are ready or being made while another is with whoever took it; 0 is taken as 1.
    pub(super) batches_ahead: usize,
}

/// Batches in order. Dropping it ends its threads, each after the sample it is at.
pub(super) struct Prefetcher<W: BatchWork> {
    shared: Arc<Shared<W>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<W: BatchWork> {
    work: W,
    batches_ahead: usize,
    state: Mutex<State<W>>,
    /// There may be a sample to take, or nothing more to do.
    to_prepare: Condvar,
    /// A batch may be ready.
    to_deliver: Condvar,
}

struct State<W: BatchWork> {
    /// Every batch, also those delivered; they are empty by then.
    batches: Vec<BatchProgress<W>>,
    /// The sample that is handed out next.
    next: SamplePosition,
    /// The batch that is delivered next.
    delivered: usize,
    /// Whether no more samples are handed out; those at work are finished.
    is_stopped: bool,
}

#[derive(Debug, Clone, Copy)]
struct SamplePosition {
    batch: usize,
    position: usize,
}

struct BatchProgress<W: BatchWork> {
    size: usize,
    finished: usize,
    /// By position; made when the first one is finished.
    samples: Vec<Option<W::Sample>>,
    result: Option<Finished<W>>,
}

/// `None`: every sample was left out.
type Finished<W> = Result<Option<<W as BatchWork>::Batch>, TrainError>;

impl<W: BatchWork> Prefetcher<W> {
    /// Starts the threads for batches of the given numbers of samples.
    ///
    /// # Errors
    /// [`TrainError::Thread`] when the system refuses one.
    pub(super) fn start(work: W, sizes: &[usize], prefetching: Prefetching) -> Result<Self, TrainError> {
        let progress = |&size: &usize| BatchProgress::<W> {
            size,
            finished: 0,
            samples: Vec::new(),
            // Nobody would ever finish a sample of an empty one.
            result: (size == 0).then_some(Ok(None)),
        };
        let state = State {
            batches: sizes.iter().map(progress).collect(),
            next: SamplePosition { batch: prefetching.first_batch, position: 0 },
            delivered: prefetching.first_batch,
            is_stopped: false,
        };
        let shared = Arc::new(Shared {
            work,
            batches_ahead: prefetching.batches_ahead.max(1),
            state: Mutex::new(state),
            to_prepare: Condvar::new(),
            to_deliver: Condvar::new(),
        });
        let mut this = Self { shared, threads: Vec::new() };
        for number in 0..prefetching.threads.max(1) {
            let shared = Arc::clone(&this.shared);
            let started = thread::Builder::new().name(format!("prepare-{number}")).spawn(move || shared.prepare());
            // Those that were started end when `this` is dropped.
            let thread =
                started.map_err(|error| TrainError::Thread { reason: format!("it could not be started: {error}") })?;
            this.threads.push(thread);
        }
        Ok(this)
    }

    /// Waits for the next batch that is not empty. `None` after the last one, and after an error.
    ///
    /// # Errors
    /// The first one of the batch's samples or of putting them together; [`TrainError::Thread`] for a panic there.
    pub(super) fn next_batch(&mut self) -> Option<Result<W::Batch, TrainError>> {
        let mut state = self.shared.lock();
        loop {
            let number = state.delivered;
            let result = state.batches.get_mut(number)?.result.take();
            let Some(result) = result else {
                state = self.shared.to_deliver.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.delivered = number + 1;
            self.shared.to_prepare.notify_all();
            match result {
                Ok(Some(batch)) => return Some(Ok(batch)),
                Ok(None) => {}
                Err(error) => {
                    state.delivered = state.batches.len();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<W: BatchWork> Drop for Prefetcher<W> {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.to_prepare.notify_all();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl<W: BatchWork> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // The work runs without the lock; nothing in the state is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes samples until there are none any more.
    fn prepare(&self) {
        while let Some(at) = self.wait_for_sample() {
            let sample = contained(|| self.work.sample(at.batch, at.position));
            let Some(samples) = self.finish_sample(at, sample) else { continue };
            let result = if samples.is_empty() {
                Ok(None)
            } else {
                contained(|| self.work.assemble(at.batch, samples)).map(Some)
            };
            self.finish_batch(at.batch, result);
        }
    }

    fn wait_for_sample(&self) -> Option<SamplePosition> {
        let mut state = self.lock();
        loop {
            if state.is_stopped || state.next.batch >= state.batches.len() {
                return None;
            }
            if state.next.batch >= state.delivered.saturating_add(self.batches_ahead) {
                state = self.to_prepare.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let at = state.next;
            if at.position < state.batches[at.batch].size {
                state.next.position += 1;
                return Some(at);
            }
            state.next = SamplePosition { batch: at.batch + 1, position: 0 };
        }
    }

    /// Keeps a sample; all of the batch's when it was the last one.
    fn finish_sample(
        &self,
        at: SamplePosition,
        sample: Result<Option<W::Sample>, TrainError>,
    ) -> Option<Vec<W::Sample>> {
        let mut state = self.lock();
        let progress = &mut state.batches[at.batch];
        progress.finished += 1;
        match sample {
            Ok(Some(sample)) => {
                if progress.samples.is_empty() {
                    progress.samples.resize_with(progress.size, || None);
                }
                progress.samples[at.position] = Some(sample);
            }
            Ok(None) => {}
            Err(error) => {
                drop(state);
                self.finish_batch(at.batch, Err(error));
                return None;
            }
        }
        // A batch that failed meanwhile is complete only in number: `finish_batch` keeps its error.
        if progress.finished < progress.size {
            return None;
        }
        Some(std::mem::take(&mut progress.samples).into_iter().flatten().collect())
    }

    fn finish_batch(&self, batch: usize, result: Finished<W>) {
        let mut state = self.lock();
        // Whoever takes the batches sees the error after all batches before it: their samples were handed out earlier.
        state.is_stopped |= result.is_err();
        let progress = &mut state.batches[batch];
        if !matches!(progress.result, Some(Err(_))) {
            progress.result = Some(result);
        }
        drop(state);
        self.to_deliver.notify_all();
        self.to_prepare.notify_all();
    }
}

fn contained<T>(work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(TrainError::Thread { reason: format!("preparing a batch panicked: {}", panic_message(&*panic)) })
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(message) = panic.downcast_ref::<&str>() {
        return message;
    }
    panic.downcast_ref::<String>().map_or("it gave no reason", String::as_str)
}

#[cfg(test)]
mod tests;
