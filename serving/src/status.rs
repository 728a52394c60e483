//! Statuses with details that every service words alike.

use std::time::Duration;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// `RESOURCE_EXHAUSTED` with `google.rpc.RetryInfo`, so that clients need not parse the message.
pub fn overloaded(message: impl Into<String>, retry_after_ms: u64) -> Status {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(retry_after_ms)));
    Status::with_error_details(tonic::Code::ResourceExhausted, message, details)
}
