//! Calls that may succeed when they are made again: with pauses that double and are never twice the same, not before the
//! server wants to see them, and not for ever.
//!
//! Everything of ours that makes a call again does it with this: the clients of the encoder, of Qdrant and of the search
//! service. Only [`Again::of`] and [`overloaded`] know gRPC; what fails with an error of its own says by itself whether
//! another attempt makes sense.

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// How gRPC's own retries let a server say when to come back, or, with a negative number, never.
const PUSHBACK_MS: &str = "grpc-retry-pushback-ms";

/// Whether a call that failed is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It would fail again.
    Never,
    /// It may succeed later.
    Later,
    /// It may succeed, but the server does not want to see it before so long.
    After(Duration),
}

impl Again {
    /// Reads it from a gRPC status: worth another attempt is what meets a service that is down, full or slow, and what
    /// broke on the way. Only for calls that are harmless to repeat.
    ///
    /// The server's delay comes as `grpc-retry-pushback-ms` or as a `google.rpc.RetryInfo`.
    pub fn of(status: &Status) -> Self {
        let may_pass = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded);
        // What a server answers has no source; what breaks on the way has one.
        if !may_pass && std::error::Error::source(status).is_none() {
            return Self::Never;
        }
        if let Some(pushback) = status.metadata().get(PUSHBACK_MS) {
            // What is malformed means the same as a negative number, says gRPC.
            let delay = pushback.to_str().ok().and_then(|text| text.parse().ok());
            return delay.map_or(Self::Never, |delay| Self::After(Duration::from_millis(delay)));
        }
        match status.get_details_retry_info().and_then(|info| info.retry_delay) {
            Some(delay) => Self::After(delay),
            None => Self::Later,
        }
    }
}

/// `RESOURCE_EXHAUSTED` with the `google.rpc.RetryInfo` that [`Again::of`] reads, so that clients need not parse the
/// message.
pub fn overloaded(message: impl Into<String>, retry_after_ms: u64) -> Status {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(retry_after_ms)));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// How patiently a call is repeated.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Time without a success after which the failure is final.
    pub retry_for: Duration,
    /// The longest the first pause may be; each further one may be twice as long. Pauses are drawn from the upper half of
    /// what they may be, so that clients that failed together do not come back together.
    pub first_pause: Duration,
    /// The longest any pause may be, unless the server asks for a longer one.
    pub longest_pause: Duration,
    /// How long the caller of what runs at present still waits; no pause goes beyond that.
    pub remaining_time: RemainingTime,
}

/// Asked before each pause; nothing where nobody waits, or who waits does not say for how long.
pub type RemainingTime = fn() -> Option<Duration>;

impl RetryPolicy {
    /// For work that goes on after a success: whoever repeats decides what is a success and what is waited for.
    pub fn begin(self) -> Retries {
        Retries { policy: self, pauses: self.pauses(), failing_since: None }
    }

    /// Makes a call until it succeeds, `again` says that it never will, or [`RetryPolicy::retry_for`] is over, counted from
    /// the first attempt. `activity` is what the log calls it.
    ///
    /// # Errors
    /// The last attempt's failure.
    pub async fn repeat<Answer, Failure, Call>(
        self,
        activity: &'static str,
        mut call: impl FnMut() -> Call,
        again: impl Fn(&Failure) -> Again,
    ) -> Result<Answer, Failure>
    where
        Failure: Display,
        Call: Future<Output = Result<Answer, Failure>>,
    {
        let mut retries = Retries { failing_since: Some(Instant::now()), ..self.begin() };
        loop {
            let failure = match call().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(pause) = retries.next_pause(again(&failure)) else { return Err(failure) };
            tracing::warn!(activity, reason = %failure, pause_ms = pause.as_millis() as u64, "trying again");
            tokio::time::sleep(pause).await;
        }
    }

    fn pauses(self) -> ExponentialBackoff {
        // The library adds up to as much again.
        ExponentialBuilder::new()
            .with_min_delay(self.first_pause / 2)
            .with_max_delay(self.longest_pause.max(self.first_pause) / 2)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

/// The attempts since the last success.
#[derive(Debug)]
pub struct Retries {
    policy: RetryPolicy,
    pauses: ExponentialBackoff,
    failing_since: Option<Instant>,
}

impl Retries {
    /// Begins anew: an attempt succeeded.
    pub fn succeed(&mut self) {
        *self = self.policy.begin();
    }

    /// How long to wait before the next attempt. `None` where none makes sense, when there was no success for too long, and
    /// when the caller of the running request will not wait for the outcome.
    ///
    /// The last attempt is made when the time is over, however short its pause.
    pub fn next_pause(&mut self, again: Again) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let left = self.policy.retry_for.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        let pause = match again {
            Again::Never => return None,
            Again::Later => self.pauses.next()?.min(left),
            Again::After(delay) if delay > left => return None,
            Again::After(delay) => {
                // The server knows better than the number of attempts how busy it is. It told others the same delay.
                self.pauses = self.policy.pauses();
                delay.saturating_add(self.pauses.next()?)
            }
        };
        (self.policy.remaining_time)().is_none_or(|remaining| pause < remaining).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const POLICY: RetryPolicy = RetryPolicy {
        retry_for: seconds(300),
        first_pause: seconds(1),
        longest_pause: seconds(30),
        remaining_time: || None,
    };

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_differ_and_begin_anew() {
        let draw = |retries: &mut Retries| -> Vec<Duration> {
            (0..7).map(|_| retries.next_pause(Again::Later).unwrap()).collect()
        };
        let mut retries = POLICY.begin();
        let first = draw(&mut retries);
        for (pause, longest_ms) in first.iter().zip([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
            let longest = Duration::from_millis(longest_ms);
            assert!((longest / 2..=longest).contains(pause), "{pause:?} of at most {longest:?}");
        }
        assert_ne!(first, draw(&mut POLICY.begin()), "clients that failed together come back together");
        retries.succeed();
        assert!(retries.next_pause(Again::Later).unwrap() <= seconds(1));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_a_time_without_success() {
        let mut retries = RetryPolicy { retry_for: seconds(10), ..POLICY }.begin();
        assert!(retries.next_pause(Again::Later).is_some());
        tokio::time::advance(seconds(9)).await;
        retries.next_pause(Again::Later).unwrap();
        retries.next_pause(Again::Later).unwrap();
        assert_eq!(retries.next_pause(Again::Later), Some(seconds(1)), "the last attempt is made when time is over");
        tokio::time::advance(seconds(1)).await;
        assert_eq!(retries.next_pause(Again::Later), None);
        retries.succeed();
        assert!(retries.next_pause(Again::Later).is_some());
        assert_eq!(RetryPolicy { retry_for: Duration::ZERO, ..POLICY }.begin().next_pause(Again::Later), None);
        let mut endless = RetryPolicy { retry_for: Duration::MAX, ..POLICY }.begin();
        tokio::time::advance(seconds(1 << 30)).await;
        assert!(endless.next_pause(Again::Later).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_back_before_the_server_wants_it() {
        let mut retries = POLICY.begin();
        for _ in 0..5 {
            let pause = retries.next_pause(Again::After(seconds(7))).unwrap();
            assert!((seconds(7) + POLICY.first_pause / 2..=seconds(8)).contains(&pause), "{pause:?}");
        }
        assert_eq!(retries.next_pause(Again::After(seconds(301))), None, "the time is over by then");
        assert_eq!(retries.next_pause(Again::Never), None);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_caller_of_the_running_request() {
        let asking = |remaining_time: RemainingTime| {
            let mut retries = RetryPolicy { remaining_time, ..POLICY }.begin();
            [1, 5].map(|delay| retries.next_pause(Again::After(seconds(delay))).is_some())
        };
        assert_eq!(asking(|| Some(seconds(5))), [true, false]);
        assert_eq!(asking(|| None), [true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_until_it_succeeds_or_never_will() {
        let run = async |failures: u32, status: Status| {
            let (calls, started) = (Cell::new(0), Instant::now());
            let call = async || {
                calls.set(calls.get() + 1);
                if calls.get() > failures { Ok("answer") } else { Err(status.clone()) }
            };
            let answer = POLICY.repeat("testing", call, Again::of).await;
            (answer.map_err(|status| status.code()), calls.get(), started.elapsed())
        };
        let (answer, calls, waited) = run(3, Status::unavailable("restarting")).await;
        assert_eq!((answer, calls), (Ok("answer"), 4));
        assert!((Duration::from_millis(3_500)..=seconds(7)).contains(&waited), "{waited:?}");
        let (answer, calls, waited) = run(2, overloaded("full", 20_000)).await;
        assert_eq!((answer, calls), (Ok("answer"), 3));
        assert!((seconds(40)..=seconds(42)).contains(&waited), "{waited:?}");
        let (answer, calls, waited) = run(1, Status::invalid_argument("no image")).await;
        assert_eq!((answer, calls, waited), (Err(Code::InvalidArgument), 1, Duration::ZERO));
        let (answer, calls, waited) = run(u32::MAX, Status::unavailable("gone for good")).await;
        assert_eq!((answer, waited.as_secs()), (Err(Code::Unavailable), 300));
        assert!((14..=28).contains(&calls), "{calls}");
    }

    #[test]
    fn statuses_say_whether_and_when() {
        let pushed_back = |value: &'static str| {
            let mut status = overloaded("full", 500);
            status.metadata_mut().insert(PUSHBACK_MS, value.parse().unwrap());
            status
        };
        for (status, expected) in [
            (Status::unavailable("restarting"), Again::Later),
            (Status::deadline_exceeded("slow"), Again::Later),
            (Status::from_error("broken pipe".into()), Again::Later),
            (overloaded("full", 500), Again::After(Duration::from_millis(500))),
            (pushed_back("1500"), Again::After(Duration::from_millis(1_500))),
            (pushed_back("-1"), Again::Never),
            (pushed_back("soon"), Again::Never),
            (Status::invalid_argument("no image"), Again::Never),
            (Status::internal("a defect"), Again::Never),
        ] {
            assert_eq!(Again::of(&status), expected, "{status}");
        }
    }
}
