//! Patience with a service that restarts.

use crate::connection::explain;
use std::error::Error as _;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Long enough for a service to restart and load its model.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Whether the same call may succeed later: the service is down, full or slow, or the connection broke.
/// Everything that is repeated is harmless to repeat.
pub(crate) fn is_transient(status: &Status) -> bool {
    // What the service answers has no source; what breaks on the way has one.
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded)
        || status.source().is_some()
}

/// Pauses of 1, 2, 4 and up to 30 seconds, until there was no success for too long.
pub(crate) struct Backoff {
    retry_for: Duration,
    failing_since: Option<Instant>,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(retry_for: Duration) -> Self {
        Self { retry_for, failing_since: None, attempts: 0 }
    }

    /// Begins anew.
    pub(crate) fn succeed(&mut self) {
        self.failing_since = None;
        self.attempts = 0;
    }

    /// Waits before the next attempt.
    ///
    /// Fails with the status where another attempt makes no sense, or when there was no success for too long.
    pub(crate) async fn wait(&mut self, status: &Status) -> anyhow::Result<()> {
        if !is_transient(status) {
            return Err(explain(status));
        }
        let Some(pause) = self.next_pause() else {
            let seconds = self.retry_for.as_secs();
            return Err(explain(status).context(format!("the service was not available for {seconds} s")));
        };
        tracing::warn!(
            reason = status.message(),
            pause_s = pause.as_secs(),
            "the service is not available; trying again"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn next_pause(&mut self) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let left = self.retry_for.checked_sub(since.elapsed())?;
        let pause = Duration::from_secs(1 << self.attempts.min(5)).min(MAX_PAUSE);
        self.attempts += 1;
        Some(pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(300));
        let pauses: Vec<u64> = (0..7).map(|_| backoff.next_pause().unwrap().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        backoff.succeed();
        assert_eq!(backoff.next_pause(), Some(Duration::from_secs(1)));
        assert_eq!(Backoff::new(Duration::ZERO).next_pause(), None);
    }

    #[test]
    fn refusals_are_final_and_breaks_are_not() {
        assert!(is_transient(&Status::unavailable("restarting")));
        assert!(is_transient(&Status::resource_exhausted("full")));
        assert!(is_transient(&Status::from_error("broken pipe".into())));
        assert!(!is_transient(&Status::invalid_argument("no image")));
        assert!(!is_transient(&Status::internal("bug")));
    }
}
