//! What surrounds every request of every service: its trace, its deadline, its slot among the connection's requests, and the
//! record of how it ended.

use crate::admission::Admission;
use crate::connection::ConnectionInfo;
use crate::deadline::{Deadline, callers_limit};
use crate::guard::Guard;
use crate::message_size::MeasuredBody;
use crate::method_names::MethodNames;
use crate::refusals::{self, Recorded, Refusals, TurnedAway};
use crate::reply_body::ReplyBody;
use crate::request_record::{RecordedBody, RequestRecord};
use crate::shares::Peer;
use crate::standing::Standing;
use descry_trust::Caller;
use opentelemetry::context::FutureExt as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;

/// Puts [`RequestService`] around a server's routes.
#[derive(Clone)]
pub(crate) struct RequestLayer {
    /// The methods that may be named in records.
    pub(crate) methods: MethodNames,
    /// Longest time until the answer begins; a stream's answer may go on for longer.
    pub(crate) timeout: Option<Duration>,
    /// Largest messages; none within a process, where they have passed the outer door.
    pub(crate) sizes: Option<MessageSizes>,
    /// What requests share; nothing within a process.
    pub(crate) admission: Option<Arc<Admission>>,
    /// Who may call; nobody is asked without it, and within a process, whose callers were asked at the outer door.
    pub(crate) guard: Option<Arc<Guard>>,
    /// Who is told of what is refused here.
    pub(crate) refusals: Refusals,
}

/// Largest messages of a request, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageSizes {
    /// Where files or embeddings may be in them.
    pub(crate) with_data: usize,
    /// Of all other methods.
    pub(crate) plain: usize,
}

/// Records, limits and traces the requests to `inner`.
#[derive(Clone)]
pub(crate) struct RequestService<Inner> {
    inner: Inner,
    layer: RequestLayer,
}

impl<Inner> Layer<Inner> for RequestLayer {
    type Service = RequestService<Inner>;

    fn layer(&self, inner: Inner) -> Self::Service {
        RequestService { inner, layer: self.clone() }
    }
}

impl<Inner> Service<http::Request<Body>> for RequestService<Inner>
where
    Inner: Service<http::Request<Body>, Response = http::Response<Body>>,
    Inner::Future: Send + 'static,
    Inner::Error: Send + 'static,
{
    type Response = http::Response<RecordedBody>;
    type Error = Inner::Error;
    type Future = Answering<Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let callers_limit = callers_limit(request.headers());
        let callers_deadline = callers_limit.and_then(Deadline::after);
        let limit = callers_limit.into_iter().chain(self.layer.timeout).min();
        let deadline = limit.and_then(Deadline::after);

        let method = self.layer.methods.of(request.uri().path()).clone();
        let (carries_data, is_client_stream) = (method.carries_data, method.is_client_stream);
        let is_server_stream = method.is_server_stream;
        let mut record = RequestRecord::begin(method, request.headers(), callers_deadline);
        let info = request.extensions_mut().remove::<ConnectionInfo>();
        let known = record.span().in_scope(|| self.layer.who_calls(&mut request, info.as_ref(), &record));
        let (caller, standing) = match known {
            Ok(known) => known,
            Err(TurnedAway { status, principal, reason }) => {
                let caller = Caller { principal, ..info.as_ref().map(ConnectionInfo::caller).unwrap_or_default() };
                self.layer.refusals.tell(&caller, record.method(), status.code(), reason);
                return refused(record, status);
            }
        };
        let peer = Peer::of(&caller);
        request.extensions_mut().insert(caller.clone());
        if let Some(standing) = standing.clone() {
            request.extensions_mut().insert(standing);
        }
        let mut reply_account = None;
        if let Some(info) = info {
            // Where tonic looks for the caller's address.
            request.extensions_mut().insert(info.tcp.clone());
            if let Some(admission) = &self.layer.admission {
                let admitted = match admission.admit(info, peer, record.method()) {
                    Ok(admitted) => admitted,
                    Err(status) => {
                        self.layer.refusals.tell(&caller, record.method(), status.code(), refusals::OVERLOAD);
                        return refused(record, status);
                    }
                };
                request = request.map(|body| admitted.counted(body, record.method().is_client_stream));
                reply_account = Some((Arc::clone(admission), admitted.replied_to()));
                record.hold(admitted);
            }
        }
        if let Some(sizes) = self.layer.sizes {
            if let Some(refusal) = foreign_content(request.headers()) {
                self.layer.refusals.tell(&caller, record.method(), Code::InvalidArgument, refusals::CONTENT);
                return Box::pin(std::future::ready(Ok(record.answer(refusal.map(ReplyBody::unlimited)))));
            }
            let max_bytes = if carries_data { sizes.with_data } else { sizes.plain };
            request = request.map(|body| Body::new(MeasuredBody::new(body, max_bytes, is_client_stream)));
        }

        let mut context = record.context();
        if let Some(deadline) = deadline {
            context = context.with_value(deadline);
        }
        let span = record.span();
        // What the service does at once belongs to the request as well.
        let answer = {
            let _attached = context.clone().attach();
            span.in_scope(|| self.inner.call(request))
        };
        let answer = answer.with_context(context).instrument(span);
        let unknown = Some(self.layer.refusals.clone()).filter(|_| !record.method().is_known());
        Box::pin(async move {
            let answer = Deadline::limit(deadline, answer).await.transpose()?;
            if let (Some(answer), Some(unknown)) = (&answer, unknown)
                && answer.extensions().get::<Recorded>().is_none()
            {
                let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
                unknown.tell(&caller, record.method(), code, refusals::NO_METHOD);
            }
            match answer {
                Some(answer) => Ok(record.answer(answer.map(|body| {
                    let body = match standing.filter(|_| is_server_stream) {
                        Some(standing) => standing.limit(body),
                        None => body,
                    };
                    match reply_account {
                        Some((admission, to)) => ReplyBody::counted(body, admission.reply_account(to)),
                        None => ReplyBody::unlimited(body),
                    }
                }))),
                None => {
                    let message = format!("no answer within {} ms", limit.unwrap_or_default().as_millis());
                    Ok(record.answer(Status::deadline_exceeded(message).into_http().map(ReplyBody::unlimited)))
                }
            }
        })
    }
}

impl RequestLayer {
    /// Who makes a request, and how they stand. The request loses what they proved it with.
    ///
    /// # Errors
    /// The refusal of who did not prove it, or has used up their requests.
    fn who_calls(
        &self,
        request: &mut http::Request<Body>,
        info: Option<&ConnectionInfo>,
        record: &RequestRecord,
    ) -> Result<(Caller, Option<Standing>), TurnedAway> {
        let caller = info.map(ConnectionInfo::caller).unwrap_or_default();
        match &self.guard {
            None => Ok((caller, None)),
            Some(guard) => guard.admit(request.headers_mut(), record.method(), caller),
        }
    }
}

/// An answer that is being made.
type Answering<Error> = Pin<Box<dyn Future<Output = Result<http::Response<RecordedBody>, Error>> + Send>>;

fn refused<Error: Send + 'static>(record: RequestRecord, status: Status) -> Answering<Error> {
    let answer = record.answer(status.into_http().map(ReplyBody::unlimited));
    Box::pin(std::future::ready(Ok(answer)))
}

/// Refuses what is no gRPC. tonic would take it for such, and find fault with the bytes.
fn foreign_content(headers: &http::HeaderMap) -> Option<http::Response<Body>> {
    let given = headers.get(http::header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let given = given.as_deref().unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if matches!(kind, "application/grpc" | "application/grpc+proto") {
        return None;
    }
    // A header is as long as its sender likes.
    let shown: String = given.chars().take(100).collect();
    let message = format!("content-type: {shown:?} is not application/grpc, which is all that is spoken here");
    let mut refusal = Status::invalid_argument(message).into_http();
    // For callers that speak HTTP alone.
    *refusal.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::{of_caller, remaining};
    use std::convert::Infallible;
    use tower::ServiceExt as _;

    async fn answered_within(timeout: Option<Duration>, grpc_timeout: Option<&str>) -> (tonic::Code, Duration) {
        let methods = MethodNames::read(&[]).unwrap();
        let layer =
            RequestLayer { methods, timeout, sizes: None, admission: None, guard: None, refusals: Refusals::default() };
        let hanging = tower::service_fn(async |_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, Infallible>>().await
        });
        let mut request = http::Request::new(Body::empty());
        if let Some(value) = grpc_timeout {
            request.headers_mut().insert("grpc-timeout", value.parse().unwrap());
        }
        let started = tokio::time::Instant::now();
        let answer = layer.layer(hanging).oneshot(request).await.unwrap();
        (Status::from_header_map(answer.headers()).unwrap().code(), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_shorter_deadline_wins() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (server, caller, expected) in [
            (seconds(60), Some("2S"), 2),
            (seconds(3), Some("1H"), 3),
            (seconds(4), None, 4),
            (seconds(4), Some("99999999H"), 4),
            (seconds(4), Some("soon"), 4),
            (None, Some("5S"), 5),
        ] {
            let (code, waited) = answered_within(server, caller).await;
            assert_eq!(code, tonic::Code::DeadlineExceeded);
            assert_eq!(waited.as_secs(), expected, "{server:?} {caller:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_knows_what_is_left() {
        let timeout = Some(Duration::from_secs(9));
        let methods = MethodNames::read(&[]).unwrap();
        let layer =
            RequestLayer { methods, timeout, sizes: None, admission: None, guard: None, refusals: Refusals::default() };
        let asking = tower::service_fn(async |_: http::Request<Body>| {
            tokio::time::advance(Duration::from_secs(2)).await;
            let mut answer = http::Response::new(Body::empty());
            answer.extensions_mut().insert((remaining().unwrap(), of_caller()));
            Ok::<_, Infallible>(answer)
        });
        let asked = |grpc_timeout: Option<&'static str>| {
            let mut request = http::Request::new(Body::empty());
            let headers = grpc_timeout.map(|value| ("grpc-timeout", value.parse().unwrap()));
            request.headers_mut().extend(headers.map(|(name, value)| (http::HeaderName::from_static(name), value)));
            let (layer, started) = (layer.clone(), tokio::time::Instant::now());
            async move {
                let answer = layer.layer(asking).oneshot(request).await.unwrap();
                let &(left, deadline): &(Duration, Option<std::time::Instant>) = answer.extensions().get().unwrap();
                (left.as_secs(), deadline.map(|deadline| deadline.duration_since(started.into_std()).as_secs()))
            }
        };
        assert_eq!(asked(None).await, (7, None));
        assert_eq!(asked(Some("5S")).await, (3, Some(5)));
        // What goes on after the answer began is limited by its caller alone.
        assert_eq!(asked(Some("1H")).await, (7, Some(3600)));
    }

    #[tokio::test]
    async fn what_is_no_grpc_is_refused_as_such() {
        let sizes = Some(MessageSizes { with_data: 100, plain: 10 });
        let methods = MethodNames::read(&[]).unwrap();
        let layer =
            RequestLayer { methods, timeout: None, sizes, admission: None, guard: None, refusals: Refusals::default() };
        let answering =
            tower::service_fn(async |_: http::Request<Body>| Ok::<_, Infallible>(http::Response::new(Body::empty())));
        let content = async |kind: &str| {
            let request = http::Request::builder().header("content-type", kind).body(Body::empty()).unwrap();
            let answer = layer.clone().layer(answering).oneshot(request).await.unwrap();
            (answer.status().as_u16(), Status::from_header_map(answer.headers()).map(|status| status.code()))
        };
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
            assert_eq!(content(kind).await, (200, None), "{kind}");
        }
        for kind in ["", "text/plain", "application/json", "application/grpc+json", "application/grpcx"] {
            assert_eq!(content(kind).await, (415, Some(tonic::Code::InvalidArgument)), "{kind}");
        }
    }
}
