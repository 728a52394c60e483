//! How a gRPC service of ours runs, whatever it serves: configuration sources, logging, metrics, traces, health,
//! reflection, limits and orderly shutdown.
//!
//! Must never know towers, galleries or messages: both services depend on this crate, it depends on neither.

pub mod config;
mod connection;
pub mod deadline;
mod explain;
mod health_probe;
mod in_memory;
mod method_names;
pub mod metrics;
mod metrics_page;
mod otlp;
mod process_status;
pub mod program;
mod request;
mod request_record;
pub mod retry;
mod server;
mod shutdown;
mod status;
pub mod telemetry;
pub mod trace_context;

pub use explain::explain;
pub use in_memory::in_memory_channel;
pub use otlp::TelemetryConfig;
pub use server::{Health, ServerConfig, ServerError, health_service, serve};
pub use shutdown::shutdown_signal;
pub use status::overloaded;
