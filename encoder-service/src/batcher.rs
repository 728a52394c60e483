//! Requests of many callers become batches of one tower.
//!
//! A thread owns the tower. While it runs one batch the next one gathers in a bounded queue, so no timer is needed: an
//! idle service runs a lone item at once, a busy one runs full batches. Items whose caller is gone are not run.

use crate::EncodeError;
use crate::tower::Tower;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// What a caller is told to wait when the queue is full: about one batch.
const RETRY_AFTER_MS: u64 = 200;

/// Sizes of a batcher.
#[derive(Debug, Clone, Copy)]
pub struct BatcherConfig {
    /// Items admitted and not yet answered.
    pub max_queued: usize,
    /// Items of one run.
    pub max_batch: usize,
}

/// Room in the queue for some items; given back as each item is answered or dropped.
pub struct Admission {
    permits: OwnedSemaphorePermit,
}

impl Admission {
    /// Takes the room of one item out of this admission; without room left, what comes back admits nothing.
    pub(crate) fn split_one(&mut self) -> Self {
        let take = self.permits.num_permits().min(1);
        match self.permits.split(take) {
            Some(permits) => Self { permits },
            None => unreachable!("a permit always holds the share just measured"),
        }
    }
}

/// A tower behind a bounded queue. Clones share the queue; the thread ends when the last clone is dropped.
pub struct Batcher<T: Tower> {
    queue: mpsc::Sender<Job<T::Item>>,
    room: Arc<Semaphore>,
    config: BatcherConfig,
}

struct Job<Item> {
    item: Item,
    reply: oneshot::Sender<Result<Vec<f32>, EncodeError>>,
    // Held until the item is answered, so that work in progress counts as queued.
    _permit: OwnedSemaphorePermit,
}

impl<T: Tower> Clone for Batcher<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), room: Arc::clone(&self.room), config: self.config }
    }
}

impl<T: Tower> Batcher<T> {
    /// Starts the thread that owns `tower`.
    ///
    /// # Errors
    /// [`EncodeError::Tower`] when the system refuses another thread.
    pub fn start(tower: T, config: BatcherConfig) -> Result<(Self, JoinHandle<()>), EncodeError> {
        let (queue, jobs) = mpsc::channel(config.max_queued);
        let worker = std::thread::Builder::new()
            .name(format!("{}-tower", T::NAME))
            .spawn(move || work(tower, jobs, config.max_batch))
            .map_err(|error| EncodeError::Tower { tower: T::NAME, reason: error.to_string() })?;
        Ok((Self { queue, room: Arc::new(Semaphore::new(config.max_queued)), config }, worker))
    }

    /// Asks for room for `count` items before any work is put into preparing them.
    ///
    /// # Errors
    /// [`EncodeError::Overloaded`].
    pub fn admit(&self, count: usize) -> Result<Admission, EncodeError> {
        let overloaded = |_| EncodeError::Overloaded {
            tower: T::NAME,
            capacity: self.config.max_queued,
            retry_after_ms: RETRY_AFTER_MS,
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.room).try_acquire_many_owned(count).map_err(overloaded)?;
        Ok(Admission { permits })
    }

    /// Queues one admitted item and waits for its features. Dropping the future withdraws the item.
    ///
    /// # Errors
    /// [`EncodeError::Tower`] when the tower fails, [`EncodeError::Stopped`] when its thread is gone, and
    /// [`EncodeError::Overloaded`] for an item that was not admitted.
    pub async fn submit(&self, admission: &mut Admission, item: T::Item) -> Result<Vec<f32>, EncodeError> {
        let stopped = || EncodeError::Stopped { tower: T::NAME };
        let permit = match admission.permits.split(1) {
            Some(permit) => permit,
            None => self.admit(1)?.permits,
        };
        let (reply, answer) = oneshot::channel();
        // Never waits: the queue is as long as there are permits.
        self.queue.send(Job { item, reply, _permit: permit }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

fn work<T: Tower>(mut tower: T, mut jobs: mpsc::Receiver<Job<T::Item>>, max_batch: usize) {
    while let Some(first) = jobs.blocking_recv() {
        let batch = take_batch(first, || jobs.try_recv().ok(), max_batch);
        if batch.is_empty() {
            continue;
        }
        let started = Instant::now();
        let (items, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.item, (job.reply, job._permit))).unzip();
        // A panic must not take the thread along: every later request would wait for nobody.
        let result = catch_unwind(AssertUnwindSafe(|| tower.run(&items))).unwrap_or_else(|_| {
            Err(EncodeError::Tower { tower: T::NAME, reason: "it panicked; the log has the message".to_owned() })
        });
        tracing::debug!(
            tower = T::NAME,
            batch_size = items.len(),
            run_ms = started.elapsed().as_millis() as u64,
            "batch"
        );
        answer::<T>(result, replies);
    }
}

/// The next batch: what waits, up to the limit, without items whose caller is gone.
fn take_batch<Item>(first: Job<Item>, mut next: impl FnMut() -> Option<Job<Item>>, max_batch: usize) -> Vec<Job<Item>> {
    let mut batch = Vec::new();
    let mut candidate = Some(first);
    while let Some(job) = candidate {
        if !job.reply.is_closed() {
            batch.push(job);
        }
        candidate = if batch.len() < max_batch { next() } else { None };
    }
    batch
}

type Reply = (oneshot::Sender<Result<Vec<f32>, EncodeError>>, OwnedSemaphorePermit);

fn answer<T: Tower>(result: Result<ndarray::Array2<f32>, EncodeError>, replies: Vec<Reply>) {
    let broken = |reason: String| EncodeError::Tower { tower: T::NAME, reason };
    match result {
        Ok(features) if features.nrows() == replies.len() => {
            for (row, (reply, permit)) in features.outer_iter().zip(replies) {
                // First the room, then the answer: whoever has the answer may come back at once.
                drop(permit);
                // A caller that left in the meantime is no error.
                let _ = reply.send(Ok(row.to_vec()));
            }
        }
        Ok(features) => {
            let reason = format!("{} rows for {} items", features.nrows(), replies.len());
            for (reply, permit) in replies {
                drop(permit);
                let _ = reply.send(Err(broken(reason.clone())));
            }
        }
        Err(error) => {
            let reason = error.to_string();
            for (reply, permit) in replies {
                drop(permit);
                let _ = reply.send(Err(broken(reason.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use std::sync::mpsc as blocking;
    use tokio::task::JoinHandle;

    /// Doubles each number, one batch for each permission it is given, and reports the batches it saw.
    struct Doubling {
        permissions: blocking::Receiver<()>,
        batches: mpsc::UnboundedSender<Vec<f32>>,
    }

    impl Tower for Doubling {
        type Item = f32;

        const NAME: &'static str = "text";

        fn run(&mut self, batch: &[f32]) -> Result<Array2<f32>, EncodeError> {
            self.batches.send(batch.to_vec()).unwrap();
            self.permissions.recv().unwrap();
            assert!(!batch.contains(&f32::NEG_INFINITY), "a defect in the tower");
            if batch.contains(&f32::INFINITY) {
                return Err(EncodeError::Tower { tower: Self::NAME, reason: "too large".to_owned() });
            }
            Ok(Array2::from_shape_fn((batch.len(), 1), |(row, _)| batch[row] * 2.0))
        }
    }

    struct Stage {
        batcher: Batcher<Doubling>,
        permit: blocking::Sender<()>,
        batches: mpsc::UnboundedReceiver<Vec<f32>>,
    }

    type Submitted = JoinHandle<Result<Vec<f32>, EncodeError>>;

    impl Stage {
        fn new(max_queued: usize, max_batch: usize) -> Self {
            let (permit, permissions) = blocking::channel();
            let (report, batches) = mpsc::unbounded_channel();
            let tower = Doubling { permissions, batches: report };
            let (batcher, _worker) = Batcher::start(tower, BatcherConfig { max_queued, max_batch }).unwrap();
            Self { batcher, permit, batches }
        }

        /// Submits items one by one and returns when all of them are in the queue.
        async fn submit(&self, items: &[f32]) -> Vec<Submitted> {
            let waiting = self.batcher.config.max_queued - self.batcher.queue.capacity();
            let mut submitted = Vec::new();
            for (index, &item) in items.iter().enumerate() {
                let batcher = self.batcher.clone();
                let mut admission = batcher.admit(1).unwrap();
                submitted.push(tokio::spawn(async move { batcher.submit(&mut admission, item).await }));
                while self.batcher.config.max_queued - self.batcher.queue.capacity() < waiting + index + 1 {
                    tokio::task::yield_now().await;
                }
            }
            submitted
        }

        /// Occupies the tower with a batch that runs until a permission is given.
        async fn occupy(&mut self) -> Submitted {
            let batcher = self.batcher.clone();
            let mut admission = batcher.admit(1).unwrap();
            let task = tokio::spawn(async move { batcher.submit(&mut admission, 0.0).await });
            assert_eq!(self.batches.recv().await.unwrap(), [0.0]);
            task
        }
    }

    #[tokio::test]
    async fn what_waits_becomes_batches_in_order() {
        let mut stage = Stage::new(8, 3);
        let first = stage.occupy().await;
        let others = stage.submit(&[2.0, 3.0, 4.0, 5.0]).await;
        for _ in 0..3 {
            stage.permit.send(()).unwrap();
        }
        assert_eq!(first.await.unwrap().unwrap(), [0.0]);
        for (other, expected) in others.into_iter().zip([4.0, 6.0, 8.0, 10.0]) {
            assert_eq!(other.await.unwrap().unwrap(), [expected]);
        }
        assert_eq!(stage.batches.recv().await.unwrap(), [2.0, 3.0, 4.0]);
        assert_eq!(stage.batches.recv().await.unwrap(), [5.0]);
    }

    #[tokio::test]
    async fn work_nobody_waits_for_is_not_done() {
        let mut stage = Stage::new(8, 3);
        let first = stage.occupy().await;
        let others = stage.submit(&[2.0, 3.0]).await;
        others[0].abort();
        while !others[0].is_finished() {
            tokio::task::yield_now().await;
        }
        stage.permit.send(()).unwrap();
        stage.permit.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(stage.batches.recv().await.unwrap(), [3.0]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_recovers() {
        let mut stage = Stage::new(2, 1);
        let first = stage.occupy().await;
        let second = stage.submit(&[1.0]).await;
        assert!(matches!(stage.batcher.admit(1), Err(EncodeError::Overloaded { capacity: 2, .. })));
        stage.permit.send(()).unwrap();
        stage.permit.send(()).unwrap();
        first.await.unwrap().unwrap();
        for task in second {
            task.await.unwrap().unwrap();
        }
        assert!(stage.batcher.admit(2).is_ok());
        assert!(stage.batcher.admit(3).is_err());
    }

    #[tokio::test]
    async fn a_failing_run_is_told_to_each_caller_and_the_next_one_works() {
        let mut stage = Stage::new(8, 4);
        let first = stage.occupy().await;
        let doomed = stage.submit(&[f32::INFINITY, 1.0]).await;
        stage.permit.send(()).unwrap();
        stage.permit.send(()).unwrap();
        first.await.unwrap().unwrap();
        for task in doomed {
            assert!(task.await.unwrap().unwrap_err().to_string().contains("too large"));
        }
        stage.permit.send(()).unwrap();
        let mut admission = stage.batcher.admit(1).unwrap();
        let panicked = stage.batcher.submit(&mut admission, f32::NEG_INFINITY).await.unwrap_err();
        assert!(panicked.to_string().contains("panicked"));
        stage.permit.send(()).unwrap();
        let mut admission = stage.batcher.admit(1).unwrap();
        assert_eq!(stage.batcher.submit(&mut admission, 4.0).await.unwrap(), [8.0]);
    }
}
