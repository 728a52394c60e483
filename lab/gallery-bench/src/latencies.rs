//! Times of requests, few enough to be kept one by one.

use descry_bench::{LatencySummary, quantile};
use std::time::Duration;

/// The times of some requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    milliseconds: Vec<f64>,
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.milliseconds.push(latency.as_secs_f64() * 1000.0);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.milliseconds.append(&mut other.milliseconds);
    }

    pub(crate) fn milliseconds(&self) -> &[f64] {
        &self.milliseconds
    }

    /// All of them together.
    pub(crate) fn total_s(&self) -> f64 {
        self.milliseconds.iter().sum::<f64>() / 1000.0
    }

    /// `None` before the first request.
    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        let rank = |rank: f64| quantile(&self.milliseconds, rank);
        Some(LatencySummary {
            count: self.milliseconds.len() as u64,
            p50_ms: rank(0.50)?,
            p95_ms: rank(0.95)?,
            p99_ms: rank(0.99)?,
            max_ms: rank(1.0)?,
            mean_ms: self.milliseconds.iter().sum::<f64>() / self.milliseconds.len() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_tell_the_ranks() {
        let mut latencies = Latencies::default();
        assert!(latencies.summary().is_none());
        (0..=100).for_each(|milliseconds| latencies.record(Duration::from_millis(milliseconds)));
        let summary = latencies.summary().unwrap();
        let check = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        assert_eq!(summary.count, 101);
        check(summary.p50_ms, 50.0);
        check(summary.p99_ms, 99.0);
        check(summary.max_ms, 100.0);
        check(summary.mean_ms, 50.0);
        check(latencies.total_s(), 5.05);
    }
}
