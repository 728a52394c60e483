//! gRPC calls that never leave the process, and the type that these share with calls over a network.

use crate::ServerError;
use crate::method_names::MethodNames;
use crate::refusals::Refusals;
use crate::request::{RequestLayer, RequestService};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _};

/// What a client of a service makes its calls over, whether they leave the process or not. Clones share it.
pub type GrpcChannel = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// Calls over a network.
pub fn network_channel(channel: Channel) -> GrpcChannel {
    BoxCloneSyncService::new(channel.map_err(|error| Status::from_error(error.into())))
}

/// Calls to `routes`, whose methods are those of `descriptor_set`, in this process: the same messages, statuses, traces,
/// deadlines and records as over TCP, without its limits: those stand at the outer door. There is no connection that many
/// calls could break at once.
///
/// # Errors
/// [`ServerError::Descriptor`].
pub fn in_process_channel(routes: Routes, descriptor_set: &[u8]) -> Result<GrpcChannel, ServerError> {
    let methods = MethodNames::read(&[descriptor_set])?;
    let requests = RequestLayer {
        methods,
        timeout: None,
        sizes: None,
        admission: None,
        guard: None,
        refusals: Refusals::default(),
    };
    let service = requests.layer(routes.prepare());
    Ok(BoxCloneSyncService::new(tower::service_fn(move |request| call(service.clone(), request))))
}

/// One call, as a task of its own: it runs beside its caller's other calls, a panic in it is its own, and the caller's trace
/// and log span reach it by its headers alone. It ends with the caller's interest.
async fn call(service: RequestService<Routes>, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
    let running = AbortOnDropHandle::new(tokio::spawn(service.oneshot(request)));
    match running.await {
        Ok(Ok(answer)) => Ok(answer.map(|body| Body::new(GuardedBody { body: Some(body) }))),
        Ok(Err(never)) => match never {},
        Err(error) => Ok(error.try_into_panic().map_or_else(|_| stopped(), |panic| panicked(&*panic)).into_http()),
    }
}

/// The runtime shuts down.
fn stopped() -> Status {
    Status::unavailable("the service is shutting down")
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    let reason = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(reason = reason.unwrap_or("unknown"), "a request's handler panicked");
    Status::internal("internal failure; the service's log has the details")
}

/// An answer whose panics end the answer, not the task that reads it.
struct GuardedBody<Inner> {
    /// Nothing after a panic.
    body: Option<Inner>,
}

impl<Inner: http_body::Body<Data = Bytes, Error = Status> + Unpin> http_body::Body for GuardedBody<Inner> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(task))).unwrap_or_else(|panic| {
            self.body = None;
            Poll::Ready(Some(Err(panicked(&*panic))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Inner::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Inner::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio_stream::StreamExt as _;
    use tonic::{Code, Request, Response};
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::health_server::{Health, HealthServer};
    use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

    /// Panics for some names of services, and hangs for one.
    #[derive(Clone, Default)]
    struct Fragile {
        broken_off: Arc<AtomicUsize>,
    }

    struct CountsItsEnd(Arc<AtomicUsize>);

    impl Drop for CountsItsEnd {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tonic::async_trait]
    impl Health for Fragile {
        async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
            match request.get_ref().service.as_str() {
                "panic" => panic!("on purpose"),
                "hang" => {
                    let _ends = CountsItsEnd(Arc::clone(&self.broken_off));
                    std::future::pending().await
                }
                _ => Ok(Response::new(HealthCheckResponse::default())),
            }
        }

        type WatchStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

        async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
            let replies = tokio_stream::iter(0..2).map(|number| match number {
                0 => Ok(HealthCheckResponse::default()),
                _ => panic!("on purpose"),
            });
            Ok(Response::new(Box::pin(replies)))
        }
    }

    fn request(service: &str) -> HealthCheckRequest {
        HealthCheckRequest { service: service.to_owned() }
    }

    #[tokio::test]
    async fn a_panic_is_its_own_calls_failure() {
        let routes = Routes::new(HealthServer::new(Fragile::default()));
        let channel = in_process_channel(routes, tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
        let mut client = HealthClient::new(channel);
        assert_eq!(client.check(request("panic")).await.unwrap_err().code(), Code::Internal);
        let mut replies = client.watch(request("")).await.unwrap().into_inner();
        let mut code = None;
        while code.is_none() {
            code = replies
                .message()
                .await
                .map_or_else(|status| Some(status.code()), |reply| reply.is_none().then_some(Code::Ok));
        }
        assert_eq!(code, Some(Code::Internal));
        client.check(request("")).await.unwrap();
    }

    #[tokio::test]
    async fn a_call_ends_with_its_callers_interest_and_deadline() {
        let fragile = Fragile::default();
        let routes = Routes::new(HealthServer::new(fragile.clone()));
        let channel = in_process_channel(routes, tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
        let mut client = HealthClient::new(channel);
        let mut hurried = Request::new(request("hang"));
        hurried.set_timeout(std::time::Duration::from_millis(5));
        assert_eq!(client.check(hurried).await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(fragile.broken_off.load(Ordering::SeqCst), 1);

        let mut abandoned = client.clone();
        let abandoned = tokio::spawn(async move { abandoned.check(request("hang")).await });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        // One thread runs all tasks: the call is dropped before this one gets its turn again.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(fragile.broken_off.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn unknown_methods_are_unimplemented() {
        let channel = in_process_channel(Routes::default(), tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
        let status = HealthClient::new(channel).check(request("")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
}
