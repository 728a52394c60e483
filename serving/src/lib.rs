//! How a gRPC service of ours runs, whatever it serves: configuration sources, logging, metrics, traces, health,
//! reflection, who may call, limits and orderly shutdown.
//!
//! Must never know towers, galleries or messages: both services depend on this crate, it depends on neither.

mod access;
mod admission;
pub mod config;
mod connection;
mod connections;
pub mod deadline;
mod exposure;
mod grants;
mod guard;
mod http2;
mod in_process;
mod message_frames;
mod message_size;
mod method_names;
mod outgoing;
pub mod program;
pub mod prometheus;
mod refusals;
mod reply_body;
mod request;
mod request_body;
mod request_record;
mod sent_token;
mod server;
mod shares;
pub mod signals;
mod standing;
pub mod telemetry;
pub mod trace_context;
mod watchdog;

pub use access::{Access, AccessConfig, CertificateScopes, PermittedStream, permitted, refusal};
pub use descry_retry::overloaded;
pub use in_process::{GrpcChannel, in_process_channel, network_channel};
pub use outgoing::channel_to;
pub use program::{explain, shutdown_signal, shutdown_signal_within};
pub use refusals::{Recorded, RefusalObserver, Refused};
pub use request_record::code_name;
pub use sent_token::SentToken;
pub use server::{Health, ServerConfig, ServerError, health_service, serve, serve_telling};
pub use shares::{Exceeded, Peer, Share, Shares};
pub use telemetry::TelemetryConfig;
pub use watchdog::EXIT_HANGING;
