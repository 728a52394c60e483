//! Numbers from measurements: quantiles, latencies and ratios with their spread.

use crate::BenchError;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The longest latency that is told apart from longer ones: an hour.
const LONGEST_US: u64 = 3_600_000_000;
/// Latencies are kept to three significant digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The value below which a share `rank` (0 to 1) of the values lies, interpolated between neighbours; `None` of nothing.
pub fn quantile(values: &[f64], rank: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = rank.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let below = sorted.get(position.floor() as usize)?;
    let above = sorted.get(position.ceil() as usize)?;
    Some(below + (above - below) * position.fract())
}

/// The middle value; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// How much faster one side is than the other, from rounds in which both ran one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RatioSummary {
    /// Median of the rounds' ratios; above 1 the measured side is faster than the baseline.
    pub median: f64,
    /// A quarter of the rounds lies below.
    pub lower_quartile: f64,
    /// A quarter of the rounds lies above.
    pub upper_quartile: f64,
    /// The smallest round.
    pub min: f64,
    /// The largest round.
    pub max: f64,
}

impl RatioSummary {
    /// From pairs of times `(measured, baseline)`; `None` when there are none.
    ///
    /// The median of ratios and not the ratio of medians: a machine that slows down for a while slows down both sides
    /// of a round, which cancels within the round only.
    pub fn of_times(rounds: &[(f64, f64)]) -> Option<Self> {
        let ratios: Vec<f64> = rounds.iter().map(|(measured, baseline)| baseline / measured).collect();
        Some(Self {
            median: median(&ratios)?,
            lower_quartile: quantile(&ratios, 0.25)?,
            upper_quartile: quantile(&ratios, 0.75)?,
            min: quantile(&ratios, 0.0)?,
            max: quantile(&ratios, 1.0)?,
        })
    }
}

/// Latencies of any number of requests in bounded memory.
#[derive(Debug)]
pub(crate) struct LatencyHistogram {
    microseconds: Histogram<u64>,
}

/// What is reported of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Requests measured.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_ms: f64,
    /// Half of the requests were at least as fast.
    pub p50_ms: f64,
    /// 95 of 100 requests were at least as fast.
    pub p95_ms: f64,
    /// 99 of 100 requests were at least as fast.
    pub p99_ms: f64,
    /// The slowest request.
    pub max_ms: f64,
}

impl LatencyHistogram {
    pub(crate) fn new() -> Result<Self, BenchError> {
        let microseconds = Histogram::new_with_bounds(1, LONGEST_US, SIGNIFICANT_DIGITS)
            .map_err(|error| BenchError::Report { reason: error.to_string() })?;
        Ok(Self { microseconds })
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.microseconds.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US));
    }

    /// `None` before the first request.
    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        if self.microseconds.is_empty() {
            return None;
        }
        let quantile_ms = |rank: f64| self.microseconds.value_at_quantile(rank) as f64 / 1000.0;
        Some(LatencySummary {
            count: self.microseconds.len(),
            mean_ms: self.microseconds.mean() / 1000.0,
            p50_ms: quantile_ms(0.50),
            p95_ms: quantile_ms(0.95),
            p99_ms: quantile_ms(0.99),
            max_ms: self.microseconds.max() as f64 / 1000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        let values = [40.0, 10.0, 30.0, 20.0];
        let check = |rank: f64, expected: f64| assert_eq!(quantile(&values, rank), Some(expected), "{rank}");
        check(0.0, 10.0);
        check(0.5, 25.0);
        check(0.25, 17.5);
        check(1.0, 40.0);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
    }

    #[test]
    fn latencies_are_within_three_digits() {
        let mut histogram = LatencyHistogram::new().unwrap();
        for milliseconds in 1..=1000 {
            histogram.record(Duration::from_millis(milliseconds));
        }
        let summary = histogram.summary().unwrap();
        let check = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.002, "{found} {expected}");
        assert_eq!(summary.count, 1000);
        check(summary.p50_ms, 500.0);
        check(summary.p95_ms, 950.0);
        check(summary.p99_ms, 990.0);
        check(summary.max_ms, 1000.0);
        check(summary.mean_ms, 500.5);
    }

    #[test]
    fn no_request_has_no_latency() {
        assert_eq!(LatencyHistogram::new().unwrap().summary(), None);
    }

    #[test]
    fn a_slow_spell_of_the_machine_cancels_within_its_rounds() {
        // The baseline takes twice as long; in the second half of the rounds the machine is ten times slower.
        let rounds: Vec<(f64, f64)> = (0..10).map(|round| if round < 5 { (1.0, 2.0) } else { (10.0, 20.0) }).collect();
        let summary = RatioSummary::of_times(&rounds).unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (2.0, 2.0, 2.0));
        let spread = RatioSummary::of_times(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 4.0), (1.0, 5.0)]).unwrap();
        assert_eq!((spread.lower_quartile, spread.median, spread.upper_quartile), (2.0, 3.0, 4.0));
        assert_eq!(RatioSummary::of_times(&[]), None);
    }
}
