//! What an operator sees of a request: one trace and one deadline through both services, and metrics of both.

use crate::services::{demo_images, index, text_search};
use crate::stands::polling::until;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use descry_proto::search::v1::IndexImagesRequest;
use descry_proto::search::v1::index_images_request::{Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_search::SearchConfig;
use descry_serving::prometheus::PrometheusConfig;
use descry_store::{EmbeddedConfig, EmbeddedStore, VectorStore as _};
use descry_tests::TestStack;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};

/// An encoder that tells what it was asked to encode with, and knows no answer.
struct Listening(mpsc::UnboundedSender<MetadataMap>);

type Answer<Reply> = Result<Response<Reply>, Status>;

#[tonic::async_trait]
impl EncoderService for Listening {
    type EncodeTextStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;
    type EncodeImageStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_text(&self, request: Request<proto::EncodeTextRequest>) -> Answer<proto::EncodeTextResponse> {
        self.0.send(request.metadata().clone()).unwrap();
        Err(Status::unavailable("listening only"))
    }

    async fn encode_image(&self, request: Request<proto::EncodeImageRequest>) -> Answer<proto::EncodeImageResponse> {
        self.0.send(request.metadata().clone()).unwrap();
        Err(Status::internal("listening only"))
    }

    async fn encode_text_stream(
        &self,
        _: Request<tonic::Streaming<proto::EncodeTextStreamRequest>>,
    ) -> Answer<Self::EncodeTextStreamStream> {
        Err(Status::unimplemented(""))
    }

    async fn encode_image_stream(
        &self,
        _: Request<tonic::Streaming<proto::EncodeImageStreamRequest>>,
    ) -> Answer<Self::EncodeImageStreamStream> {
        Err(Status::unimplemented(""))
    }

    async fn get_model(&self, _: Request<proto::GetModelRequest>) -> Answer<proto::GetModelResponse> {
        let fingerprint = FINGERPRINT.repeat(32);
        Ok(Response::new(proto::GetModelResponse { fingerprint, embedding_dimension: 4, ..Default::default() }))
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn milliseconds(metadata: &MetadataMap) -> u64 {
    let text = metadata.get("grpc-timeout").unwrap().to_str().unwrap();
    let (count, unit) = text.split_at(text.len() - 1);
    let count: u64 = count.parse().unwrap();
    match unit {
        "S" => count * 1000,
        "m" => count,
        "u" => count / 1000,
        "n" => count / 1_000_000,
        other => panic!("{other}"),
    }
}

/// A search service in front of a listening encoder.
struct Overheard {
    client: SearchServiceClient<Channel>,
    asked: mpsc::UnboundedReceiver<MetadataMap>,
    _data: TempDir,
}

impl Overheard {
    async fn start() -> Self {
        let (heard, asked) = mpsc::unbounded_channel();
        let (encoder_listener, encoder) = listener().await;
        let encoding = Server::builder().add_service(EncoderServiceServer::new(Listening(heard)));
        tokio::spawn(encoding.serve_with_incoming(TcpListenerStream::new(encoder_listener)));
        let data = tempfile::tempdir().unwrap();
        let mut config = SearchConfig::load(None).unwrap();
        config.embedded.path = data.path().join("galleries.sqlite3");
        // Searches ask for the gallery's model first.
        let store = EmbeddedStore::open(&config.embedded.path, EmbeddedConfig::default()).await.unwrap();
        store.create_gallery("lobby", &FINGERPRINT.repeat(32).parse().unwrap(), 4).await.unwrap();
        drop(store);
        config.encoder.url = format!("http://{encoder}");
        config.encoder.timeout_ms = 20_000;
        config.server.request_timeout_ms = 15_000;
        let (search_listener, search) = listener().await;
        tokio::spawn(descry_search::serve(search_listener, config, std::future::pending()));
        let client = SearchServiceClient::connect(format!("http://{search}")).await.unwrap();
        Self { client, asked, _data: data }
    }

    /// The trace and the time in milliseconds that the encoder was asked with.
    async fn asked(&mut self) -> (String, u64) {
        let metadata = self.asked.recv().await.unwrap();
        let parent = metadata.get("traceparent").unwrap().to_str().unwrap();
        let [_, trace, span, _] = parent.split('-').collect::<Vec<_>>()[..] else { panic!("{parent}") };
        assert_ne!(span, CALLERS_SPAN);
        (trace.to_owned(), milliseconds(&metadata))
    }
}

const FINGERPRINT: &str = "5a";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

fn traced<Body>(mut request: Request<Body>) -> Request<Body> {
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLERS_SPAN}-01").parse().unwrap());
    request
}

#[tokio::test]
async fn the_encoder_is_asked_in_the_callers_trace_and_time() {
    let mut overheard = Overheard::start().await;
    let mut request = traced(Request::new(text_search("lobby", "a man", 5)));
    request.set_timeout(Duration::from_secs(10));
    assert_eq!(overheard.client.search(request).await.unwrap_err().code(), Code::Unavailable);
    let (trace, left_ms) = overheard.asked().await;
    assert_eq!(trace, TRACE);
    assert!((1..=10_000).contains(&left_ms), "{left_ms}");

    // A patient caller's search is limited by the service it asks; a trace begins there.
    overheard.client.search(text_search("lobby", "a man", 5)).await.unwrap_err();
    let (trace, left_ms) = overheard.asked().await;
    assert_ne!(trace, TRACE);
    assert!((10_001..=15_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test]
async fn a_stream_is_one_trace_without_the_limit_of_a_request() {
    let mut overheard = Overheard::start().await;
    let start = Message::Start(Start { gallery: "lobby".to_owned(), create: true, ..Start::default() });
    let image = Message::Image(demo_images(1).remove(0));
    let messages = [start, image].map(|message| IndexImagesRequest { message: Some(message) });
    let request = traced(Request::new(tokio_stream::iter(messages)));
    let mut replies = overheard.client.index_images(request).await.unwrap().into_inner();
    assert!(matches!(replies.message().await.unwrap().unwrap().outcome, Some(Outcome::Error(_))));
    assert_eq!(overheard.asked().await, (TRACE.to_owned(), 20_000));
}

async fn page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test]
async fn both_services_are_measured() {
    let metrics = PrometheusConfig { listen: "127.0.0.1:0".to_owned(), ..PrometheusConfig::default() }
        .open()
        .await
        .unwrap()
        .unwrap();
    let stack = TestStack::start_with(|encoder, search| {
        // One recorder for all of them.
        encoder.metrics.listen = "127.0.0.1:0".to_owned();
        search.metrics.listen = "127.0.0.1:0".to_owned();
    })
    .await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(4)).await;
    client.search(text_search("lobby", "a man", 2)).await.unwrap();
    assert_eq!(client.search(text_search("nowhere", "a man", 2)).await.unwrap_err().code(), Code::NotFound);
    let text = page(metrics.address()).await;
    for (service, method, code) in [
        ("descry.search.v1.SearchService", "Search", "OK"),
        ("descry.search.v1.SearchService", "Search", "NOT_FOUND"),
        ("descry.search.v1.SearchService", "IndexImages", "OK"),
        ("descry.encoder.v1.EncoderService", "EncodeText", "OK"),
        ("descry.encoder.v1.EncoderService", "EncodeImage", "OK"),
    ] {
        let line = format!("descry_grpc_requests_total{{service=\"{service}\",method=\"{method}\",code=\"{code}\"}} ");
        assert!(text.contains(&line), "{line} in {text}");
    }
    for line in [
        "descry_encoder_items_total{tower=\"vision\",outcome=\"ok\"} ",
        "descry_encoder_items_total{tower=\"text\",outcome=\"ok\"} ",
        "descry_encoder_batch_items_bucket{tower=\"vision\",le=\"8\"} ",
        "descry_encoder_batch_tokens_bucket{tower=\"text\",le=\"16\"} ",
        "descry_encoder_run_seconds_count{tower=\"text\"} ",
        "descry_encoder_device_info{requested=\"auto\",execution_provider=\"openvino\",precision=\"fp32\",fallback=\"false\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    // The recorder is the process': other tests may have images waiting for a while.
    let nothing_waits = "descry_encoder_queue_items{tower=\"vision\",priority=\"bulk\"} 0\n";
    until(nothing_waits, async || page(metrics.address()).await.contains(nothing_waits).then_some(())).await;
    // The demo's model has experts; each layer's shares make a whole.
    let shares = |tower: &str| -> f64 {
        let start = format!("descry_encoder_expert_share{{tower=\"{tower}\",layer=\"0\"");
        let lines = text.lines().filter(|line| line.starts_with(&start));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    for tower in ["vision", "text"] {
        assert!((shares(tower) - 1.0).abs() < 1e-4, "{tower}: {}", shares(tower));
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_taken_address_ends_the_start() {
    let (_taken, address) = listener().await;
    let data = tempfile::tempdir().unwrap();
    let mut config = SearchConfig::load(None).unwrap();
    config.embedded.path = data.path().join("galleries.sqlite3");
    config.metrics.listen = address.to_string();
    let (search_listener, _) = listener().await;
    let error = descry_search::serve(search_listener, config, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("metrics.listen: cannot listen on {address}")), "{error}");
}
