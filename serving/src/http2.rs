//! One HTTP/2 connection and its streams, each a task of its own.
//!
//! tonic's server would do most of this, but it offers no way to end a connection, a stream whose reply nobody reads, or to
//! bound what HTTP/2 keeps of a reply.

use crate::admission::READER_WAIT;
use crate::connection::{Connection, ConnectionInfo};
use crate::connections::Place;
use crate::reply_body::{PIECE_BYTES, ReaderWait};
use crate::request::RequestService;
use crate::request_record::RecordedBody;
use crate::server::ServerConfig;
use descry_trust::ClientCertificate;
use descry_trust::tls::{Accepted, ServerTls};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::{Connected as _, TcpConnectInfo};
use tower::Service as _;

/// A peer that vanished without a word is noticed after the sum of both.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection that makes room for another may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Streams of a connection beyond its requests: those are refused by a status, which takes a stream as well.
const STREAMS_TO_REFUSE: usize = 128;

/// Streams on which something came after they were refused, as the rest of an upload does, in all of a connection's life.
/// hyper's 1,024 are what an honest client reaches in some hours of overload, and then its connection is closed.
const LATE_STREAMS: usize = 1 << 20;

/// Bytes of a request, and of all requests of a connection, that may be under way before they are looked at.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// What all connections of a server have in common.
#[derive(Clone)]
pub(crate) struct Http2 {
    builder: http2::Builder<StreamTasks>,
    requests: RequestService<Routes>,
    tls: Option<Arc<ServerTls>>,
    write_timeout: Duration,
    max_requests: usize,
    /// Connections take no further requests, and end with their last one.
    pub(crate) draining: CancellationToken,
    /// Connections end at once.
    pub(crate) cut_off: CancellationToken,
}

impl Http2 {
    pub(crate) fn new(requests: RequestService<Routes>, config: &ServerConfig, tls: Option<Arc<ServerTls>>) -> Self {
        let write_timeout = Duration::from_millis(config.write_timeout_ms);
        let max_requests = config.max_concurrent_requests.min(Semaphore::MAX_PERMITS);
        let max_streams = u32::try_from(max_requests.saturating_mul(2).saturating_add(STREAMS_TO_REFUSE));
        let mut builder = http2::Builder::new(StreamTasks { write_timeout });
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .max_concurrent_streams(max_streams.unwrap_or(u32::MAX))
            .max_send_buf_size(PIECE_BYTES)
            // A stream that is not read for a while, such as one of paced images, must leave the others of its connection room
            // to send.
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            // Calls that were broken off before they were looked at. h2's own 20 are fewer than one impatient page leaves
            // behind, and the connection is closed with all its other calls.
            .max_pending_accept_reset_streams(max_requests)
            .max_local_error_reset_streams(LATE_STREAMS);
        Self {
            builder,
            requests,
            tls,
            write_timeout,
            max_requests,
            draining: CancellationToken::new(),
            cut_off: CancellationToken::new(),
        }
    }

    /// Serves a connection until it ends, is cut off, or has to make room.
    pub(crate) async fn serve(self, stream: TcpStream, place: Place) {
        let tcp = stream.connect_info();
        let Some(tls) = self.tls.clone() else {
            let proven = Proven { certificate: None, superseded: CancellationToken::new() };
            return self.serve_requests(stream, (tcp, proven), place).await;
        };
        let accepted = tokio::select! {
            accepted = tls.accept(stream) => accepted,
            () = self.draining.cancelled() => return,
            () = place.connection.retired.cancelled() => return,
        };
        match accepted {
            Ok(Accepted { stream, certificate, superseded }) => {
                self.serve_requests(stream, (tcp, Proven { certificate, superseded }), place).await;
            }
            Err(error) => {
                metrics::counter!("descry_tls_handshakes_failed_total").increment(1);
                tracing::debug!(%error, peer = %place.connection.peer(), "a TLS handshake failed");
            }
        }
    }

    async fn serve_requests<Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: Stream,
        (tcp, Proven { certificate, superseded }): (TcpConnectInfo, Proven),
        place: Place,
    ) {
        let info = ConnectionInfo {
            tcp,
            certificate,
            request_slots: Arc::new(Semaphore::new(self.max_requests)),
            connection: Arc::clone(&place.connection),
        };
        let service = ConnectionService { requests: self.requests, info };
        let stream = TokioIo::new(Connection::new(stream, self.write_timeout));
        let mut connection = pin!(self.builder.serve_connection(stream, service));
        let draining = self.draining.clone();
        let ending = async {
            tokio::select! {
                () = draining.cancelled() => {}
                // Who is trusted no longer makes no further requests over it. What runs may end.
                () = superseded.cancelled() => {}
            }
        };
        let served = tokio::select! {
            served = &mut connection => served,
            () = self.cut_off.cancelled() => return,
            () = place.connection.unsent_for(self.write_timeout * 2) => {
                metrics::counter!("descry_replies_abandoned_total").increment(1);
                tracing::debug!("a connection whose replies nobody reads is closed");
                return;
            }
            () = ending => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    served = connection => served,
                    () = self.cut_off.cancelled() => return,
                }
            }
            () = place.connection.retired.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // Who does not listen is not waited for.
                let Ok(served) = tokio::time::timeout(GOODBYE, connection).await else { return };
                served
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// What a client proved while it connected.
struct Proven {
    certificate: Option<Arc<ClientCertificate>>,
    /// Cancelled when it may hold no longer.
    superseded: CancellationToken,
}

/// The requests of one connection.
struct ConnectionService {
    requests: RequestService<Routes>,
    info: ConnectionInfo,
}

impl hyper::service::Service<http::Request<Incoming>> for ConnectionService {
    type Response = http::Response<RecordedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.info.clone());
        // Routes are always ready.
        self.requests.clone().call(request)
    }
}

/// Runs each stream as a task, and ends those whose replies wait for their readers for too long: HTTP/2 resets the stream,
/// and keeps nothing of the reply.
#[derive(Clone)]
pub(crate) struct StreamTasks {
    write_timeout: Duration,
}

impl<Stream: Future<Output = ()> + Send + 'static> hyper::rt::Executor<Stream> for StreamTasks {
    fn execute(&self, stream: Stream) {
        tokio::spawn(watched(stream, self.write_timeout));
    }
}

async fn watched(stream: impl Future<Output = ()>, write_timeout: Duration) {
    let wait = Arc::new(ReaderWait::default());
    let mut stream = pin!(READER_WAIT.scope(Arc::clone(&wait), stream));
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    let is_read = poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        // Looked at after each step of the stream; most replies are gone with their first.
        let Some(since) = wait.since() else {
            alarm = None;
            return Poll::Pending;
        };
        loop {
            let deadline = since + write_timeout;
            if Instant::now() >= deadline {
                return Poll::Ready(false);
            }
            let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            // It was set for an earlier piece.
            alarm.as_mut().reset(deadline);
        }
    });
    if !is_read.await {
        metrics::counter!("descry_replies_abandoned_total").increment(1);
        tracing::debug!("a reply that nobody reads is let go");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply_body::{ReplyAccount, ReplyBody};
    use crate::shares::Shares;
    use bytes::Bytes;
    use http_body::Frame;
    use std::task::Context;
    use tonic::Status;

    /// Frames for ever.
    struct Endless;

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Ok(Frame::data(vec![0; 100_000].into()))))
        }
    }

    /// Takes a piece every so often, some times, and then none.
    async fn read(bytes: Arc<Shares>, pause: Duration, pieces: usize) {
        let account = ReplyAccount { bytes, peer: None, connection: None, wait: READER_WAIT.try_with(Arc::clone).ok() };
        let mut body = ReplyBody::counted(Body::new(Endless), account);
        for _ in 0..pieces {
            poll_fn(|task| http_body::Body::poll_frame(Pin::new(&mut body), task)).await;
            tokio::time::sleep(pause).await;
        }
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_nobody_reads_is_let_go() {
        let bytes = Shares::new(1 << 20, 1 << 20);
        let started = Instant::now();
        watched(read(Arc::clone(&bytes), Duration::from_secs(20), 3), Duration::from_secs(30)).await;
        // As long as the reader goes on, slowly, so does the reply.
        assert_eq!(started.elapsed().as_secs(), 70);
        assert_eq!(bytes.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_no_reader_may_take_its_time() {
        let working = tokio::time::sleep(Duration::from_secs(3_600));
        let started = Instant::now();
        watched(working, Duration::from_secs(30)).await;
        assert_eq!(started.elapsed().as_secs(), 3_600);
    }
}
