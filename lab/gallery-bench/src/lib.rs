//! How fast galleries are, and how much they cost: the embedded store alone, the search service around it, indexing from
//! image files, and what an approximate search loses of a model's accuracy.
//!
//! Must never be needed at serving time, and never print: it returns plain data that serialises to JSON, with the rows
//! of a table beside it, and the caller draws them. What is measured: [`run_store_benchmark`] the embedded store,
//! [`run_server_benchmark`] a Qdrant server,
//! [`run_service_benchmark`] the service against the store, [`run_audit_benchmark`] what an audit log costs it, [`measure_indexing`] indexing against the encoder,
//! [`measure_accuracy`] served rankings against exact ones, [`measure_overload`] a service that has more to do than it can.

mod accuracy;
mod accuracy_gallery;
mod audit_benchmark;
mod error;
mod exact_search;
mod group_benchmark;
mod group_loss;
mod group_report;
mod indexing;
mod latencies;
mod overload;
mod overload_report;
mod process_memory;
mod ranking_metrics;
mod report_row;
mod search_client;
mod search_server;
mod server_benchmark;
mod server_report;
mod service_benchmark;
mod service_report;
mod service_sides;
mod store_benchmark;
mod store_filling;
mod store_report;
mod store_searches;
mod synthetic_gallery;

pub use accuracy::{AccuracyCaption, AccuracyPlan, AccuracyReport, measure_accuracy};
pub use accuracy_gallery::AccuracyImage;
pub use audit_benchmark::{AuditPlan, AuditReport, run_audit_benchmark};
pub use error::GalleryBenchError;
pub use group_report::{GroupLoss, GroupsMeasurement};
pub use indexing::{IndexingPlan, IndexingReport, measure_indexing};
pub use overload::{OverloadPlan, measure_overload};
pub use overload_report::{OverloadReport, OverloadStep};
pub use process_memory::scratch_folder;
pub use report_row::{ReportRow, Target};
pub use server_benchmark::{ServerPlan, run_server_benchmark};
pub use server_report::ServerReport;
pub use service_benchmark::{ServicePlan, run_service_benchmark};
pub use service_report::{ServiceReport, ServiceSearches, ServiceWrites};
pub use store_benchmark::{StorePlan, run_store_benchmark};
pub use store_report::{
    FillingMeasurement, OpeningMeasurement, RecallMeasurement, SearchKind, SearchMeasurement, StoreReport,
    ThroughputMeasurement,
};
pub use synthetic_gallery::GalleryShape;

/// Told what is being done, how much of it is done, and how much there is.
pub type Progress<'a> = &'a dyn Fn(&str, u64, u64);
