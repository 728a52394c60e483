//! How a gRPC service of ours runs, whatever it serves: configuration sources, logging, health, reflection, limits and
//! orderly shutdown.
//!
//! Must never know towers, galleries or messages: both services depend on this crate, it depends on neither.

pub mod config;
mod connection;
mod explain;
mod in_memory;
mod server;
mod shutdown;
mod status;
pub mod telemetry;

pub use explain::explain;
pub use in_memory::in_memory_channel;
pub use server::{Health, ServerConfig, ServerError, health_service, serve};
pub use shutdown::shutdown_signal;
pub use status::overloaded;
