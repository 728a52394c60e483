//! Patience with a service that restarts, or has too much to do: the one place where calls are made again.

use crate::ClientError;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use std::error::Error as _;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

/// Long enough for a service to restart and load its model.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The longest that the first pause may be, and any other; the server may ask for more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How gRPC lets a server say when to come back, or, with anything that is no number of milliseconds, never.
const PUSHBACK_MS: &str = "grpc-retry-pushback-ms";

/// Whether the same call may succeed later: the service is down, full or slow, or the connection broke.
/// Everything that this crate repeats is harmless to repeat.
pub(crate) fn is_transient(status: &Status) -> bool {
    again(status) != Again::Never
}

/// Whether a call that failed is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It would fail again.
    Never,
    Later,
    /// The server does not want to see it before so long.
    After(Duration),
}

fn again(status: &Status) -> Again {
    let may_pass = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded);
    // What the service answers has no source; what breaks on the way has one.
    if !may_pass && status.source().is_none() {
        return Again::Never;
    }
    if let Some(pushback) = status.metadata().get(PUSHBACK_MS) {
        let delay = pushback.to_str().ok().and_then(|text| text.parse().ok());
        return delay.map_or(Again::Never, |delay_ms| Again::After(Duration::from_millis(delay_ms)));
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    delay.map_or(Again::Later, Again::After)
}

/// Attempts since the last success: pauses of up to 1, 2, 4 and at most 30 seconds between them, until there was no
/// success for too long.
///
/// Each pause is drawn from the upper half of what it may be, so that clients that failed together do not come back
/// together.
pub(crate) struct Retries {
    retry_for: Duration,
    pauses: ExponentialBackoff,
    failing_since: Option<Instant>,
}

impl Retries {
    pub(crate) fn new(retry_for: Duration) -> Self {
        Self { retry_for, pauses: pauses(FIRST_PAUSE / 2), failing_since: None }
    }

    /// Begins anew.
    pub(crate) fn succeed(&mut self) {
        *self = Self::new(self.retry_for);
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where another attempt makes no sense; [`ClientError::Unavailable`] when there was no
    /// success for too long, or the server does not want to be asked again before that.
    pub(crate) async fn wait(&mut self, status: &Status) -> Result<(), ClientError> {
        let again = again(status);
        if again == Again::Never {
            return Err(ClientError::refused(status.clone()));
        }
        let Some(pause) = self.next_pause(again) else {
            return Err(ClientError::Unavailable { retry_for: self.retry_for, status: Box::new(status.clone()) });
        };
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(reason = status.message(), pause_ms, "the service is not available; trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// None when it is to be given up. The last attempt is made when the time is over.
    fn next_pause(&mut self, again: Again) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let left = self.retry_for.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        match again {
            Again::Never => None,
            Again::Later => Some(self.pauses.next()?.min(left)),
            Again::After(delay) if delay > left => None,
            // The server knows better than the number of attempts how busy it is. It told others the same delay.
            Again::After(delay) => Some(pauses(delay).next()?.min(left)),
        }
    }
}

/// Endless pauses; the library adds up to as much again to each.
fn pauses(first: Duration) -> ExponentialBackoff {
    let longest = first.max(LONGEST_PAUSE / 2);
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).without_max_times().with_jitter().build()
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
    use tonic_types::ErrorDetails;

    const SECOND: Duration = Duration::from_secs(1);

    fn full(retry_after: Duration) -> Status {
        let details = ErrorDetails::with_retry_info(Some(retry_after));
        Status::with_error_details(Code::ResourceExhausted, "full", details)
    }

    fn pushed_back(value: &'static str) -> Status {
        let mut status = full(SECOND / 2);
        status.metadata_mut().insert(PUSHBACK_MS, value.parse().unwrap());
        status
    }

    #[test]
    fn refusals_are_final_and_breaks_are_not() {
        for (status, expected) in [
            (Status::unavailable("restarting"), Again::Later),
            (Status::resource_exhausted("full"), Again::Later),
            (Status::from_error("broken pipe".into()), Again::Later),
            (full(SECOND / 2), Again::After(SECOND / 2)),
            (pushed_back("1500"), Again::After(Duration::from_millis(1_500))),
            (pushed_back("-1"), Again::Never),
            (Status::invalid_argument("no image"), Again::Never),
            (Status::internal("bug"), Again::Never),
        ] {
            assert_eq!(again(&status), expected, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_differ_and_begin_anew() {
        let draw = |retries: &mut Retries| -> Vec<Duration> {
            (0..7).map(|_| retries.next_pause(Again::Later).unwrap()).collect()
        };
        let mut retries = Retries::new(PATIENCE);
        let drawn = draw(&mut retries);
        for (pause, longest) in drawn.iter().zip([1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs)) {
            assert!((longest / 2..=longest).contains(pause), "{pause:?} of at most {longest:?}");
        }
        assert_ne!(drawn, draw(&mut Retries::new(PATIENCE)), "clients that failed together come back together");
        retries.succeed();
        assert!(retries.next_pause(Again::Later).unwrap() <= SECOND);
        assert_eq!(Retries::new(Duration::ZERO).next_pause(Again::Later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_back_before_the_server_wants_it() {
        let mut retries = Retries::new(PATIENCE);
        for delay in [SECOND / 20, 7 * SECOND, 60 * SECOND] {
            let pause = retries.next_pause(Again::After(delay)).unwrap();
            assert!((delay..=2 * delay).contains(&pause), "{pause:?}");
        }
        assert_eq!(retries.next_pause(Again::After(301 * SECOND)), None, "the time is over by then");
    }

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
        let (answer, calls, waited) = run(1, full(9 * SECOND)).await;
        assert_eq!((answer.unwrap(), calls), ("answer", 2));
        assert!((9 * SECOND..=18 * SECOND).contains(&waited), "{waited:?}");
        let (answer, calls, waited) = run(1, Status::invalid_argument("no image")).await;
        assert!(matches!(answer, Err(ClientError::Refused(_))) && (calls, waited) == (1, Duration::ZERO));
        let (answer, calls, waited) = run(u32::MAX, Status::unavailable("gone for good")).await;
        assert!(answer.unwrap_err().to_string().contains("gone for good"));
        assert!(waited == 20 * SECOND && (5..=8).contains(&calls), "{calls} calls in {waited:?}");
    }
}
