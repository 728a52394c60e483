//! What a collector is sent.

use super::*;
use crate::method_names::MethodNames;
use crate::request::RequestLayer;
use crate::server::{Certificates, settings_of_tests};
use crate::{AccessConfig, ServerConfig};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::convert::Infallible;
use std::future::Ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::{Layer as _, Service, ServiceExt as _};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Subscriber};

/// Takes spans as a collector does.
#[derive(Clone)]
struct Collector(mpsc::UnboundedSender<Span>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl UnaryService<ExportTraceServiceRequest> for Collector {
    type Response = ExportTraceServiceResponse;
    type Future = Ready<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<ExportTraceServiceRequest>) -> Self::Future {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            self.0.send(span).unwrap();
        }
        std::future::ready(Ok(Response::new(ExportTraceServiceResponse::default())))
    }
}

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let collector = self.clone();
        Box::pin(async move { Ok(Grpc::new(tonic_prost::ProstCodec::default()).unary(collector, request).await) })
    }
}

/// Lets a subscriber have what this thread does, as long as what is returned is kept.
pub(crate) fn on_this_thread(subscriber: impl Subscriber + Send + Sync) -> (DefaultGuard, Dispatch) {
    let installed = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, whichever thread meets a line first asks its own whether anybody wants it, and nobody is
    // asked again. With two, all are asked.
    (installed, Dispatch::new(tracing_subscriber::registry()))
}

// One thread runs the test and its request: the subscriber is this thread's alone.
#[tokio::test]
async fn a_request_and_what_it_does_reach_the_collector() {
    let (sent, mut received) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let otlp_endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collecting = tonic::transport::Server::builder().add_service(Collector(sent));
    tokio::spawn(collecting.serve_with_incoming(TcpListenerStream::new(listener)));

    let export = SpanExport::open(&TelemetryConfig { otlp_endpoint, ..TelemetryConfig::default() }, "test-service")
        .unwrap()
        .unwrap();
    // Lines are filtered out altogether, spans are exported all the same.
    let log = LogConfig { filter: "off".to_owned(), format: LogFormat::Text };
    let subscriber = subscriber(&log, Some(export.tracer.clone()), std::io::stderr).unwrap();
    let installed = on_this_thread(subscriber);
    let methods = MethodNames::read(&[tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
    let layer = RequestLayer {
        methods,
        timeout: None,
        sizes: None,
        admission: None,
        guard: None,
        refusals: crate::refusals::Refusals::default(),
    };
    let service = layer.layer(tower::service_fn(async |_: http::Request<Body>| {
        tracing::info_span!("inner").in_scope(|| tracing::debug_span!("hidden").in_scope(|| {}));
        Ok::<_, Infallible>(Status::internal("broken").into_http())
    }));
    let trace = "b3f92f3577b34da6a3ce929d0e0e4711";
    let request = http::Request::post("/grpc.health.v1.Health/Check")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(Body::empty())
        .unwrap();
    drop(service.oneshot(request).await.unwrap());
    tokio::task::spawn_blocking(move || export.finish()).await.unwrap();
    drop(installed);

    let mut spans = Vec::new();
    while let Ok(span) = received.try_recv() {
        let trace_id: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        // Other tests of this process may be measured meanwhile.
        if trace_id == trace {
            spans.push(span);
        }
    }
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["inner", "grpc.health.v1.Health/Check"]);
    let (inner, outer) = (&spans[0], &spans[1]);
    assert_eq!(outer.kind(), SpanKind::Server);
    assert_eq!(outer.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!(inner.parent_span_id, outer.span_id);
    assert_eq!(outer.status.as_ref().unwrap().message, "INTERNAL");
}

#[tokio::test]
async fn a_collector_is_met_over_tls() {
    let (sent, mut received) = mpsc::unbounded_channel();
    let certificates = Certificates::new();
    let server = ServerConfig { tls: certificates.server(), ..settings_of_tests() };
    let access = AccessConfig::default();
    let listener = server.bind(&access).await.unwrap();
    let otlp_endpoint = format!("https://{}", listener.local_addr().unwrap());
    let routes = tonic::service::Routes::new(Collector(sent));
    tokio::spawn(async move {
        let (descriptor, settings) = (tonic_health::pb::FILE_DESCRIPTOR_SET, (&server, &access));
        crate::serve(listener, routes, descriptor, settings, std::future::pending()).await
    });
    // A provider of its own: the process has one tracer, which is another test's.
    let exporter = exporter(&TelemetryConfig { otlp_endpoint, tls: certificates.anybody() }).unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    drop(opentelemetry::trace::Tracer::start(&provider.tracer("test"), "told over TLS"));
    tokio::task::spawn_blocking(move || provider.shutdown().unwrap()).await.unwrap();
    assert_eq!(received.try_recv().unwrap().name, "told over TLS");
}

#[tokio::test]
async fn an_endpoint_without_http_is_refused_by_name() {
    let open = |endpoint: &str, ca: &str| {
        let tls = ClientTlsSettings { ca: ca.into(), ..ClientTlsSettings::default() };
        SpanExport::open(&TelemetryConfig { otlp_endpoint: endpoint.to_owned(), tls }, "test")
    };
    assert!(open("", "").unwrap().is_none());
    assert!(
        open("grpc://collector:4317", "").err().unwrap().starts_with("telemetry.otlp_endpoint: \"grpc://collector")
    );
    let missing = open("https://collector:4317", "/nowhere/ca.pem").err().unwrap();
    assert!(missing.starts_with("telemetry.tls: cannot read /nowhere/ca.pem"), "{missing}");
}

/// Keeps what would go to standard error.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What events become on standard error.
fn logged(filter: &str, format: LogFormat, tell: impl FnOnce()) -> String {
    let kept = Kept::default();
    let (config, writer) = (LogConfig { filter: filter.to_owned(), format }, kept.clone());
    tracing::subscriber::with_default(subscriber(&config, None, move || writer.clone()).unwrap(), tell);
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_command_says_sentences() {
    let text = logged("warn", LogFormat::Sentences, || {
        tracing::warn!(reason = "the cable is cut", pause_ms = 1000, "trying again");
        tracing::error!("stopped");
        tracing::info!("unasked");
    });
    assert_eq!(text, "warning: trying again (reason: the cable is cut, pause_ms: 1000)\nerror: stopped\n");
}

#[test]
fn no_name_acts_on_a_terminal_or_begins_a_line() {
    let name = "\u{1b}[2Ja\n2026-11-28T00:00:00Z  INFO all is well\u{202e}";
    for format in [LogFormat::Text, LogFormat::Json, LogFormat::Sentences] {
        let text = logged("info", format, || {
            tracing::info_span!("span", name).in_scope(|| tracing::warn!(name, quoted = %name, "{name}"));
        });
        assert!(text.lines().count() == 1 && text.contains("[2Ja"), "{text}");
        assert!(!text.trim_end().contains(|letter: char| letter.is_control()), "{text:?}");
    }
}

#[test]
fn what_onnx_runtime_tells_of_its_memory_is_for_those_who_ask() {
    let told = |filter: &str| {
        logged(filter, LogFormat::Sentences, || {
            tracing::info!(target: "ort::logging", "extending the arena");
            tracing::warn!(target: "ort::logging", "falls back");
        })
    };
    for (filter, lines) in [("info", 1), ("debug", 1), ("ort=info", 2), ("info,ort=info", 2), ("warn", 1), ("off", 0)] {
        assert_eq!(told(filter).lines().count(), lines, "{filter}");
    }
    assert_eq!(told("info,ort::logging=debug").lines().count(), 2);
    assert_eq!(told("descry_search=debug"), "");
    assert_eq!(told("info,orthography=debug").lines().count(), 1);
}
