//! What is reported of searches for people and tracks.

use crate::report_row::{ReportRow, Target};
use serde::Serialize;

/// What groups cost beside the times of their searches, and what is lost of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupsMeasurement {
    /// The first search by means after the store was opened, in milliseconds: what the store keeps of groups is made by it.
    pub first_mean_ms: f64,
    /// Memory that became resident with all searches for groups.
    pub resident_bytes: u64,
    /// What the store says that the gallery takes.
    pub counted_bytes: u64,
    /// Hits against scoring every person; empty when none were compared.
    pub losses: Vec<GroupLoss>,
}

/// People who were found, against scoring every one of them from all embeddings in float32.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupLoss {
    /// How people were scored: `best` or `mean`.
    pub pool: &'static str,
    /// Whether an exact search was asked for.
    pub exact: bool,
    /// Queries compared.
    pub queries: u64,
    /// People wanted by each.
    pub limit: u64,
    /// Share of the true people that were not found; those of equal score are as good.
    pub loss: f64,
}

/// Not one of a thousand hits may differ.
const MOST_LOSS: f64 = 0.001;

impl GroupsMeasurement {
    /// A table's rows.
    pub(crate) fn rows(&self) -> Vec<ReportRow> {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut rows = vec![
            ReportRow::new("first search by means", self.first_mean_ms, "ms"),
            ReportRow::new("memory that searches for groups added", mebibytes(self.resident_bytes), "MiB"),
            ReportRow::new("memory as the store counts it", mebibytes(self.counted_bytes), "MiB"),
        ];
        for GroupLoss { pool, exact, queries, limit, loss } in &self.losses {
            let depth = if *exact { "exact" } else { "usual depth" };
            let what = format!("people not found of the {limit} of {queries} queries, {pool}, {depth}");
            rows.push(ReportRow::new(what, *loss, "").target(Target::AtMost(MOST_LOSS)));
        }
        rows
    }
}
