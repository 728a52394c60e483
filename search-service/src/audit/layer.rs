//! What stands around all methods of the service.

use super::Trail;
use super::entry::{Entry, now_ms};
use crate::SearchError;
use descry_audit::Record;
use descry_serving::Recorded;
use futures::future::Either;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

/// A service whose requests each leave a record before they are answered. Without a trail it is what it wraps.
#[derive(Clone)]
pub(crate) struct Audited<Inner> {
    pub(crate) inner: Inner,
    pub(crate) trail: Option<Trail>,
}

type Answer = Result<http::Response<Body>, Infallible>;

impl<Inner: NamedService> NamedService for Audited<Inner> {
    const NAME: &'static str = Inner::NAME;
}

impl<Inner> Service<http::Request<Body>> for Audited<Inner>
where
    Inner: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    Inner::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<Inner::Future, Pin<Box<dyn Future<Output = Answer> + Send>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(trail) = self.trail.clone() else { return Either::Left(self.inner.call(request)) };
        let entry = Entry::begin(trail, request.uri().path(), request.headers(), request.extensions());
        // From now on something is written, whatever becomes of the request.
        let unwritten = Unwritten(Some(entry.clone()));
        let answer = entry.sync_scope(|| self.inner.call(request));
        Either::Right(Box::pin(async move {
            let answer = entry.clone().scope(answer).await?;
            let mut answer = written(unwritten, &entry, answer).await;
            answer.extensions_mut().insert(Recorded);
            Ok(answer)
        }))
    }
}

/// The answer once its record is on disk, or the refusal of it.
async fn written(mut unwritten: Unwritten, entry: &Entry, answer: http::Response<Body>) -> http::Response<Body> {
    // An answer without content says here how it went; one with content is right so far.
    let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
    if entry.is_stream() && code == Code::Ok {
        // The stream writes the end.
        unwritten.0 = None;
        return answer;
    }
    entry.end(code);
    // On its way to the disk it needs nobody who waits.
    unwritten.0 = None;
    match entry.trail.log.append_all(entry.records()).await {
        Ok(_) => answer,
        Err(error) => Status::from(SearchError::from(error)).into_http(),
    }
}

/// An entry that is written when nobody waits for the answer any more: what was asked for may have been done.
pub(super) struct Unwritten(pub(super) Option<Entry>);

impl Drop for Unwritten {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            let end_ms = now_ms();
            for record in entry.records() {
                entry.trail.log.append_unheard(Record { end_ms, ..record });
            }
        }
    }
}
