//! Requests that fail, come late or are never answered on purpose, for tests of what clients do then, and a count of all
//! that came.

use std::collections::BTreeMap;
use std::mem::replace;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::Status;

/// What a request wants, which decides what can go wrong with it in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Reads of points and collections: whatever one copy can answer.
    Read,
    /// Writes of points: every copy has a say.
    Write,
    /// Changes of collections and aliases: the cluster has to agree, under a leader.
    Agreement,
}

impl RequestKind {
    /// By the service's type and the method's name, as the tables of `points.rs` and `collections.rs` have them.
    pub(crate) fn of(service: &str, method: &str) -> Self {
        match (service, method) {
            ("PointsService", "upsert" | "delete" | "overwrite_payload") => Self::Write,
            ("PointsService", "create_field_index")
            | ("CollectionsService", "create" | "delete" | "update_aliases") => Self::Agreement,
            _ => Self::Read,
        }
    }
}

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
    failures: Vec<Failure>,
    is_silent: bool,
    misses: usize,
    calls: BTreeMap<&'static str, usize>,
    answered_bytes: usize,
}

struct Failure {
    /// All kinds where none is named.
    kind: Option<RequestKind>,
    left: usize,
    status: Status,
}

impl Faults {
    pub(crate) fn refuse_next(&self, requests: usize) {
        self.pending().refusals = requests;
    }

    pub(crate) fn fail_next(&self, kind: Option<RequestKind>, requests: usize, status: Status) {
        let mut pending = self.pending();
        pending.failures.retain(|failure| failure.kind != kind);
        pending.failures.push(Failure { kind, left: requests, status });
    }

    pub(crate) fn stall_next(&self, requests: usize, delay: Duration) {
        let mut pending = self.pending();
        (pending.delays, pending.delay) = (requests, delay);
    }

    pub(crate) fn pending_stalls(&self) -> usize {
        self.pending().delays
    }

    pub(crate) fn be_silent(&self, is_silent: bool) {
        self.pending().is_silent = is_silent;
    }

    pub(crate) fn miss(&self, points: usize) {
        self.pending().misses = points;
    }

    pub(crate) fn misses(&self) -> usize {
        self.pending().misses
    }

    pub(crate) fn take_calls(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut self.pending().calls)
    }

    pub(crate) fn note_answer(&self, bytes: usize) {
        self.pending().answered_bytes += bytes;
    }

    pub(crate) fn take_answered_bytes(&self) -> usize {
        std::mem::take(&mut self.pending().answered_bytes)
    }

    /// Counts the request, and lets it meet what it has to: silence, or one delay, one refusal, one failure of its kind.
    pub(crate) async fn meet(&self, service: &str, method: &'static str) -> Result<(), Status> {
        let kind = RequestKind::of(service, method);
        let (is_silent, is_refused, delay, failure) = {
            let mut pending = self.pending();
            *pending.calls.entry(method).or_default() += 1;
            let is_delayed = take_one(&mut pending.delays);
            let is_refused = take_one(&mut pending.refusals);
            let mut failures = pending.failures.iter_mut();
            let failure =
                failures.find(|failure| failure.left > 0 && failure.kind.is_none_or(|failing| failing == kind));
            let failure = failure.map(|failure| {
                failure.left -= 1;
                failure.status.clone()
            });
            (pending.is_silent, is_refused, is_delayed.then_some(pending.delay), failure)
        };
        if is_silent {
            std::future::pending::<()>().await;
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if is_refused {
            return Err(Status::unavailable("refused on purpose"));
        }
        failure.map_or(Ok(()), Err)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_one(left: &mut usize) -> bool {
    let fewer = left.saturating_sub(1);
    replace(left, fewer) > 0
}
