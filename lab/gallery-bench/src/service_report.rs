//! What is reported of the search service beside the bare store.

use crate::report_row::{ReportRow, Target};
use crate::synthetic_gallery::GalleryShape;
use descry_bench::{LatencySummary, RatioSummary};
use serde::Serialize;

/// Everything that was measured; what an interruption prevented is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceReport {
    /// Images of each of the two galleries.
    pub images: u64,
    /// What their embeddings look like.
    pub shape: GalleryShape,
    /// Writing in turns.
    pub writes: Option<ServiceWrites>,
    /// Searching in turns.
    pub searches: Option<ServiceSearches>,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// Writing embeddings through the service and into the bare store, in turns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServiceWrites {
    /// Images of a request, and of a write to the bare store.
    pub batch_images: u64,
    /// Requests under way at once.
    pub requests_in_flight: u64,
    /// Turns that count.
    pub turns: u64,
    /// Through the service.
    pub service_images_per_s: f64,
    /// Into the bare store.
    pub store_images_per_s: f64,
    /// The service's rate as a share of the store's, of each turn.
    pub share: RatioSummary,
}

/// The same queries to the service and to the bare store, in turns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServiceSearches {
    /// Over gRPC, with an embedding as the query.
    pub service: LatencySummary,
    /// The call of the bare store.
    pub store: LatencySummary,
    /// The middle of the differences between the two answers to a query.
    pub difference_p50_ms: f64,
    /// Queries that the two answered with other images; the galleries are equal, so there should be none.
    pub different_answers: u64,
}

impl ServiceReport {
    /// A table's rows.
    pub fn rows(&self) -> Vec<ReportRow> {
        let mut rows = Vec::new();
        if let Some(writes) = &self.writes {
            rows.push(ReportRow::new("writing through the service", writes.service_images_per_s, "images/s"));
            rows.push(ReportRow::new("writing into the store", writes.store_images_per_s, "images/s"));
            let share = ReportRow::new("share, median", writes.share.median, "");
            rows.push(share.target(Target::AtLeast(0.9)));
            rows.push(ReportRow::new("share, lower quartile", writes.share.lower_quartile, ""));
            rows.push(ReportRow::new("share, upper quartile", writes.share.upper_quartile, ""));
        }
        if let Some(searches) = &self.searches {
            let ServiceSearches { service, store, difference_p50_ms, different_answers } = searches;
            rows.push(ReportRow::new("search through the service, p50", service.p50_ms, "ms"));
            rows.push(ReportRow::new("search through the service, p99", service.p99_ms, "ms"));
            rows.push(ReportRow::new("search in the store, p50", store.p50_ms, "ms"));
            rows.push(ReportRow::new("search in the store, p99", store.p99_ms, "ms"));
            let between = ReportRow::new("difference of the p50", service.p50_ms - store.p50_ms, "ms");
            rows.push(between.target(Target::AtMost(1.0)));
            rows.push(ReportRow::new("difference of a query, p50", *difference_p50_ms, "ms"));
            let other = ReportRow::new("queries answered otherwise", *different_answers as f64, "");
            rows.push(other.target(Target::AtMost(0.0)));
        }
        rows
    }
}
