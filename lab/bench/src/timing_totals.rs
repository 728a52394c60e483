//! Where the service says the time of its answers went, summed up.

use crate::encoder_report::TimingSummary;
use descry_proto::encoder::v1::Timings;
use std::collections::BTreeMap;

/// Sums over answers.
#[derive(Debug, Default)]
pub(crate) struct TimingTotals {
    answers: u64,
    queue_ms: f64,
    prepare_ms: f64,
    run_ms: f64,
    by_batch_size: BTreeMap<u32, u64>,
}

impl TimingTotals {
    pub(crate) fn add(&mut self, timings: &Timings) {
        self.answers += 1;
        self.queue_ms += f64::from(timings.queue_ms);
        self.prepare_ms += f64::from(timings.prepare_ms);
        self.run_ms += f64::from(timings.run_ms);
        *self.by_batch_size.entry(timings.batch_size).or_default() += 1;
    }

    /// `None` before the first answer.
    pub(crate) fn summary(&self) -> Option<TimingSummary> {
        if self.answers == 0 {
            return None;
        }
        let answers = self.answers as f64;
        let runs: f64 = self.by_batch_size.iter().map(|(&size, &count)| count as f64 / f64::from(size.max(1))).sum();
        Some(TimingSummary {
            answers: self.answers,
            mean_queue_ms: self.queue_ms / answers,
            mean_prepare_ms: self.prepare_ms / answers,
            mean_run_ms: self.run_ms / answers,
            mean_batch_size: answers / runs,
            answers_by_batch_size: self.by_batch_size.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_sizes_are_averaged_over_runs() {
        let mut totals = TimingTotals::default();
        assert_eq!(totals.summary(), None);
        // A run of 8 answers eight callers, a run of 2 two.
        for (batch_size, run_ms) in [8; 8].into_iter().zip([10.0; 8]).chain([(2, 5.0), (2, 5.0)]) {
            totals.add(&Timings { queue_ms: 4.0, prepare_ms: 1.0, run_ms, batch_size });
        }
        let summary = totals.summary().unwrap();
        assert_eq!(summary.mean_batch_size, 5.0);
        assert_eq!(summary.answers_by_batch_size, BTreeMap::from([(2, 2), (8, 8)]));
        assert_eq!((summary.mean_queue_ms, summary.mean_prepare_ms, summary.mean_run_ms), (4.0, 1.0, 9.0));
    }
}
