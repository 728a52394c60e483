//! How fast the encoder is: load over gRPC against the service, and the bare towers without it.
//!
//! Must never be needed at serving time, and never print: it returns plain data that serialises to JSON, and the caller
//! draws it. What is measured: [`run_encoder_benchmark`] a whole service, [`measure_towers`] the towers alone,
//! [`measure_preparation`] decoding and resizing alone.

mod arrivals;
mod encoder_benchmark;
mod encoder_calls;
mod encoder_plan;
mod encoder_report;
mod encoder_run;
mod error;
mod image_preparation;
mod interleaving;
mod lane;
mod latency_plot;
mod pacing;
mod process_usage;
mod product_rate;
mod recorder;
mod sender;
mod service;
mod soak;
mod statistics;
mod stream_lane;
mod synthetic_images;
mod timing_totals;
mod tower_inputs;
mod tower_measurement;
mod towers;
mod workload;

pub use arrivals::PoissonArrivals;
pub use encoder_benchmark::run_encoder_benchmark;
pub use encoder_plan::{EncoderPlan, LoadShape, Transport, WorkloadKind};
pub use encoder_report::{
    EncoderReport, EncoderSettings, Failure, ItemKind, LoadMeasurement, ModelSummary, ProcessMeasurement, RunReport,
    TimingSummary,
};
pub use error::BenchError;
pub use image_preparation::{PreparationMeasurement, measure_preparation};
pub use latency_plot::latency_plot;
pub use product_rate::{ProductRate, ProductShape, measure_product_rate};
pub use service::ServiceUnderTest;
pub use soak::{SoakPlan, SoakSample, growth, soak};
pub use statistics::{LatencySummary, RatioSummary, median, quantile};
pub use tower_inputs::TextInputs;
pub use tower_measurement::{SideMeasurement, TowerKind, TowerMeasurement};
pub use towers::{LoadedTowers, TowerPlan, TowerSubject, measure_towers};
pub use workload::{Workload, load_captions, load_images};
