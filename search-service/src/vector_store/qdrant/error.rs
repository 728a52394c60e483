//! What Qdrant's refusals mean to the callers of the store.

use crate::SearchError;
use qdrant_client::QdrantError;
use std::error::Error;
use tonic::{Code, Status};

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

/// Translates a failed request. `gallery` is what a missing collection stands for.
pub(super) fn search_error(activity: &'static str, gallery: Option<&str>, error: QdrantError) -> SearchError {
    let status = match &error {
        QdrantError::ResponseError { status } => status,
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
            return SearchError::Overloaded { what: QDRANT, retry_after_ms: retry_after_seconds.saturating_mul(1_000) };
        }
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_)
        | QdrantError::JsonToPayload(_)
        | QdrantError::PayloadDeserialization(_) => {
            return SearchError::Store { activity, source: Box::new(error) };
        }
    };
    if is_unreachable(status) {
        return SearchError::Unavailable { dependency: QDRANT, reason: status.message().to_owned() };
    }
    if status.code() == Code::DeadlineExceeded || is_client_timeout(status) {
        return SearchError::DeadlineExceeded { activity };
    }
    if status.code() == Code::ResourceExhausted {
        return SearchError::Overloaded { what: QDRANT, retry_after_ms: RETRY_AFTER_MS };
    }
    match gallery {
        Some(name) if status.code() == Code::NotFound => SearchError::GalleryNotFound { name: name.to_owned() },
        _ => SearchError::Store { activity, source: Box::new(error) },
    }
}

/// The client reports a connection that cannot be made as an internal error, and one that breaks as an unknown one.
fn is_unreachable(status: &Status) -> bool {
    status.code() == Code::Unavailable
        || (status.code() == Code::Internal && status.message().starts_with("Failed to connect to"))
        || status.source().is_some_and(|source| source.is::<tonic::transport::Error>())
}

fn is_client_timeout(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == "Timeout expired"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, message: &str) -> SearchError {
        search_error("testing", Some("street"), Status::new(code, message).into())
    }

    #[test]
    fn each_refusal_is_told_apart() {
        assert!(
            matches!(check(Code::NotFound, "no collection"), SearchError::GalleryNotFound { name } if name == "street")
        );
        assert!(matches!(check(Code::Unavailable, "down"), SearchError::Unavailable { dependency: "Qdrant", .. }));
        assert!(matches!(check(Code::Internal, "Failed to connect to x"), SearchError::Unavailable { .. }));
        assert!(matches!(check(Code::DeadlineExceeded, ""), SearchError::DeadlineExceeded { activity: "testing" }));
        assert!(matches!(check(Code::Cancelled, "Timeout expired"), SearchError::DeadlineExceeded { .. }));
        assert!(matches!(check(Code::ResourceExhausted, ""), SearchError::Overloaded { what: "Qdrant", .. }));
        for code in [Code::Internal, Code::InvalidArgument, Code::Unauthenticated, Code::Cancelled] {
            assert!(matches!(check(code, "other"), SearchError::Store { activity: "testing", .. }));
        }
        let listing = search_error("listing", None, Status::not_found("?").into());
        assert!(matches!(listing, SearchError::Store { .. }), "no gallery was asked for");
    }
}
