//! Everything that can go wrong while encoding, and the one mapping to gRPC statuses.

use descry_model::ModelError;
use std::path::PathBuf;
use tonic::Status;

/// Why the encoder cannot start, or cannot encode an item.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// One item is unusable.
    #[error("{item}: {source}")]
    InvalidItem {
        /// Such as `texts[3]`.
        item: String,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The request itself is unusable.
    #[error("{reason}")]
    InvalidRequest {
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// Too much work is waiting.
    #[error("the {tower} tower's queue is full ({capacity} items); try again in {retry_after_ms} ms")]
    Overloaded {
        /// `vision` or `text`.
        tower: &'static str,
        /// How many items may wait.
        capacity: usize,
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// Too much work is waiting, by its cost.
    #[error(
        "what waits for the {tower} tower has as many pixels as may wait (batching.max_queued_megapixels); try again in \
         {retry_after_ms} ms"
    )]
    TooCostly {
        /// `vision` or `text`.
        tower: &'static str,
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// The answer would come after the deadline.
    #[error(
        "the {tower} tower would answer in about {wait_ms} ms, which is after the deadline; try again in \
         {retry_after_ms} ms, or wait longer"
    )]
    NoTime {
        /// `vision` or `text`.
        tower: &'static str,
        /// How long the answer would take.
        wait_ms: u64,
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// Too many streams are open.
    #[error("{max_streams} streams are open, no more are allowed; try again in {retry_after_ms} ms")]
    TooManyStreams {
        /// How many may be open.
        max_streams: usize,
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// Nobody can want the answer any more.
    #[error("the deadline passed before the {tower} tower came to the item")]
    Expired {
        /// `vision` or `text`.
        tower: &'static str,
    },
    /// The service is shutting down, or a worker is gone.
    #[error("the {tower} tower has stopped; the service is going down")]
    Stopped {
        /// `vision` or `text`.
        tower: &'static str,
    },
    /// The bundle is unusable.
    #[error(transparent)]
    Bundle(#[from] ModelError),
    /// ONNX Runtime's library is missing or does not load.
    #[error("ONNX Runtime: {reason}; run `make setup`, or set `onnxruntime_library` to the path of libonnxruntime.so")]
    RuntimeLibrary {
        /// What was tried.
        reason: String,
    },
    /// A device that was asked for does not come up.
    #[error("device {device}: {reason}; {remedy}, or choose another `device.name`")]
    Device {
        /// The device's name.
        device: &'static str,
        /// ONNX Runtime's reason.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A tower's graph does not load.
    #[error("cannot load {path}: {source}")]
    Session {
        /// The graph.
        path: PathBuf,
        /// ONNX Runtime's reason.
        source: ort::Error,
    },
    /// A tower broke while running.
    #[error("the {tower} tower failed: {reason}")]
    Tower {
        /// `vision` or `text`.
        tower: &'static str,
        /// The reason, for the log only.
        reason: String,
    },
    /// The towers do not repeat the bundle's stored outputs.
    #[error("self-test of the {tower} tower failed: {reason}")]
    SelfTest {
        /// `vision` or `text`.
        tower: &'static str,
        /// What was found and what is allowed.
        reason: String,
    },
    /// Listening or serving failed.
    #[error(transparent)]
    Server(#[from] descry_serving::ServerError),
}

impl From<EncodeError> for Status {
    fn from(error: EncodeError) -> Self {
        let message = error.to_string();
        match error {
            EncodeError::InvalidItem { .. } | EncodeError::InvalidRequest { .. } => Self::invalid_argument(message),
            EncodeError::Overloaded { retry_after_ms, .. }
            | EncodeError::TooCostly { retry_after_ms, .. }
            | EncodeError::NoTime { retry_after_ms, .. }
            | EncodeError::TooManyStreams { retry_after_ms, .. } => descry_serving::overloaded(message, retry_after_ms),
            EncodeError::Expired { .. } => Self::deadline_exceeded(message),
            EncodeError::Stopped { .. } => Self::unavailable(message),
            EncodeError::Bundle(_)
            | EncodeError::RuntimeLibrary { .. }
            | EncodeError::Device { .. }
            | EncodeError::Session { .. }
            | EncodeError::Tower { .. }
            | EncodeError::SelfTest { .. }
            | EncodeError::Server(_) => {
                tracing::error!(error = message, "internal failure");
                Self::internal("internal failure; the service's log has the details")
            }
        }
    }
}
