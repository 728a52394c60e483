//! A real server on a real socket, with a health service that answers when the test says so.

use super::*;
use crate::prometheus::{PrometheusConfig, read_page as page};
use crate::telemetry::LogFormat;
use crate::{telemetry, trace_context};
use descry_trust::Caller;
use std::io;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Requests that have arrived, and leave to answer one each.
pub(super) struct Gate {
    pub(super) arrived: Semaphore,
    pub(super) answers: Semaphore,
}

impl Gate {
    pub(super) fn closed() -> Self {
        Self { arrived: Semaphore::new(0), answers: Semaphore::new(0) }
    }
}

struct GatedHealth(Arc<Gate>);

#[tonic::async_trait]
impl Health for GatedHealth {
    /// Answers with the metadata that a call on behalf of this one would carry, and with the name in the caller's certificate.
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.arrived.add_permits(1);
        self.0.answers.acquire().await.unwrap().forget();
        let mut response = Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() });
        trace_context::inject(response.metadata_mut());
        let caller: Option<&Caller> = request.extensions().get();
        let certificate = caller.and_then(|caller| caller.certificate.as_deref());
        if let Some(name) = certificate.and_then(|certificate| certificate.name.as_deref()) {
            response.metadata_mut().insert("caller", name.parse().unwrap());
        }
        tracing::warn!("a line in the request");
        Ok(response)
    }

    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }
}

pub(crate) fn settings() -> ServerConfig {
    ServerConfig {
        listen: "127.0.0.1:0".to_owned(),
        tls: ServerTlsSettings::default(),
        max_connections: 8,
        max_connections_per_peer: 8,
        max_requests: 1_000,
        max_concurrent_requests: 8,
        request_timeout_ms: 60_000,
        max_message_bytes: 1 << 20,
        max_plain_message_bytes: 1 << 20,
        max_request_bytes_in_memory: 16 << 20,
        max_reply_bytes_in_memory: 16 << 20,
        write_timeout_ms: 30_000,
        drain_ms: 100,
        reflection: true,
        insecure: false,
    }
}

pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    pub(super) gate: Arc<Gate>,
    pub(super) admission: Arc<Admission>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    pub(super) async fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_with(change, |routes| routes).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut ServerConfig), add: impl FnOnce(Routes) -> Routes) -> Self {
        let mut config = settings();
        change(&mut config);
        let access = AccessConfig::default();
        let listener = config.bind(&access).await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::closed());
        let routes = add(Routes::new(HealthServer::new(GatedHealth(Arc::clone(&gate)))));
        let admission = Arc::new(Admission::new(&config));
        let of_server = Arc::clone(&admission);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let descriptor_set = tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET;
        let serving = tokio::spawn(async move {
            let shared = (of_server, Refusals::default());
            serve_admitted(listener, routes, descriptor_set, (&config, &access, shared), stopped).await
        });
        Self { address, gate, admission, stop, serving }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    async fn connect(&self) -> Result<HealthClient<Channel>, tonic::transport::Error> {
        Ok(HealthClient::new(self.endpoint().connect().await?))
    }

    pub(super) async fn client(&self) -> HealthClient<Channel> {
        self.connect().await.unwrap()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

pub(super) fn request() -> HealthCheckRequest {
    HealthCheckRequest::default()
}

/// The metadata of a call that the server made on behalf of ours.
async fn passed_on(client: &mut HealthClient<Channel>, traceparent: &[u8]) -> MetadataMap {
    let headers = [(http::HeaderName::from_static("traceparent"), http::HeaderValue::from_bytes(traceparent).unwrap())];
    let metadata = MetadataMap::from_headers(headers.into_iter().collect());
    let request = Request::from_parts(metadata, http::Extensions::new(), request());
    client.check(request).await.unwrap().metadata().clone()
}

#[tokio::test]
async fn the_servers_own_limit_is_a_deadline() {
    let server = TestServer::start(|config| config.request_timeout_ms = 20).await;
    let status = server.client().await.check(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(status.message(), "no answer within 20 ms");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_may_outlast_the_limit_for_requests() {
    let server = TestServer::start(|config| config.request_timeout_ms = 20).await;
    let mut client = server.client().await;
    let mut replies = client.watch(request()).await.unwrap().into_inner();
    // Its deadline would have passed by the time that another request's has.
    assert_eq!(client.check(request()).await.unwrap_err().code(), Code::DeadlineExceeded);
    let waiting = tokio::time::timeout(Duration::from_millis(50), replies.message()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    drop(replies);
    server.stop().await;
}

#[tokio::test]
async fn a_server_is_ready_when_all_of_its_services_are() {
    let mut routes = RoutesBuilder::default();
    let first = health_service(&mut routes, "first").await;
    let routes = routes.routes();
    let channel = crate::in_process_channel(routes, tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
    let client = HealthClient::new(channel);
    let ready = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        client.clone().check(request).await.unwrap().into_inner().status == ServingStatus::Serving as i32
    };
    first.set_ready(true).await;
    assert!(ready("first").await && ready("").await);
    let second = first.of("second").await;
    assert!(ready("first").await && !ready("second").await && !ready("").await);
    second.set_ready(true).await;
    assert!(ready("").await);
    first.set_ready(false).await;
    second.set_ready(true).await;
    assert!(ready("second").await && !ready("first").await && !ready("").await, "one of two is not all");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let metrics = PrometheusConfig { listen: "127.0.0.1:0".to_owned(), ..PrometheusConfig::default() }
        .open()
        .await
        .unwrap()
        .unwrap();
    let server = TestServer::start(|config| config.max_connections = 1).await;
    server.gate.answers.add_permits(2);
    let mut client = server.client().await;
    client.check(request()).await.unwrap();

    let mut refused = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0);
    let text = page(metrics.address(), "GET /metrics").await;
    let rejected = text.lines().find_map(|line| line.strip_prefix("descry_connections_rejected_total "));
    assert!(rejected.unwrap().parse::<u64>().unwrap() >= 1);

    // There is room again as soon as the server has noticed that the client is gone.
    drop(client);
    let again = async {
        loop {
            if let Ok(mut client) = server.connect().await
                && client.check(request()).await.is_ok()
            {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_makes_room_again() {
    let server = TestServer::start(|_| {}).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(b"PRI *").await.unwrap();
    let started = tokio::time::Instant::now();
    // What hyper says to those who do not speak HTTP/2, if anything, and then the end.
    let _ = silent.read_to_end(&mut Vec::new()).await;
    assert_eq!(started.elapsed().as_secs(), 10);
    server.stop().await;
}

#[tokio::test]
async fn a_trace_goes_through_the_server() {
    let server = TestServer::start(|_| {}).await;
    server.gate.answers.add_permits(3);
    let mut client = server.client().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let passed = passed_on(&mut client, format!("00-{trace}-00f067aa0ba902b7-01").as_bytes()).await;
    let passed = passed.get("traceparent").unwrap().to_str().unwrap();
    assert!(passed.starts_with(&format!("00-{trace}-")), "{passed}");
    assert!(!passed.contains("00f067aa0ba902b7"), "{passed}");
    // Nonsense costs the caller its trace, not its answer.
    for nonsense in [&b"00-xyz"[..], b"\xFF\xFE"] {
        let passed = passed_on(&mut client, nonsense).await;
        assert_eq!(passed.get("traceparent").unwrap().len(), 55);
    }
    server.stop().await;
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// One thread runs the test and the server: the subscriber is this thread's alone.
#[tokio::test]
async fn lines_of_a_request_name_its_trace() {
    let written = Lines::default();
    let config = telemetry::LogConfig { filter: "warn".to_owned(), format: LogFormat::Json };
    let writer = written.clone();
    // Of a single subscriber, tracing believes that each thread has it: what another test's thread, which has none, meets first would
    // be off for all of them.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let subscriber = telemetry::subscriber(&config, None, move || writer.clone()).unwrap();
    let _installed = telemetry::on_this_thread(subscriber);

    let server = TestServer::start(|_| {}).await;
    server.gate.answers.add_permits(1);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    passed_on(&mut server.client().await, format!("00-{trace}-b7ad6b7169203331-01").as_bytes()).await;
    server.stop().await;

    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("a line in the request")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["trace_id"], trace);
    assert_eq!(line["span"]["parent_span_id"], "b7ad6b7169203331");
    assert_eq!(line["span"]["rpc.method"], "Check");
}

#[tokio::test]
async fn requests_are_counted_by_method_and_code() {
    let metrics = PrometheusConfig { listen: "127.0.0.1:0".to_owned(), ..PrometheusConfig::default() }
        .open()
        .await
        .unwrap()
        .unwrap();
    let server = TestServer::start(|_| {}).await;
    let mut client = server.client().await;
    let check = "service=\"grpc.health.v1.Health\",method=\"Check\"";
    let count = async |labels: &str| {
        let text = page(metrics.address(), "GET /metrics").await;
        let line = format!("descry_grpc_requests_total{{{labels}}} ");
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let answered = format!("{check},code=\"OK\"");
    // Other tests of this process count as well.
    let before = count(&answered).await;
    server.gate.answers.add_permits(2);
    client.check(request()).await.unwrap();
    client.check(request()).await.unwrap();
    assert!(count(&answered).await >= before + 2);

    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut made_up = tonic::client::Grpc::new(channel);
    made_up.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/made.up.Service/Method");
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let refused = made_up.unary(Request::new(request()), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(count("service=\"unknown\",method=\"unknown\",code=\"UNIMPLEMENTED\"").await >= 1);
    let text = page(metrics.address(), "GET /metrics").await;
    assert!(!text.contains("made.up"), "{text}");
    assert!(text.contains(&format!("descry_grpc_request_seconds_bucket{{{check},le=\"0.001\"}}")), "{text}");
    assert!(text.contains("descry_grpc_in_flight{service=\"grpc.health.v1.Health\"}"), "{text}");
    server.stop().await;
}

/// A test that waits for longer has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn calls_within_the_process_are_broken_off_without_limit() {
    let gate = Arc::new(Gate::closed());
    let routes = Routes::new(HealthServer::new(GatedHealth(Arc::clone(&gate))));
    let channel = crate::in_process_channel(routes, tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
    let client = HealthClient::new(channel);
    // One that was open before, and one after: neither is to suffer from the others.
    let mut early = client.clone();
    let early = tokio::spawn(async move { early.check(request()).await });
    gate.arrived.acquire().await.unwrap().forget();
    let broken_off = (0..300).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.check(request()).await })
    });
    let broken_off: Vec<_> = broken_off.collect();
    let arriving = gate.arrived.acquire_many(300);
    tokio::time::timeout(PATIENCE, arriving).await.expect("calls are lost").unwrap().forget();
    broken_off.iter().for_each(JoinHandle::abort);
    for call in broken_off {
        assert!(call.await.unwrap_err().is_cancelled());
    }
    gate.answers.add_permits(1_000);
    let mut late = client.clone();
    late.check(request()).await.unwrap();
    early.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_burst_of_calls_that_are_broken_off_closes_nothing() {
    for burst in [40, 150] {
        let server = TestServer::start(|config| config.max_concurrent_requests = 256).await;
        let mut client = server.client().await;
        let mut early = client.clone();
        let early = tokio::spawn(async move { early.check(request()).await });
        server.gate.arrived.acquire().await.unwrap().forget();
        for round in 0..4 {
            let calls = (0..burst).map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { client.check(request()).await })
            });
            let calls: Vec<_> = calls.collect();
            // Some are broken off before the server has seen them, some while it works on them.
            for _ in 0..round * burst / 4 {
                let arriving = server.gate.arrived.acquire();
                tokio::time::timeout(PATIENCE, arriving).await.expect("the connection is closed").unwrap().forget();
            }
            calls.iter().for_each(JoinHandle::abort);
            for call in calls {
                assert!(call.await.unwrap_err().is_cancelled());
            }
        }
        // Some may still be on their way out.
        server.gate.answers.add_permits(1_000);
        early.await.unwrap().unwrap();
        client.check(request()).await.unwrap();
        server.stop().await;
    }
}
