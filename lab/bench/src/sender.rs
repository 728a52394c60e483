//! What sending needs, whichever way it goes.

use crate::encoder_calls::Items;
use crate::recorder::Recorder;
use descry_proto::encoder::v1::Priority;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a caller holds still after a failure. Callers that return at once would measure how fast the service
/// refuses, and take its CPU for it.
pub(crate) const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What all lanes of a load have in common.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) items: Items,
    pub(crate) items_per_request: usize,
    pub(crate) priority: Priority,
    pub(crate) recorder: Arc<Recorder>,
    /// Where in the items the load has come to.
    pub(crate) position: Arc<AtomicUsize>,
    /// Whatever is sent runs here.
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
    /// Cuts off what is unanswered.
    pub(crate) cut_off: CancellationToken,
}

/// A request that is due; the permit is held until its answer.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) at: Instant,
    pub(crate) permit: OwnedSemaphorePermit,
}
