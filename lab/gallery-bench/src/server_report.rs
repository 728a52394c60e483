//! What is reported of a Qdrant server.

use crate::report_row::{ReportRow, Target};
use crate::server_benchmark::ServerPlan;
use crate::store_report::{FillingMeasurement, RecallMeasurement, SearchMeasurement, ThroughputMeasurement};
use crate::synthetic_gallery::GalleryShape;
use serde::Serialize;

/// What the default accuracy is to reach.
const RECALL_TARGET: f64 = 0.99;

/// Everything that was measured; what an interruption prevented is missing. What the server needs of memory and disk it does
/// not tell over gRPC: its own telemetry does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerReport {
    /// Images of the gallery.
    pub images: u64,
    /// What their embeddings look like.
    pub shape: GalleryShape,
    /// Nodes that were asked.
    pub nodes: usize,
    /// Writing; missing when the gallery was there already.
    pub filling: Option<FillingMeasurement>,
    /// From the last write until the server said that its index is complete, in seconds.
    pub indexing_s: Option<f64>,
    /// Searches of one caller.
    pub searches: Vec<SearchMeasurement>,
    /// How many of the true hits are found, by how thoroughly the server is asked.
    pub recall: Vec<RecallMeasurement>,
    /// Searches of several callers at once.
    pub throughput: Vec<ThroughputMeasurement>,
    /// Whether it was ended early.
    pub interrupted: bool,
}

impl ServerReport {
    pub(crate) fn of(plan: &ServerPlan, filling: Option<FillingMeasurement>) -> Self {
        Self {
            images: plan.images,
            shape: plan.shape,
            nodes: plan.server.urls.len().max(1),
            filling,
            indexing_s: None,
            searches: Vec::new(),
            recall: Vec::new(),
            throughput: Vec::new(),
            interrupted: false,
        }
    }

    /// A table's rows.
    pub fn rows(&self) -> Vec<ReportRow> {
        let mut rows = Vec::new();
        if let Some(filling) = &self.filling {
            let what = |rank| format!("writing {} images, {rank}", filling.batch_images);
            rows.push(ReportRow::new("durable writes", filling.images_per_s, "images/s"));
            rows.push(ReportRow::new(what("p50"), filling.batch.p50_ms, "ms"));
            rows.push(ReportRow::new(what("p99"), filling.batch.p99_ms, "ms"));
        }
        rows.extend(self.indexing_s.map(|seconds| ReportRow::new("index complete after", seconds, "s")));
        for SearchMeasurement { kind, latency } in &self.searches {
            let row = |rank: &str, value| ReportRow::new(format!("{}, {rank}", kind.name()), value, "ms");
            rows.extend([row("p50", latency.p50_ms), row("p99", latency.p99_ms), row("mean", latency.mean_ms)]);
        }
        for RecallMeasurement { queries, limit, hnsw_ef, recall } in &self.recall {
            let view = hnsw_ef.map(|hnsw_ef| format!(", {hnsw_ef} images in view")).unwrap_or_default();
            let row = ReportRow::new(format!("Recall@{limit} of {queries} queries{view}"), *recall, "");
            rows.push(row.target(Target::AtLeast(RECALL_TARGET)));
        }
        for ThroughputMeasurement { callers, queries_per_s, latency } in &self.throughput {
            rows.push(ReportRow::new(format!("{callers} callers"), *queries_per_s, "queries/s"));
            rows.push(ReportRow::new(format!("{callers} callers, p99"), latency.p99_ms, "ms"));
        }
        rows
    }
}
