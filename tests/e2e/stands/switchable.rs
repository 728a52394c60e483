//! An encoder that a test can break, stop, or give another model while it runs.

use super::computed::ComputedModel;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// How it answers a request to encode images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Answers,
    /// It fails, with nothing that another attempt would change.
    Fails,
    /// It never answers.
    Hangs,
}

/// A running encoder. Clones control the same one.
#[derive(Clone)]
pub(crate) struct SwitchableEncoder {
    state: Arc<State>,
}

struct State {
    model: Mutex<ComputedModel>,
    behaviour: Mutex<Behaviour>,
    /// Requests to encode images so far.
    image_calls: AtomicUsize,
}

impl SwitchableEncoder {
    /// Starts it, until the test is over. Returns its address too.
    pub(crate) async fn serve(model: ComputedModel) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let behaviour = Mutex::new(Behaviour::Answers);
        let state = State { model: Mutex::new(model), behaviour, image_calls: AtomicUsize::new(0) };
        let encoder = Self { state: Arc::new(state) };
        let server = Server::builder().add_service(EncoderServiceServer::new(encoder.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (encoder, url)
    }

    pub(crate) fn set_model(&self, model: ComputedModel) {
        *self.state.model.lock().unwrap() = model;
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    pub(crate) fn image_calls(&self) -> usize {
        self.state.image_calls.load(Ordering::Relaxed)
    }

    fn model(&self) -> ComputedModel {
        self.state.model.lock().unwrap().clone()
    }
}

type Answer<Reply> = Result<Response<Reply>, Status>;

#[tonic::async_trait]
impl EncoderService for SwitchableEncoder {
    type EncodeTextStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;
    type EncodeImageStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_text(&self, request: Request<proto::EncodeTextRequest>) -> Answer<proto::EncodeTextResponse> {
        self.model().encode_text(request).await
    }

    async fn encode_image(&self, request: Request<proto::EncodeImageRequest>) -> Answer<proto::EncodeImageResponse> {
        self.state.image_calls.fetch_add(1, Ordering::Relaxed);
        let behaviour = *self.state.behaviour.lock().unwrap();
        match behaviour {
            Behaviour::Answers => self.model().encode_image(request).await,
            Behaviour::Fails => Err(Status::internal("broken on purpose")),
            Behaviour::Hangs => std::future::pending().await,
        }
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

    async fn get_model(&self, request: Request<proto::GetModelRequest>) -> Answer<proto::GetModelResponse> {
        self.model().get_model(request).await
    }
}
