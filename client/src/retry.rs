//! Patience with a service that restarts, or has too much to do.

use crate::ClientError;
use descry_retry::{Again, RetryPolicy};
use std::time::Duration;
use tonic::{Response, Status};

/// Long enough for a service to restart and load its model.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Whether the same call may succeed later: the service is down, full or slow, or the connection broke.
/// Everything that this crate repeats is harmless to repeat.
pub(crate) fn is_transient(status: &Status) -> bool {
    Again::of(status) != Again::Never
}

/// Attempts since the last success: pauses of up to 1, 2, 4 and at most 30 seconds between them, until there was no
/// success for too long.
pub(crate) struct Retries {
    retry_for: Duration,
    attempts: descry_retry::Retries,
}

impl Retries {
    pub(crate) fn new(retry_for: Duration) -> Self {
        let policy = RetryPolicy {
            retry_for,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            remaining_time: || None,
        };
        Self { retry_for, attempts: policy.begin() }
    }

    /// Begins anew.
    pub(crate) fn succeed(&mut self) {
        self.attempts.succeed();
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where another attempt makes no sense; [`ClientError::Unavailable`] when there was no
    /// success for too long, or the server does not want to be asked again before that.
    pub(crate) async fn wait(&mut self, status: &Status) -> Result<(), ClientError> {
        let again = Again::of(status);
        if again == Again::Never {
            return Err(ClientError::refused(status.clone()));
        }
        let Some(pause) = self.attempts.next_pause(again) else {
            return Err(ClientError::Unavailable { retry_for: self.retry_for, status: Box::new(status.clone()) });
        };
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(reason = status.message(), pause_ms, "the service is not available; trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Makes a call until it succeeds, is refused, or has not succeeded for `retry_for`.
pub(crate) async fn repeat<Reply, Call>(
    retry_for: Duration,
    mut call: impl FnMut() -> Call,
) -> Result<Reply, ClientError>
where
    Call: Future<Output = Result<Response<Reply>, Status>>,
{
    let mut retries = Retries::new(retry_for);
    loop {
        match call().await {
            Ok(reply) => return Ok(reply.into_inner()),
            Err(status) => retries.wait(&status).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::Instant;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_until_it_succeeds_is_refused_or_takes_too_long() {
        let run = async |failures: u32, status: Status| {
            let (calls, began) = (Cell::new(0), Instant::now());
            let answer = repeat(20 * SECOND, || {
                calls.set(calls.get() + 1);
                let succeeds = calls.get() > failures;
                std::future::ready(if succeeds { Ok(Response::new("answer")) } else { Err(status.clone()) })
            });
            (answer.await, calls.get(), began.elapsed())
        };
        let (answer, calls, waited) = run(3, Status::unavailable("restarting")).await;
        assert_eq!((answer.unwrap(), calls), ("answer", 4));
        assert!((3 * SECOND..=8 * SECOND).contains(&waited), "{waited:?}");
        let (answer, calls, waited) = run(1, descry_retry::overloaded("full", 9_000)).await;
        assert_eq!((answer.unwrap(), calls), ("answer", 2));
        assert!((9 * SECOND..=10 * SECOND).contains(&waited), "{waited:?}");
        let (answer, calls, waited) = run(1, Status::invalid_argument("no image")).await;
        assert!(matches!(answer, Err(ClientError::Refused(_))) && (calls, waited) == (1, Duration::ZERO));
        let (answer, calls, waited) = run(u32::MAX, Status::unavailable("gone for good")).await;
        assert!(answer.unwrap_err().to_string().contains("gone for good"));
        assert!(waited == 20 * SECOND && (5..=8).contains(&calls), "{calls} calls in {waited:?}");
    }
}
