//! More connections, requests and unread replies than a server takes. Bounds are counted; nothing here measures time.

use super::tests::{Gate, PATIENCE, TestServer, request};
use super::*;
use bytes::Bytes;
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;
use tower::Service;

/// Bytes of a large reply.
const LARGE: usize = 300_000;
const SMALL: usize = 10_000;

/// `Wait` is answered when the gate lets it, `Large` and `Small` at once, `Read` when its request is whole.
#[derive(Clone)]
struct Work(Arc<Gate>);

impl NamedService for Work {
    const NAME: &'static str = "test.Work";
}

/// A message of so many bytes, then the status.
struct Reply {
    message: Option<Bytes>,
    is_over: bool,
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.is_over, true) {
            return Poll::Ready(None);
        }
        let trailers = [(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))];
        Poll::Ready(Some(Ok(Frame::trailers(trailers.into_iter().collect()))))
    }
}

fn message(bytes: usize) -> Bytes {
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
    message.resize(5 + bytes, 0);
    message.into()
}

impl Service<http::Request<Body>> for Work {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let gate = Arc::clone(&self.0);
        let path = request.uri().path().to_owned();
        let mut body = request.into_body();
        Box::pin(async move {
            let bytes = match path.rsplit('/').next() {
                Some("Large") => LARGE,
                Some("Small") => SMALL,
                _ => 0,
            };
            if path.ends_with("Wait") {
                gate.arrived.add_permits(1);
                gate.answers.acquire().await.unwrap().forget();
            }
            if path.ends_with("Read") {
                while let Some(frame) =
                    std::future::poll_fn(|task| http_body::Body::poll_frame(Pin::new(&mut body), task)).await
                {
                    if let Err(status) = frame {
                        return Ok(status.into_http());
                    }
                }
            }
            let reply = Reply { message: Some(message(bytes)), is_over: false };
            let mut answer = http::Response::new(Body::new(reply));
            answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
            Ok(answer)
        })
    }
}

async fn start(change: impl FnOnce(&mut ServerConfig)) -> TestServer {
    let gate = Arc::new(Gate::closed());
    let work = Work(Arc::clone(&gate));
    let mut server = TestServer::start_with(change, |routes| routes.add_service(work)).await;
    // Probes are answered at once.
    server.gate.answers.add_permits(100);
    server.gate = gate;
    server
}

async fn call(channel: Channel, method: &'static str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(method);
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(Request::new(()), path, codec).await.map(drop)
}

async fn wait(channel: Channel) -> Result<(), Status> {
    call(channel, "/test.Work/Wait").await
}

/// Until something holds that the server does in its own time.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never came to hold");
}

fn check_refusal(refused: &Status) {
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let retry = refused.get_details_retry_info().unwrap();
    assert_eq!(retry.retry_delay, Some(Duration::from_millis(500)));
}

#[tokio::test]
async fn a_full_connection_says_when_to_come_back() {
    let server = start(|config| config.max_concurrent_requests = 1).await;
    let channel = server.endpoint().connect().await.unwrap();
    let first = tokio::spawn(wait(channel.clone()));
    server.gate.arrived.acquire().await.unwrap().forget();
    check_refusal(&wait(channel.clone()).await.unwrap_err());
    // Another connection has requests of its own, and probes are always answered.
    server.gate.answers.add_permits(2);
    wait(server.endpoint().connect().await.unwrap()).await.unwrap();
    HealthClient::new(channel.clone()).check(request()).await.unwrap();

    first.await.unwrap().unwrap();
    server.gate.answers.add_permits(1);
    wait(channel).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn ten_times_the_requests_are_refused_and_leave_nothing_behind() {
    // One peer gets half of these.
    let server = start(|config| config.max_requests = 40).await;
    let channels = futures_of(8, || async { server.endpoint().connect().await.unwrap() }).await;
    let calls: Vec<_> = (0..200).map(|number| tokio::spawn(wait(channels[number % 8].clone()))).collect();
    server.gate.arrived.acquire_many(20).await.unwrap().forget();
    assert_eq!(server.admission.taken()[0], 20);
    // Health is told meanwhile, over a connection that is as busy as the others.
    HealthClient::new(channels[0].clone()).check(request()).await.unwrap();
    server.gate.answers.add_permits(1_000);
    let mut answered = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => answered += 1,
            Err(status) => check_refusal(&status),
        }
    }
    assert!(answered >= 20, "{answered}");
    until(|| server.admission.taken() == [0, 0, 0]).await;
    server.stop().await;
}

async fn futures_of<Made>(count: usize, make: impl AsyncFn() -> Made) -> Vec<Made> {
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        made.push(make().await);
    }
    made
}

/// Begins calls whose replies are not read beyond their heads.
async fn unread(channel: &Channel, path: &str, count: usize) -> Vec<http::Response<Body>> {
    let mut answers = Vec::new();
    for _ in 0..count {
        let mut channel = channel.clone();
        let request = http::Request::post(path).header("content-type", "application/grpc");
        std::future::poll_fn(|task| channel.poll_ready(task)).await.unwrap();
        answers.push(
            channel.call(request.body(Body::new(Reply { message: None, is_over: true })).unwrap()).await.unwrap(),
        );
    }
    answers
}

fn narrow(endpoint: Endpoint) -> Endpoint {
    endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535)
}

#[tokio::test]
async fn unread_replies_are_bounded_together_and_let_go() {
    let limit = 8 * LARGE;
    let server = start(|config| {
        config.max_reply_bytes_in_memory = limit;
        config.write_timeout_ms = 500;
        config.max_concurrent_requests = 64;
    })
    .await;
    let channel = narrow(server.endpoint()).connect().await.unwrap();
    let answers = unread(&channel, "/test.Work/Large", 40).await;
    // All but a few were refused: of one peer half of the bytes are kept.
    let kept = server.admission.taken()[2];
    assert!((LARGE..=limit / 2).contains(&kept), "{kept}");
    // Nobody reads, and nobody needs to go away for the memory to return.
    until(|| server.admission.taken() == [0, 0, 0]).await;
    let status_of = |answer: http::Response<Body>| async {
        let mut body = answer.into_body();
        loop {
            match std::future::poll_fn(|task| http_body::Body::poll_frame(Pin::new(&mut body), task)).await {
                Some(Ok(frame)) if frame.is_data() => {}
                Some(Ok(frame)) => break Status::from_header_map(frame.trailers_ref().unwrap()).unwrap().code(),
                // Reset.
                Some(Err(status)) => break status.code(),
                None => break Code::Unknown,
            }
        }
    };
    let mut codes = Vec::new();
    for answer in answers {
        codes.push(status_of(answer).await);
    }
    assert!(codes.iter().filter(|code| **code == Code::ResourceExhausted).count() >= 36, "{codes:?}");
    assert!(codes.iter().all(|code| *code != Code::Ok), "{codes:?}");
    // The connection is as good as before.
    let mut read = unread(&channel, "/test.Work/Large", 1).await;
    assert_eq!(status_of(read.remove(0)).await, Code::Ok);
    until(|| server.admission.taken() == [0, 0, 0]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_reads_none_of_its_small_replies_is_closed() {
    let server = start(|config| {
        config.write_timeout_ms = 300;
        config.max_concurrent_requests = 64;
    })
    .await;
    let channel = narrow(server.endpoint()).connect().await.unwrap();
    // Of the last one for which there is room HTTP/2 has all, and the stream is over for the server.
    let answers = unread(&channel, "/test.Work/Small", 20).await;
    assert!(server.admission.taken()[2] > 0);
    until(|| server.admission.taken() == [0, 0, 0]).await;
    drop(answers);
    server.stop().await;
}

#[tokio::test]
async fn a_large_reply_arrives_whole() {
    let server = start(|_| {}).await;
    let channel = narrow(server.endpoint()).connect().await.unwrap();
    let mut body = unread(&channel, "/test.Work/Large", 1).await.remove(0).into_body();
    let mut bytes = 0;
    while let Some(frame) = std::future::poll_fn(|task| http_body::Body::poll_frame(Pin::new(&mut body), task)).await {
        bytes += frame.unwrap().into_data().map_or(0, |data| data.len());
    }
    assert_eq!(bytes, LARGE + 5);
    server.stop().await;
}

#[tokio::test]
async fn unfinished_requests_are_bounded_together() {
    let server = start(|config| {
        config.max_request_bytes_in_memory = 200_000;
        config.request_timeout_ms = 1_000;
    })
    .await;
    let begin = |bytes: usize| {
        let channel = server.endpoint().connect_lazy();
        tokio::spawn(async move {
            let mut channel = channel;
            std::future::poll_fn(|task| channel.poll_ready(task)).await.unwrap();
            let request = http::Request::post("/test.Work/Read").header("content-type", "application/grpc");
            let answer = channel.call(request.body(Body::new(Unfinished(Some(vec![0; bytes].into())))).unwrap()).await;
            Status::from_header_map(answer.unwrap().headers()).unwrap().code()
        })
    };
    let held = [begin(50_000), begin(40_000)];
    until(|| server.admission.taken()[1] == 90_000).await;
    // One peer gets half.
    assert_eq!(begin(20_000).await.unwrap(), Code::ResourceExhausted);
    // What never comes to its end is given up in time.
    for call in held {
        assert_eq!(call.await.unwrap(), Code::DeadlineExceeded);
    }
    until(|| server.admission.taken() == [0, 0, 0]).await;
    server.stop().await;
}

/// A request that stops before its end.
struct Unfinished(Option<Bytes>);

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
    }
}

#[tokio::test]
async fn one_peer_leaves_connections_to_others() {
    let server = start(|config| {
        config.max_connections = 4;
        config.max_connections_per_peer = 2;
    })
    .await;
    let first = server.endpoint().connect().await.unwrap();
    let second = server.endpoint().connect().await.unwrap();
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(third.read(&mut [0]).await.unwrap_or(0), 0);
    // Another address of this machine is another peer.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(server.address).await.unwrap();
    other.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(other.read(&mut [0; 9]).await.unwrap() > 0);
    server.gate.answers.add_permits(2);
    wait(first).await.unwrap();
    wait(second).await.unwrap();
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_makes_room_for_a_new_one() {
    let server = start(|config| config.max_connections = 1).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    idle.read_exact(&mut [0; 9]).await.unwrap();
    tokio::time::advance(crate::connections::IDLE + Duration::from_secs(1)).await;
    let channel = server.endpoint().connect().await.unwrap();
    server.gate.answers.add_permits(1);
    wait(channel).await.unwrap();
    // The other one was told to go, and is closed.
    idle.read_to_end(&mut Vec::new()).await.unwrap();
    server.stop().await;
}
