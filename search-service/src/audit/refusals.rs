//! What is refused before it reaches a method: written in sums, so that nobody fills the disk with refusals.
//!
//! A refusal is answered at once, whatever becomes of its record: it tells nobody anything. Its kind (who, from where, which
//! method, which answer) is counted, and the count is written within a second; while it goes on, ever more seldom, at last once a
//! minute. Kinds, records and bytes in memory are bounded whatever callers do; beyond that they are counted together.

mod sums;

use descry_audit::AuditLog;
use descry_serving::{RefusalObserver, Refused};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sums::Sums;
use tokio_util::sync::CancellationToken;

/// How often it is looked what is to be written.
const TICK: Duration = Duration::from_secs(1);

/// The refusals that are not written yet. Clones share them; what is left is written when the last of them is dropped.
#[derive(Clone)]
pub(crate) struct Refusals(Arc<Unwritten>);

struct Unwritten {
    log: AuditLog,
    sums: Mutex<Sums>,
}

impl Refusals {
    pub(super) fn new(log: AuditLog) -> Self {
        Self(Arc::new(Unwritten { log, sums: Mutex::new(Sums::new(Instant::now())) }))
    }

    /// Writes what there is to write, again and again, until `shutdown`.
    pub(super) async fn tend(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            self.write_due(Instant::now()).await;
        }
    }

    async fn write_due(&self, now: Instant) {
        let due = self.0.sums().take_due(now);
        if due.is_empty() {
            return;
        }
        let records = due.iter().map(|sum| sum.record()).collect();
        // While the log cannot be written, what waits grows by numbers alone. That it cannot is said elsewhere.
        if self.0.log.append_all(records).await.is_err() {
            self.0.sums().put_back(due);
        }
    }
}

impl RefusalObserver for Refusals {
    fn refused(&self, refused: Refused) {
        self.0.sums().add(refused, super::entry::now_ms(), Instant::now());
    }
}

impl Unwritten {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        let left: Vec<_> = self.sums().take_all().iter().map(|sum| sum.record()).collect();
        if !left.is_empty() {
            self.log.append_unwaited(left);
        }
    }
}
