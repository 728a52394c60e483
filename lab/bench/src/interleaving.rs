//! Two sides measured in turns, so that whatever else happens on the machine happens to both.

use crate::BenchError;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Something that can run each of a round's batches.
pub(crate) trait Side {
    /// Runs the batch of this number.
    fn run(&mut self, batch: usize) -> Result<(), BenchError>;
}

/// The times of a round: all its batches, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RoundTimes {
    pub(crate) measured_s: f64,
    pub(crate) baseline_s: Option<f64>,
}

/// Runs every batch once to warm up, then `rounds` rounds of all batches, each batch by both sides one after the other.
/// Which goes first alternates, as the second finds warmer caches and a hotter CPU. Ends early, with whole rounds only,
/// when `stop` is cancelled.
pub(crate) fn interleave(
    measured: &mut dyn Side,
    mut baseline: Option<&mut dyn Side>,
    batches: usize,
    rounds: usize,
    stop: &CancellationToken,
) -> Result<Vec<RoundTimes>, BenchError> {
    for batch in 0..batches {
        if stop.is_cancelled() {
            return Ok(Vec::new());
        }
        measured.run(batch)?;
        if let Some(baseline) = baseline.as_deref_mut() {
            baseline.run(batch)?;
        }
    }
    let mut found = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let (mut measured_s, mut baseline_s) = (0.0, 0.0);
        for batch in 0..batches {
            if stop.is_cancelled() {
                return Ok(found);
            }
            let baseline_first = (round + batch) % 2 == 1;
            if baseline_first && let Some(baseline) = baseline.as_deref_mut() {
                baseline_s += time(baseline, batch)?;
            }
            measured_s += time(measured, batch)?;
            if !baseline_first && let Some(baseline) = baseline.as_deref_mut() {
                baseline_s += time(baseline, batch)?;
            }
        }
        found.push(RoundTimes { measured_s, baseline_s: baseline.is_some().then_some(baseline_s) });
    }
    Ok(found)
}

fn time(side: &mut dyn Side, batch: usize) -> Result<f64, BenchError> {
    let begin = Instant::now();
    side.run(batch)?;
    Ok(begin.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Writes down who ran which batch; cancels after so many runs.
    struct Witness<'a> {
        name: char,
        runs: &'a RefCell<Vec<String>>,
        last: usize,
        stop: CancellationToken,
    }

    impl Side for Witness<'_> {
        fn run(&mut self, batch: usize) -> Result<(), BenchError> {
            self.runs.borrow_mut().push(format!("{}{batch}", self.name));
            if self.runs.borrow().len() == self.last {
                self.stop.cancel();
            }
            Ok(())
        }
    }

    fn check(last: usize) -> (String, usize) {
        let runs = RefCell::default();
        let stop = CancellationToken::new();
        let witness = |name| Witness { name, runs: &runs, last, stop: stop.clone() };
        let (mut measured, mut baseline) = (witness('m'), witness('b'));
        let rounds = interleave(&mut measured, Some(&mut baseline), 2, 2, &stop).unwrap();
        assert!(rounds.iter().all(|round| round.baseline_s.is_some()));
        (runs.take().join(" "), rounds.len())
    }

    #[test]
    fn the_sides_take_turns_in_going_first() {
        let (order, rounds) = check(usize::MAX);
        assert_eq!(order, "m0 b0 m1 b1 m0 b0 b1 m1 b0 m0 m1 b1");
        assert_eq!(rounds, 2);
    }

    #[test]
    fn a_round_that_was_cut_off_does_not_count() {
        let (order, rounds) = check(10);
        assert_eq!(order, "m0 b0 m1 b1 m0 b0 b1 m1 b0 m0");
        assert_eq!(rounds, 1);
        assert_eq!(check(2).1, 0);
    }

    #[test]
    fn there_need_not_be_a_baseline() {
        let runs = RefCell::default();
        let stop = CancellationToken::new();
        let mut measured = Witness { name: 'm', runs: &runs, last: usize::MAX, stop: stop.clone() };
        let rounds = interleave(&mut measured, None, 1, 3, &stop).unwrap();
        assert_eq!((rounds.len(), runs.borrow().len()), (3, 4));
        assert!(rounds.iter().all(|round| round.baseline_s.is_none()));
    }
}
