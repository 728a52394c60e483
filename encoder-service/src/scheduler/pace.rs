//! How long work takes, from how long it took: what tells a caller at once that its deadline cannot be met.
//!
//! Runs are remembered by their size, because a run of one item takes far longer an item than one of many. What a size takes
//! that was not seen lately follows from smaller ones: twice as much takes at most twice as long.

use std::time::Duration;

/// Sizes are told apart by powers of two.
const SIZES: usize = usize::BITS as usize;
/// One in so many parts of an average is the newest sample.
const MEMORY: u32 = 4;
/// A preparation's time an item tells less than a run's: images differ.
const COST_SCALE: u64 = 1 << 16;

/// Moving averages of runs and preparations.
#[derive(Debug)]
pub(super) struct Pace {
    /// Of the runs of at least 2^n and fewer than 2^(n+1) tokens: tokens, and time.
    runs: [Option<(f64, Duration)>; SIZES],
    /// Tokens of an item in a run, padding included.
    item_tokens: f64,
    /// Time of preparing what costs [`COST_SCALE`].
    preparation: Option<Duration>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { runs: [None; SIZES], item_tokens: 1.0, preparation: None }
    }

    /// Remembers a run.
    ///
    /// - `tokens`: computed in it, padding included; at least 1
    pub(super) fn ran(&mut self, items: usize, tokens: usize, time: Duration) {
        let tokens = tokens.max(1);
        let newest = 1.0 / f64::from(MEMORY);
        let average = &mut self.runs[tokens.ilog2() as usize];
        *average = Some(match *average {
            None => (tokens as f64, time),
            Some((size, known)) => (size + (tokens as f64 - size) * newest, approach(known, time)),
        });
        self.item_tokens += (tokens as f64 / items.max(1) as f64 - self.item_tokens) * newest;
    }

    /// Remembers a preparation.
    pub(super) fn prepared(&mut self, cost: u64, time: Duration) {
        let sample = scaled(time, COST_SCALE as f64 / cost.max(1) as f64);
        self.preparation = Some(self.preparation.map_or(sample, |known| approach(known, sample)));
    }

    /// How many tokens an item has that nobody has counted.
    pub(super) fn item_tokens(&self) -> f64 {
        self.item_tokens
    }

    /// How long a run of so many tokens will take; nothing where none has been seen.
    pub(super) fn run(&self, tokens: f64) -> Duration {
        let tokens = tokens.max(1.0);
        // A larger run takes no less time: what is known of one says that a smaller one cannot take as long as it once did,
        // when the machine stood still for a moment.
        self.runs.iter().flatten().map(|&(size, time)| scaled(time, (tokens / size).max(1.0))).min().unwrap_or_default()
    }

    /// How long the preparation of what costs so much will take on one thread; nothing where none has been seen.
    pub(super) fn preparation(&self, cost: u64) -> Duration {
        scaled(self.preparation.unwrap_or_default(), cost as f64 / COST_SCALE as f64)
    }
}

/// So many times as long.
pub(super) fn scaled(time: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

fn approach(known: Duration, sample: Duration) -> Duration {
    known * (MEMORY - 1) / MEMORY + sample / MEMORY
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_size_takes_what_it_took() {
        let mut pace = Pace::new();
        assert_eq!(pace.run(100.0), Duration::ZERO);
        pace.ran(1, 10, ms(10));
        pace.ran(32, 320, ms(40));
        assert_eq!(pace.run(10.0), ms(10));
        assert_eq!(pace.run(320.0), ms(40));
        assert_eq!(pace.run(20.0), ms(20), "twice as much takes at most twice as long");
        assert_eq!(pace.run(640.0), ms(80));
        assert_eq!(pace.run(5.0), ms(10), "a smaller one is known by larger ones alone");
    }

    #[test]
    fn what_was_slow_once_is_corrected_by_smaller_runs() {
        let mut pace = Pace::new();
        pace.ran(32, 320, ms(10_000));
        pace.ran(8, 80, ms(20));
        assert_eq!(pace.run(320.0), ms(80));
    }

    #[test]
    fn what_was_slow_once_is_corrected_by_larger_runs() {
        let mut pace = Pace::new();
        pace.ran(1, 1, ms(10_000));
        pace.ran(8, 8, ms(100));
        assert_eq!(pace.run(1.0), ms(100), "it takes no longer than eight of them");
    }

    #[test]
    fn averages_follow_what_changes() {
        let mut pace = Pace::new();
        pace.ran(1, 8, ms(100));
        pace.prepared(COST_SCALE, ms(100));
        for _ in 0..40 {
            pace.ran(2, 16, ms(50));
            pace.ran(1, 8, ms(10));
            pace.prepared(2 * COST_SCALE, ms(20));
        }
        let near = |found: Duration, expected: Duration| found.abs_diff(expected) < ms(1);
        assert!(near(pace.run(8.0), ms(10)));
        assert!(near(pace.preparation(10 * COST_SCALE), ms(100)), "{:?}", pace.preparation(10 * COST_SCALE));
        assert!((pace.item_tokens() - 8.0).abs() < 0.1);
    }
}
