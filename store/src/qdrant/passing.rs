//! Which of Qdrant's internal errors pass by themselves. Pure.
//!
//! A cluster answers a request that it cannot carry out at present, because a peer is down or has no leader, with the code
//! of a defect: `INTERNAL`, and a text. Nothing but the text tells the two apart. The texts are those of Qdrant 1.18's own
//! sources (the file stands beside each); what another release words otherwise is taken for a defect again, and seen.

/// What a cause means for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It may succeed a little later, with nothing changed by anybody.
    Passing,
    /// A disk is full: nothing passes by itself, but nothing is broken either.
    DiskFull,
}

/// Texts in small letters, each with what it means. The first that occurs counts, so what never passes stands first.
const CAUSES: [(&str, Cause); 24] = [
    // lib/collection/src/operations/types.rs (OutOfDisk), lib/collection/src/update_workers, and the system's own words.
    ("no space left on device", Cause::DiskFull),
    ("out of disk", Cause::DiskFull),
    ("not enough space available on disk", Cause::DiskFull),
    // tonic/src/status.rs: how a peer's answer `UNAVAILABLE`, `DEADLINE_EXCEEDED` or `CANCELLED` is printed where it is
    // passed on, as in "2 out of 3 shards failed to apply operation. First error captured: Service internal error: Tonic
    // status error: status: 'The service is currently unavailable', …".
    ("the service is currently unavailable", Cause::Passing),
    ("deadline expired before operation could complete", Cause::Passing),
    ("the operation was cancelled", Cause::Passing),
    // lib/collection/src/operations/types.rs: From<tonic::transport::Error>; lib/api/src/grpc/transport_channel_pool.rs.
    ("tonic transport error", Cause::Passing),
    ("transport error", Cause::Passing),
    ("failed to connect to", Cause::Passing),
    ("connection refused", Cause::Passing),
    // lib/collection/src/operations/types.rs: CollectionError::Timeout of a peer, within the failure of a shard.
    ("first error captured: timeout error", Cause::Passing),
    // lib/storage/src/content_manager/errors.rs: ShardUnavailable, and what was under way while a node shuts down.
    ("shard temporarily unavailable", Cause::Passing),
    ("operation cancelled", Cause::Passing),
    // lib/collection/src/shards/replica_set/update.rs.
    ("has no active replica", Cause::Passing),
    ("no leader could be selected", Cause::Passing),
    ("ordering via leader peer", Cause::Passing),
    ("consistency of this update is not guaranteed. please retry", Cause::Passing),
    ("all attempts were rejected", Cause::Passing),
    // lib/collection/src/shards/replica_set/execute_read_operation.rs.
    ("does not have enough active replicas", Cause::Passing),
    // lib/storage/src/content_manager/consensus_manager.rs and errors.rs: creating, deleting and switching collections
    // while the cluster has no leader, or another one than a moment ago.
    ("leader is not established", Cause::Passing),
    ("waiting for consensus operation commit failed", Cause::Passing),
    ("error occurred while waiting for consensus operation", Cause::Passing),
    ("error in raft consensus", Cause::Passing),
    ("pre-condition failure", Cause::Passing),
];

/// The cause that a message names, if it is one that is known not to be a defect.
pub(super) fn cause(message: &str) -> Option<Cause> {
    let message = message.to_lowercase();
    CAUSES.iter().find(|(text, _)| message.contains(text)).map(|&(_, cause)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_is_broken() {
        let passing = [
            "Service internal error: 2 out of 3 shards failed to apply operation. First error captured: Service internal \
             error: Tonic status error: status: 'The service is currently unavailable', self: \"error trying to connect\"",
            "Service internal error: 1 out of 3 shards failed to apply operation. First error captured: Service internal \
             error: The replica set for shard 2 on peer 7 has no active replica",
            "Timeout: 1 out of 3 shards failed to apply operation. First error captured: Timeout error: Deadline Exceeded",
            "Service internal error: Some replica of shard 0 failed to apply operation and deactivation timed out after \
             30s. Consistency of this update is not guaranteed. Please retry. ",
            "Service internal error: 1 of 1 read operations failed:\n  Service internal error: Tonic status error: status: \
             'The service is currently unavailable'",
            "The replica set for shard 0 on peer 3 does not have enough active replicas",
            "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 seconds",
            "Service internal error: Failed to propose operation: leader is not established within 10s",
            "Service internal error: Tonic transport error: transport error",
            "Service internal error: Operation cancelled: task 7 was cancelled",
            "Pre-condition failure: replica of shard 1 is not ready",
        ];
        for message in passing {
            assert_eq!(cause(message), Some(Cause::Passing), "{message}");
        }
        let full = "Service internal error: 1 out of 3 shards failed to apply operation. First error captured: Service \
                    internal error: No space left on device: WAL buffer size exceeds available disk space";
        assert_eq!(cause(full), Some(Cause::DiskFull));
        let broken = [
            "Service internal error: File IO error: No such file or directory (os error 2)",
            "Service internal error: 1 out of 3 shards failed to apply operation. First error captured: Service internal \
             error: Failed to read segment: checksum mismatch",
            "Service internal error: Inconsistent storage damaged by unknown reason",
            "Service panicked: index out of bounds",
            "",
        ];
        for message in broken {
            assert_eq!(cause(message), None, "{message}");
        }
    }
}
