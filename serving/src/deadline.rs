//! How long the caller of a request is willing to wait.

use http::HeaderMap;
use opentelemetry::Context;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// The header of gRPC in which a caller says how long it waits.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// gRPC allows no longer number, and no longer one fits into the arithmetic below in every unit.
const MAX_DIGITS: usize = 8;

/// When the answer to the running request comes too late: for its caller, or because the service allows no more. Travels
/// in the request's [`Context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

/// The caller's part of it, which holds for as long as the answer goes on. The service's own limit ends when the answer
/// begins: a stream may outlast it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallersDeadline(pub(crate) Deadline);

/// What is left of the time that the caller of the running request gave it, for calls made on its behalf. Nothing outside
/// of a request, and where its caller set no limit.
pub fn remaining() -> Option<Duration> {
    Context::map_current(|context| context.get::<Deadline>().map(|deadline| deadline.remaining()))
}

/// When the caller of the running request stops waiting for the whole of its answer. Nothing outside of a request, and
/// where its caller set no limit.
pub fn of_caller() -> Option<std::time::Instant> {
    Context::map_current(|context| {
        context.get::<CallersDeadline>().map(|CallersDeadline(deadline)| deadline.0.into_std())
    })
}

impl Deadline {
    /// A limit so far away that the clock cannot say it is none.
    pub(crate) fn after(limit: Duration) -> Option<Self> {
        Instant::now().checked_add(limit).map(Self)
    }

    fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits for `future` until the deadline; nothing when that comes first.
    pub(crate) async fn limit<Answer>(deadline: Option<Self>, future: impl Future<Output = Answer>) -> Option<Answer> {
        let Some(Self(instant)) = deadline else { return Some(future.await) };
        let mut future = pin!(future);
        let mut alarm = pin!(tokio::time::sleep_until(instant));
        poll_fn(|context| {
            if let Poll::Ready(answer) = future.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            // The clock is asked as well: tonic's own timer for the caller's limit, which would answer CANCELLED, is set
            // a moment later than this one, but the two may ring in either order.
            if alarm.as_mut().poll(context).is_ready() || Instant::now() >= instant {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }
}

/// The caller's limit. A malformed one counts as none, as the gRPC servers do it.
pub(crate) fn callers_limit(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=MAX_DIGITS).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use opentelemetry::context::FutureExt as _;
    use proptest::prelude::*;

    fn limit(value: &[u8]) -> Option<Duration> {
        let value = HeaderValue::from_bytes(value).unwrap();
        callers_limit(&[(http::HeaderName::from_static(GRPC_TIMEOUT), value)].into_iter().collect())
    }

    #[test]
    fn limits_are_read_in_every_unit() {
        assert_eq!(limit(b"2H"), Some(Duration::from_secs(7200)));
        assert_eq!(limit(b"3M"), Some(Duration::from_secs(180)));
        assert_eq!(limit(b"4S"), Some(Duration::from_secs(4)));
        assert_eq!(limit(b"5m"), Some(Duration::from_millis(5)));
        assert_eq!(limit(b"6u"), Some(Duration::from_micros(6)));
        assert_eq!(limit(b"99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(limit(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for malformed in [&b""[..], b"S", b"5", b"5s", b"+5S", b"-5S", b"999999999S", b"5 S", b"\xFFS", b"5\xFF"] {
            assert_eq!(limit(malformed), None, "{malformed:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(value in "[ -~]{0,12}") {
            let limit = limit(value.as_bytes());
            if let Some(limit) = limit {
                prop_assert!(limit <= Duration::from_secs(99_999_999 * 3600));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_runs_out() {
        let deadline = Deadline::after(Duration::from_secs(5)).unwrap();
        let context = Context::new().with_value(deadline);
        assert_eq!(remaining(), None);
        let left = async {
            tokio::time::advance(Duration::from_secs(2)).await;
            let first = remaining();
            tokio::time::advance(Duration::from_secs(20)).await;
            (first, remaining())
        };
        assert_eq!(left.with_context(context).await, (Some(Duration::from_secs(3)), Some(Duration::ZERO)));
        assert_eq!(Deadline::limit(Deadline::after(Duration::from_secs(1)), std::future::pending::<()>()).await, None);
        assert_eq!(Deadline::limit(None, std::future::ready(7)).await, Some(7));
    }
}
