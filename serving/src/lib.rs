//! How a gRPC service of ours runs, whatever it serves: configuration sources, logging, metrics, traces, health,
//! reflection, limits and orderly shutdown.
//!
//! Must never know towers, galleries or messages: both services depend on this crate, it depends on neither.

pub mod config;
mod connection;
pub mod deadline;
mod in_process;
mod message_size;
mod method_names;
pub mod program;
pub mod prometheus;
mod request;
mod request_record;
mod server;
pub mod signals;
pub mod telemetry;
pub mod trace_context;
mod watchdog;

pub use descry_retry::overloaded;
pub use in_process::{GrpcChannel, in_process_channel, network_channel};
pub use program::{explain, shutdown_signal, shutdown_signal_within};
pub use server::{Health, ServerConfig, ServerError, health_service, serve};
pub use telemetry::TelemetryConfig;
pub use watchdog::EXIT_HANGING;
