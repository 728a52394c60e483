//! What is reported of a service that has more to do than it can.

use crate::report_row::{ReportRow, Target};
use descry_bench::LatencySummary;
use serde::Serialize;

/// Everything that was measured; what an interruption prevented is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverloadReport {
    /// Searches a second that callers who wait for answers get at most.
    pub peak_per_s: f64,
    /// Each load.
    pub steps: Vec<OverloadStep>,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// What became of the searches of one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverloadStep {
    /// How many times the peak was offered.
    pub factor: f64,
    /// The deadline of each search; `None` for none.
    pub deadline_ms: Option<u64>,
    /// Searches that came, a second.
    pub offered_per_s: f64,
    /// Searches that were answered in time, a second.
    pub goodput_per_s: f64,
    /// The same as a share of the peak.
    pub share_of_peak: f64,
    /// Searches that were answered in time.
    pub answered: u64,
    /// Searches that were refused as too many.
    pub refused: u64,
    /// Searches whose deadline passed.
    pub late: u64,
    /// Searches that met no service.
    pub unavailable: u64,
    /// Searches that failed otherwise; there should be none.
    pub broken: u64,
    /// Searches that got no answer at all, or were not sent because so many had none.
    pub unanswered: u64,
    /// Of those that were answered.
    pub latency: Option<LatencySummary>,
}

impl OverloadReport {
    /// A table's rows.
    pub fn rows(&self) -> Vec<ReportRow> {
        let mut rows = vec![ReportRow::new("the most that it can do", self.peak_per_s, "searches/s")];
        for step in &self.steps {
            let deadline = step.deadline_ms.map_or("no deadline".to_owned(), |deadline_ms| format!("{deadline_ms} ms"));
            let what = |found: &str| format!("{} times, {deadline}: {found}", step.factor);
            let share = ReportRow::new(what("answered in time, share of the most"), step.share_of_peak, "");
            rows.push(share.target(Target::AtLeast(0.9)));
            if let Some(latency) = step.latency {
                let p99 = ReportRow::new(what("p99 of these"), latency.p99_ms, "ms");
                rows.push(match step.deadline_ms {
                    Some(deadline_ms) => p99.target(Target::AtMost(deadline_ms as f64)),
                    None => p99,
                });
            }
            rows.push(ReportRow::new(what("too late"), step.late as f64, ""));
            rows.push(ReportRow::new(what("broken"), step.broken as f64, "").target(Target::AtMost(0.0)));
        }
        rows
    }
}
