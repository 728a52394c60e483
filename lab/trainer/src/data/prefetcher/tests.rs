use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers, with some that are left out and some that fail.
struct Numbers {
    left_out: fn(usize) -> bool,
    failing: Option<(usize, usize)>,
    panicking: Option<(usize, usize)>,
    highest_batch: Arc<AtomicUsize>,
}

impl BatchWork for Numbers {
    type Sample = usize;
    type Batch = (usize, Vec<usize>);

    fn sample(&self, batch: usize, position: usize) -> Result<Option<usize>, TrainError> {
        self.highest_batch.fetch_max(batch, Ordering::SeqCst);
        assert_ne!(self.panicking, Some((batch, position)), "as asked for");
        if self.failing == Some((batch, position)) {
            return Err(TrainError::Thread { reason: "failed".to_owned() });
        }
        // Later positions are ready first.
        for _ in 0..8_usize.saturating_sub(position) {
            thread::yield_now();
        }
        let number = 10 * batch + position;
        Ok(Some(number).filter(|&number| !(self.left_out)(number)))
    }

    fn assemble(&self, batch: usize, samples: Vec<usize>) -> Result<(usize, Vec<usize>), TrainError> {
        Ok((batch, samples))
    }
}

fn nothing_left_out() -> Numbers {
    Numbers { left_out: |_| false, failing: None, panicking: None, highest_batch: Arc::default() }
}

fn prefetching(first_batch: usize, threads: usize, batches_ahead: usize) -> Prefetching {
    Prefetching { first_batch, threads, batches_ahead }
}

fn all<W: BatchWork>(mut prefetcher: Prefetcher<W>) -> Vec<Result<W::Batch, TrainError>> {
    std::iter::from_fn(|| prefetcher.next_batch()).collect()
}

#[test]
fn batches_come_in_order_with_samples_in_order() {
    let sizes = [3, 1, 4, 2];
    let expected: Vec<(usize, Vec<usize>)> =
        sizes.iter().enumerate().map(|(batch, &size)| (batch, (10 * batch..10 * batch + size).collect())).collect();
    for (threads, batches_ahead, first) in [(1, 1, 0), (0, 0, 0), (3, 1, 1), (4, 9, 0), (2, 2, 3), (2, 2, 4), (2, 2, 9)]
    {
        let prefetcher =
            Prefetcher::start(nothing_left_out(), &sizes, prefetching(first, threads, batches_ahead)).unwrap();
        let batches: Vec<_> = all(prefetcher).into_iter().map(Result::unwrap).collect();
        assert_eq!(batches, expected.get(first..).unwrap_or_default(), "{threads} threads from {first}");
    }
}

#[test]
fn empty_batches_are_skipped() {
    let numbers = Numbers { left_out: |number| number / 10 == 1 || number == 20, ..nothing_left_out() };
    let prefetcher = Prefetcher::start(numbers, &[1, 2, 2, 0, 1], prefetching(0, 3, 2)).unwrap();
    let batches: Vec<_> = all(prefetcher).into_iter().map(Result::unwrap).collect();
    assert_eq!(batches, [(0, vec![0]), (2, vec![21]), (4, vec![40])]);
}

#[test]
fn an_error_comes_after_the_batches_before_it_and_ends_the_rest() {
    let failing = Numbers { failing: Some((2, 1)), ..nothing_left_out() };
    let panicking = Numbers { panicking: Some((2, 1)), ..nothing_left_out() };
    for (numbers, expected) in [(failing, "failed"), (panicking, "as asked for")] {
        let prefetcher = Prefetcher::start(numbers, &[2; 6], prefetching(0, 3, 4)).unwrap();
        let mut batches = all(prefetcher);
        let last = batches.pop().unwrap().unwrap_err();
        assert!(matches!(&last, TrainError::Thread { reason } if reason.contains(expected)), "{last}");
        let before: Vec<_> = batches.into_iter().map(|batch| batch.unwrap().0).collect();
        assert_eq!(before, [0, 1]);
    }
}

#[test]
fn no_thread_works_further_ahead_than_allowed() {
    let numbers = nothing_left_out();
    let highest_batch = Arc::clone(&numbers.highest_batch);
    let mut prefetcher = Prefetcher::start(numbers, &[2; 20], prefetching(0, 4, 3)).unwrap();
    for delivered in 1..=20 {
        prefetcher.next_batch().unwrap().unwrap();
        assert!(highest_batch.load(Ordering::SeqCst) < delivered + 3);
    }
    assert!(prefetcher.next_batch().is_none());
}

#[test]
fn dropping_it_ends_its_threads() {
    let numbers = nothing_left_out();
    let highest_batch = Arc::clone(&numbers.highest_batch);
    let mut prefetcher = Prefetcher::start(numbers, &[2; 1000], prefetching(0, 4, 3)).unwrap();
    prefetcher.next_batch().unwrap().unwrap();
    drop(prefetcher);
    // The work is gone with the last thread.
    assert_eq!(Arc::strong_count(&highest_batch), 1);
}
