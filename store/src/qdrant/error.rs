//! What Qdrant's refusals mean to the callers of the store.

use crate::StoreError;
use qdrant_client::QdrantError;
use std::error::Error as _;

const QDRANT: &str = "Qdrant";

/// The delay suggested when a full server names none, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// What else can be wrong with a collection, besides what Qdrant itself reports.
#[derive(Debug, thiserror::Error)]
pub enum QdrantStoreError {
    /// A point was written by something else.
    #[error("a point of collection {collection:?} was not written by Descry: {reason}")]
    ForeignPoint {
        /// The collection.
        collection: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server answered that nothing was changed.
    #[error("the server did not let the alias point to collection {collection:?}")]
    NotDone {
        /// The collection.
        collection: String,
    },
}

/// The codes of gRPC statuses that are told apart here, as its specification numbers them.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
}

/// Translates a failed request. `address` is what a missing collection stands for.
pub(super) fn translate(activity: &'static str, address: Option<&str>, error: QdrantError) -> StoreError {
    let status = match &error {
        QdrantError::ResponseError { status } => status,
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
            return StoreError::Overloaded { what: QDRANT, retry_after_ms: retry_after_seconds.saturating_mul(1_000) };
        }
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_)
        | QdrantError::JsonToPayload(_)
        | QdrantError::PayloadDeserialization(_) => {
            return StoreError::failed(activity, error);
        }
    };
    let (code, message) = (status.code() as i32, status.message());
    // The client reports a connection that cannot be made as an internal error, and one that breaks as an unknown one. A
    // status that the server sent has no source.
    let is_unreachable = code == code::UNAVAILABLE
        || (code == code::INTERNAL && message.starts_with("Failed to connect to"))
        || status.source().is_some();
    let is_client_timeout = code == code::CANCELLED && message == "Timeout expired";
    if code == code::DEADLINE_EXCEEDED || is_client_timeout {
        return StoreError::DeadlineExceeded { activity };
    }
    if is_unreachable {
        return StoreError::Unavailable { dependency: QDRANT, reason: message.to_owned() };
    }
    if code == code::RESOURCE_EXHAUSTED {
        return StoreError::Overloaded { what: QDRANT, retry_after_ms: RETRY_AFTER_MS };
    }
    match address {
        Some(address) if code == code::NOT_FOUND => StoreError::GalleryNotFound { address: address.to_owned() },
        _ => StoreError::failed(activity, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::{Code, Status};

    fn check(code: Code, message: &str) -> StoreError {
        translate("testing", Some("street"), Status::new(code, message).into())
    }

    #[test]
    fn each_refusal_is_told_apart() {
        assert!(
            matches!(check(Code::NotFound, "no collection"), StoreError::GalleryNotFound { address } if address == "street")
        );
        assert!(matches!(check(Code::Unavailable, "down"), StoreError::Unavailable { dependency: "Qdrant", .. }));
        assert!(matches!(check(Code::Internal, "Failed to connect to x"), StoreError::Unavailable { .. }));
        assert!(matches!(check(Code::DeadlineExceeded, ""), StoreError::DeadlineExceeded { activity: "testing" }));
        assert!(matches!(check(Code::Cancelled, "Timeout expired"), StoreError::DeadlineExceeded { .. }));
        assert!(matches!(check(Code::ResourceExhausted, ""), StoreError::Overloaded { what: "Qdrant", .. }));
        for code in [Code::Internal, Code::InvalidArgument, Code::Unauthenticated, Code::Cancelled] {
            assert!(matches!(check(code, "other"), StoreError::Failed { activity: "testing", .. }));
        }
        let listing = translate("listing", None, Status::not_found("?").into());
        assert!(matches!(listing, StoreError::Failed { .. }), "no gallery was asked for");
    }
}
