//! An encoder service without a model.

use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// A running stand-in; it ends with the test.
pub(crate) struct StandIn {
    pub(crate) url: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    answered: AtomicUsize,
}

struct Service {
    refuses: bool,
    counts: Arc<Counts>,
}

impl StandIn {
    /// Answers everything.
    pub(crate) async fn start() -> Self {
        Self::serve(false).await
    }

    /// Refuses everything as if it was full.
    pub(crate) async fn refusing() -> Self {
        Self::serve(true).await
    }

    /// The most lists that were in work at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.counts.most_at_once.load(Ordering::SeqCst)
    }

    /// Lists answered.
    pub(crate) fn answered(&self) -> usize {
        self.counts.answered.load(Ordering::SeqCst)
    }

    async fn serve(refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counts = Arc::new(Counts::default());
        let service = EncoderServiceServer::new(Service { refuses, counts: counts.clone() });
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, counts }
    }
}

impl Service {
    async fn list(&self, items: usize, right_priority: bool) -> Result<Vec<proto::EncodeResult>, Status> {
        if self.refuses {
            return Err(refusal());
        }
        check(right_priority)?;
        let at_once = self.counts.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.counts.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        // Others get their turn meanwhile, as while a tower runs.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.counts.at_once.fetch_sub(1, Ordering::SeqCst);
        self.counts.answered.fetch_add(1, Ordering::SeqCst);
        Ok(vec![result(); items])
    }

    fn answer(&self, id: String, right_priority: bool) -> Result<proto::EncodeStreamResponse, Status> {
        if self.refuses {
            return Err(refusal());
        }
        check(right_priority)?;
        Ok(proto::EncodeStreamResponse {
            id,
            fingerprint: String::new(),
            result: Some(result()),
            timings: Some(timings(1)),
        })
    }
}

fn refusal() -> Status {
    Status::resource_exhausted("the queue is full")
}

fn check(right_priority: bool) -> Result<(), Status> {
    if right_priority { Ok(()) } else { Err(Status::invalid_argument("not the priority of this kind")) }
}

fn interactive(priority: i32) -> bool {
    priority != i32::from(proto::Priority::Bulk)
}

fn bulk(priority: i32) -> bool {
    priority != i32::from(proto::Priority::Interactive)
}

fn result() -> proto::EncodeResult {
    let outcome = Outcome::Embedding(proto::Embedding { values: vec![1.0] });
    proto::EncodeResult { outcome: Some(outcome), ..Default::default() }
}

fn timings(items: usize) -> proto::Timings {
    proto::Timings { queue_ms: 1.0, prepare_ms: 0.5, run_ms: 2.0, batch_size: items as u32 }
}

type Answers = Pin<Box<dyn Stream<Item = Result<proto::EncodeStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EncoderService for Service {
    async fn encode_text(
        &self,
        request: Request<proto::EncodeTextRequest>,
    ) -> Result<Response<proto::EncodeTextResponse>, Status> {
        let request = request.into_inner();
        let results = self.list(request.texts.len(), interactive(request.priority)).await?;
        let timings = Some(timings(results.len()));
        Ok(Response::new(proto::EncodeTextResponse { fingerprint: String::new(), results, timings }))
    }

    async fn encode_image(
        &self,
        request: Request<proto::EncodeImageRequest>,
    ) -> Result<Response<proto::EncodeImageResponse>, Status> {
        let request = request.into_inner();
        let results = self.list(request.images.len(), bulk(request.priority)).await?;
        let timings = Some(timings(results.len()));
        Ok(Response::new(proto::EncodeImageResponse { fingerprint: String::new(), results, timings }))
    }

    type EncodeTextStreamStream = Answers;
    type EncodeImageStreamStream = Answers;

    async fn encode_text_stream(
        &self,
        request: Request<Streaming<proto::EncodeTextStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let service = Self { refuses: self.refuses, counts: self.counts.clone() };
        let answers = request.into_inner().map(move |message| {
            let message = message?;
            service.answer(message.id, interactive(message.priority))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn encode_image_stream(
        &self,
        request: Request<Streaming<proto::EncodeImageStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let service = Self { refuses: self.refuses, counts: self.counts.clone() };
        let answers = request.into_inner().map(move |message| {
            let message = message?;
            service.answer(message.id, bulk(message.priority))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_model(
        &self,
        _request: Request<proto::GetModelRequest>,
    ) -> Result<Response<proto::GetModelResponse>, Status> {
        let execution_provider = "stand-in".to_owned();
        Ok(Response::new(proto::GetModelResponse { execution_provider, ..Default::default() }))
    }
}
