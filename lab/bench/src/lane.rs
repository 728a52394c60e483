//! How one load reaches the service: as lists, one call each, or over streams that stay open.

use crate::encoder_calls::Client;
use crate::sender::{Due, PAUSE_AFTER_FAILURE, Sender};
use crate::stream_lane::StreamLane;
use std::sync::atomic::Ordering;
use std::time::Instant;

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
