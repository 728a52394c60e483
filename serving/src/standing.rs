//! What a principal that proved who it is may still do: until when, and how much.

use crate::reply_body::trailers_of;
use bytes::Bytes;
use descry_trust::{Allowance, Denial, Limits, Shortage};
use http_body::{Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A stream looks so often at the wall clock, which may be set while it waits.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How one credential stands. Clones are of the same one.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Cancelled when it is revoked, or changed.
    pub(crate) ended: CancellationToken,
    /// By the wall clock, in milliseconds since 1970.
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) limits: Limits,
    pub(crate) allowances: Arc<Allowances>,
}

/// What the principal has used of its limits, with whichever credential.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    requests: Allowance,
    images: Allowance,
}

impl Standing {
    /// Counts a request.
    ///
    /// # Errors
    /// [`Denial::Exceeded`].
    pub(crate) fn take_request(&self) -> Result<(), Denial> {
        let Some(most) = self.limits.max_requests_per_minute else { return Ok(()) };
        let taken = self.allowances.requests.take(1, most, MINUTE, Instant::now());
        taken.map_err(exceeded("requests of this minute", most))
    }

    /// Counts images.
    ///
    /// # Errors
    /// [`Denial::Exceeded`], [`Denial::TooMuch`].
    pub(crate) fn take_images(&self, count: usize) -> Result<(), Denial> {
        let Some(most) = self.limits.max_images_per_day else { return Ok(()) };
        let taken = self.allowances.images.take(count, most, DAY, Instant::now());
        taken.map_err(exceeded("images of this day", most))
    }

    /// Whether its time is over.
    pub(crate) fn is_expired(&self) -> bool {
        self.expires_at_ms.is_some_and(|at_ms| at_ms <= wall_clock_ms())
    }

    /// Resolves when it is worth nothing any more.
    async fn end(self) {
        let expiry = async {
            let Some(at_ms) = self.expires_at_ms else { return std::future::pending().await };
            while !self.is_expired() {
                let left = u64::try_from(at_ms.saturating_sub(wall_clock_ms())).unwrap_or_default();
                tokio::time::sleep(Duration::from_millis(left.max(1)).min(LONGEST_SLEEP)).await;
            }
        };
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = expiry => {}
        }
    }

    /// The reply of a stream, which ends when the standing does: streams go on for days.
    pub(crate) fn limit(self, body: Body) -> Body {
        Body::new(StandingBody { body: Some(body), end: Box::pin(self.end()) })
    }
}

fn exceeded(what: &'static str, most: u32) -> impl FnOnce(Shortage) -> Denial {
    move |shortage| {
        metrics::counter!("descry_access_exceeded_total").increment(1);
        match shortage {
            Shortage::For(wait) => {
                let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
                Denial::Exceeded { what, retry_after_ms }
            }
            Shortage::Always => Denial::TooMuch { what, most },
        }
    }
}

pub(crate) fn wall_clock_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

struct StandingBody {
    /// Nothing behind the end.
    body: Option<Body>,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl http_body::Body for StandingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, end } = &mut *self;
        let Some(inner) = body else { return Poll::Ready(None) };
        if end.as_mut().poll(task).is_pending() {
            return Pin::new(inner).poll_frame(task);
        }
        // What the stream works on ends with it.
        *body = None;
        let status = Status::unauthenticated(Denial::Unproven.to_string());
        Poll::Ready(Some(Ok(Frame::trailers(trailers_of(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    fn standing(expires_at_ms: Option<i64>) -> Standing {
        let limits = Limits { max_requests_per_minute: Some(2), max_images_per_day: Some(100) };
        Standing { ended: CancellationToken::new(), expires_at_ms, limits, allowances: Arc::default() }
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|task| http_body::Body::poll_frame(Pin::new(&mut *body), task)).await
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_token_is_revoked_or_expires() {
        let revoked = standing(None);
        revoked.ended.cancel();
        for standing in [revoked, standing(Some(wall_clock_ms() - 1)), standing(Some(wall_clock_ms() + 20))] {
            let mut body = standing.limit(Body::new(Silent));
            let Some(Ok(end)) = next(&mut body).await else { panic!("it goes on") };
            let status = Status::from_header_map(end.trailers_ref().unwrap()).unwrap();
            assert_eq!(status.code(), tonic::Code::Unauthenticated);
            assert!(next(&mut body).await.is_none() && http_body::Body::is_end_stream(&body));
        }
    }

    #[test]
    fn limits_say_when_there_is_more() {
        let standing = standing(None);
        let other = Standing { limits: Limits::default(), ..standing.clone() };
        (0..2).for_each(|_| standing.take_request().unwrap());
        let Err(Denial::Exceeded { what, retry_after_ms }) = standing.take_request() else { panic!("unlimited") };
        assert!(what.contains("requests") && (29_000..=30_001).contains(&retry_after_ms), "{what} {retry_after_ms}");
        (0..100).for_each(|_| other.take_request().unwrap());
        standing.take_images(100).unwrap();
        assert!(matches!(standing.take_images(1), Err(Denial::Exceeded { .. })));
        assert_eq!(standing.take_images(101), Err(Denial::TooMuch { what: "images of this day", most: 100 }));
    }
}
