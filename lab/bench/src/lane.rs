//! How one load reaches the service: as lists, one call each, or over streams that stay open.

use crate::encoder_calls::{Client, Items};
use crate::recorder::Recorder;
use crate::stream_lane::StreamLane;
use descry_proto::encoder::v1::Priority;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// One way to the service.
#[derive(Debug)]
pub(crate) enum Lane {
    Lists { client: Client, sender: Sender },
    Stream(StreamLane),
}

impl Lane {
    /// Sends what is due; returns at once.
    pub(crate) fn send(&self, due: Due) {
        match self {
            Self::Lists { client, sender } => send_list(client.clone(), sender, due),
            Self::Stream(stream) => stream.send(due),
        }
    }
}

fn send_list(client: Client, sender: &Sender, due: Due) {
    let Sender { items, items_per_request, priority, recorder, cut_off, .. } = sender.clone();
    recorder.sent(due.at);
    let first = sender.position.fetch_add(items_per_request, Ordering::Relaxed);
    let call = async move {
        let result = items.encode_list(client, first, items_per_request, priority).await;
        let failed = result.is_err();
        recorder.answered(due.at, Instant::now(), result);
        if failed {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        drop(due.permit);
    };
    sender.tasks.spawn_on(cut_off.run_until_cancelled_owned(call), &sender.runtime);
}
