//! What was found of bare towers, as plain data. Field names are the JSON's.

use crate::interleaving::RoundTimes;
use crate::{RatioSummary, median};
use serde::Serialize;

/// One of a model's two towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TowerKind {
    /// Reads images.
    Vision,
    /// Reads texts.
    Text,
}

/// What was found of one tower at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TowerMeasurement {
    /// Which tower.
    pub tower: TowerKind,
    /// Items of a run.
    pub batch_size: usize,
    /// Runs of a round.
    pub batches: usize,
    /// Rounds measured.
    pub rounds: usize,
    /// The tower that was asked for.
    pub measured: SideMeasurement,
    /// The tower that it is compared with.
    pub baseline: Option<SideMeasurement>,
    /// How many times faster than the baseline, of each round's times.
    pub speedup: Option<RatioSummary>,
}

/// What was found of one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SideMeasurement {
    /// Of a run, the median of the rounds' averages.
    pub batch_ms: f64,
    /// Items by that time.
    pub items_per_s: f64,
    /// Token ids of a text with its padding, averaged over batches; absent for images.
    pub padded_tokens: Option<f64>,
}

/// What `rounds` say of a tower; `None` when none was finished.
pub(crate) fn summary(
    tower: TowerKind,
    batch_size: usize,
    batches: usize,
    rounds: &[RoundTimes],
    (padded_tokens, baseline_padded_tokens): (Option<f64>, Option<f64>),
) -> Option<TowerMeasurement> {
    let side = |times: &[f64], padded_tokens| {
        let batch_s = median(times)? / batches as f64;
        Some(SideMeasurement { batch_ms: batch_s * 1000.0, items_per_s: batch_size as f64 / batch_s, padded_tokens })
    };
    let times: Vec<f64> = rounds.iter().map(|round| round.measured_s).collect();
    let baseline_times: Vec<f64> = rounds.iter().filter_map(|round| round.baseline_s).collect();
    let pairs: Vec<(f64, f64)> = times.iter().copied().zip(baseline_times.iter().copied()).collect();
    Some(TowerMeasurement {
        tower,
        batch_size,
        batches,
        rounds: rounds.len(),
        measured: side(&times, padded_tokens)?,
        baseline: side(&baseline_times, baseline_padded_tokens),
        speedup: RatioSummary::of_times(&pairs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_several_batches_is_reported_by_batch() {
        let rounds = [(0.4, 0.8), (0.5, 1.5), (0.6, 1.2)]
            .map(|(measured_s, baseline_s)| RoundTimes { measured_s, baseline_s: Some(baseline_s) });
        let found = summary(TowerKind::Text, 8, 5, &rounds, (Some(40.0), Some(77.0))).unwrap();
        assert_eq!((found.measured.batch_ms, found.measured.items_per_s), (100.0, 80.0));
        assert_eq!(found.baseline.unwrap().padded_tokens, Some(77.0));
        assert_eq!(found.speedup.unwrap().median, 2.0);
        assert_eq!(summary(TowerKind::Text, 8, 5, &[], (None, None)), None);
    }

    #[test]
    fn without_a_baseline_there_is_no_ratio() {
        let rounds = [RoundTimes { measured_s: 0.1, baseline_s: None }];
        let found = summary(TowerKind::Vision, 1, 1, &rounds, (None, None)).unwrap();
        assert_eq!((found.baseline, found.speedup), (None, None));
    }
}
