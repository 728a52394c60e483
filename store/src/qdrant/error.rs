//! What Qdrant's refusals mean to the callers of the store.

use super::passing::{Cause, cause};
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

/// The delay suggested when a disk is full, in milliseconds: nobody makes room in a second.
const FULL_DISK_RETRY_AFTER_MS: u64 = 10_000;

/// The codes of gRPC statuses that are told apart here, as its specification numbers them.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const ABORTED: i32 = 10;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
}

/// Where the reason of a failure lies, and so whether another node may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The node that was asked: it is down, starting, or breaks off. Nothing else should be sent there for a while.
    Node,
    /// The node that was asked did not answer in time; it may be stopped, cut off, or only busy.
    Slowness,
    /// Another node of the cluster, or the agreement between them, which this node may see otherwise than others do.
    Cluster,
    /// The request; each node would say the same.
    Request,
}

/// A failed request, with whom it speaks of.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) error: StoreError,
    pub(super) blame: Blame,
}

/// Translates a failed request. `address` is what a missing collection stands for.
pub(super) fn translate(activity: &'static str, address: Option<&str>, error: QdrantError) -> Refusal {
    let of_request = |error| Refusal { error, blame: Blame::Request };
    let status = match &error {
        QdrantError::ResponseError { status } => status,
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
            let retry_after_ms = retry_after_seconds.saturating_mul(1_000);
            return of_request(StoreError::Overloaded { what: QDRANT, retry_after_ms });
        }
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_)
        | QdrantError::JsonToPayload(_)
        | QdrantError::PayloadDeserialization(_) => {
            return of_request(StoreError::failed(activity, error));
        }
    };
    let (code, message) = (status.code() as i32, status.message());
    let unavailable = || StoreError::Unavailable { dependency: QDRANT, reason: message.to_owned() };
    // A connection that cannot be made says why; one that breaks is an unknown error. A status that the server sent has no
    // source.
    if let Some(error @ StoreError::Unavailable { .. }) = status.source().and_then(|source| source.downcast_ref()) {
        return Refusal { error: error.clone(), blame: Blame::Node };
    }
    let is_unreachable = code == code::UNAVAILABLE || (status.source().is_some() && !is_timeout(code, message));
    if is_unreachable {
        return Refusal { error: unavailable(), blame: Blame::Node };
    }
    // Of these codes a text can say more than the code does; all others mean the request, whatever they quote.
    let may_pass = matches!(
        code,
        code::INTERNAL
            | code::UNKNOWN
            | code::CANCELLED
            | code::ABORTED
            | code::FAILED_PRECONDITION
            | code::DEADLINE_EXCEEDED
    );
    match cause(message).filter(|_| may_pass && !is_timeout(code, message)) {
        Some(Cause::Passing) => return Refusal { error: unavailable(), blame: Blame::Cluster },
        Some(Cause::DiskFull) => {
            let (what, retry_after_ms) = ("the disk of a Qdrant node", FULL_DISK_RETRY_AFTER_MS);
            return Refusal { error: StoreError::Overloaded { what, retry_after_ms }, blame: Blame::Cluster };
        }
        None => {}
    }
    if code == code::DEADLINE_EXCEEDED || is_timeout(code, message) {
        return Refusal { error: StoreError::DeadlineExceeded { activity }, blame: Blame::Slowness };
    }
    if code == code::RESOURCE_EXHAUSTED {
        return of_request(StoreError::Overloaded { what: QDRANT, retry_after_ms: RETRY_AFTER_MS });
    }
    of_request(match address {
        Some(address) if code == code::NOT_FOUND => StoreError::GalleryNotFound { address: address.to_owned() },
        _ => StoreError::failed(activity, error),
    })
}

/// Whether the client itself gave up.
fn is_timeout(code: i32, message: &str) -> bool {
    code == code::CANCELLED && message == "Timeout expired"
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::{Code, Status};

    fn check(code: Code, message: &str) -> (StoreError, Blame) {
        let Refusal { error, blame } = translate("testing", Some("street"), Status::new(code, message).into());
        (error, blame)
    }

    #[test]
    fn each_refusal_is_told_apart() {
        assert!(
            matches!(check(Code::NotFound, "no collection"), (StoreError::GalleryNotFound { address }, Blame::Request) if address == "street")
        );
        let down = check(Code::Unavailable, "down");
        assert!(matches!(down, (StoreError::Unavailable { dependency: "Qdrant", .. }, Blame::Node)));
        let reason = "cannot connect to it".to_owned();
        let unreachable = Status::from_error(Box::new(StoreError::Unavailable { dependency: QDRANT, reason }));
        let Refusal { error, blame } = translate("testing", None, unreachable.into());
        assert!(matches!(error, StoreError::Unavailable { reason, .. } if reason == "cannot connect to it"));
        assert_eq!(blame, Blame::Node);
        for (code, message) in [(Code::DeadlineExceeded, ""), (Code::Cancelled, "Timeout expired")] {
            let late = check(code, message);
            assert!(matches!(late, (StoreError::DeadlineExceeded { activity: "testing" }, Blame::Slowness)));
        }
        let busy = check(Code::ResourceExhausted, "");
        assert!(matches!(busy, (StoreError::Overloaded { what: "Qdrant", .. }, Blame::Request)));
        for code in [Code::Internal, Code::InvalidArgument, Code::Unauthenticated, Code::Cancelled] {
            assert!(matches!(check(code, "other"), (StoreError::Failed { activity: "testing", .. }, Blame::Request)));
        }
        let listing = translate("listing", None, Status::not_found("?").into());
        assert!(matches!(listing.error, StoreError::Failed { .. }), "no gallery was asked for");
    }

    #[test]
    fn a_defect_by_its_code_is_an_outage_by_its_cause() {
        let shards = "Service internal error: 2 out of 3 shards failed to apply operation. First error captured: Service \
                      internal error: Tonic status error: status: 'The service is currently unavailable'";
        for code in [Code::Internal, Code::Aborted, Code::FailedPrecondition] {
            assert!(matches!(check(code, shards), (StoreError::Unavailable { .. }, Blame::Cluster)), "{code:?}");
        }
        let late = "Timeout: 1 out of 3 shards failed to apply operation. First error captured: Timeout error: late";
        assert!(matches!(check(Code::DeadlineExceeded, late), (StoreError::Unavailable { .. }, Blame::Cluster)));
        let wrong = "Wrong input: 1 out of 3 shards failed to apply operation. The service is currently unavailable";
        assert!(matches!(check(Code::InvalidArgument, wrong), (StoreError::Failed { .. }, Blame::Request)));
        let full = check(Code::Internal, "Service internal error: No space left on device");
        assert!(matches!(full, (StoreError::Overloaded { retry_after_ms: 10_000, .. }, Blame::Cluster)));
    }
}
