//! Requests that fail or come late on purpose, for tests of what clients do then.

use std::mem::replace;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::Status;

/// What still has to go wrong. Each request goes through [`Faults::meet`] before anything else.
#[derive(Default)]
pub(crate) struct Faults {
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    refusals: usize,
    delays: usize,
    delay: Duration,
}

impl Faults {
    pub(crate) fn refuse_next(&self, requests: usize) {
        self.change(|pending| pending.refusals = requests);
    }

    pub(crate) fn stall_next(&self, requests: usize, delay: Duration) {
        self.change(|pending| (pending.delays, pending.delay) = (requests, delay));
    }

    pub(crate) fn pending_stalls(&self) -> usize {
        self.change(|pending| pending.delays)
    }

    /// Takes one refusal and one delay, if any are left.
    pub(crate) async fn meet(&self) -> Result<(), Status> {
        let (is_refused, delay) = self.change(|pending| {
            let is_delayed = take_one(&mut pending.delays);
            (take_one(&mut pending.refusals), is_delayed.then_some(pending.delay))
        });
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if is_refused { Err(Status::unavailable("refused on purpose")) } else { Ok(()) }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Pending) -> T) -> T {
        change(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn take_one(left: &mut usize) -> bool {
    let fewer = left.saturating_sub(1);
    replace(left, fewer) > 0
}
