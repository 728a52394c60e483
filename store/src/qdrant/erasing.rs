//! What Qdrant keeps of what was removed.
//!
//! A server rewrites a segment when enough of it is removed; nothing asks it to do so for one image. Lowering its thresholds
//! rewrites every segment of the collection with its index, which takes hours of all nodes in a large one: that is for whoever
//! runs the server to decide, so it is said and not done. <https://qdrant.tech/documentation/concepts/optimizer/>

use crate::Scrubbed;

/// Also of a gallery that is gone: its documents were in the collection of all documents.
pub(super) fn kept_by_server() -> Scrubbed {
    let pending = [
        "Qdrant keeps removed images and documents in its segments until its optimiser rewrites these: by its defaults when more \
         than a fifth of a segment of at least 1000 points is removed. docs/RUNBOOK.md says how to have it done at once",
        "Qdrant's write-ahead log keeps what was written until it has flushed the segments and begins the log's file anew",
        "snapshots that were made before keep everything until they are deleted",
    ];
    Scrubbed { pending: pending.map(str::to_owned).into() }
}
