//! Encoders in this process, over connections that a test can cut, with a tower that takes a fixed time.

use crate::encoder_client::EncoderClient;
use crate::encoder_pool::Network;
use crate::{EncoderClientConfig, SearchConfig, SearchError};
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use descry_retry::overloaded;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

/// How an encoder answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Answers,
    /// It answers nothing at all, as a stopped process.
    Hangs,
    /// It has no room, and says for how many milliseconds.
    IsFull(u64),
    /// It is told to stop.
    Stops,
    /// Its towers are broken.
    Fails,
    /// It says what it runs, and answers nothing else.
    TowersHang,
    /// It answers, but for the question what it runs, for which it has no room.
    RefusesQuestions,
    /// It answers, but for the question what it runs.
    LeavesQuestionsOpen,
}

/// A running encoder. Clones control the same one.
#[derive(Clone)]
pub(crate) struct FakeEncoder(Arc<State>);

struct State {
    model: Mutex<char>,
    behaviour: Mutex<Behaviour>,
    run: Duration,
    /// One batch runs at a time.
    tower: tokio::sync::Mutex<()>,
    is_reachable: AtomicBool,
    connections: Mutex<Vec<JoinHandle<()>>>,
    calls: AtomicUsize,
    priorities: Mutex<Vec<proto::Priority>>,
}

impl FakeEncoder {
    /// Its tower takes `run_ms` for a call, one call after the other.
    pub(crate) fn new(model: char, run_ms: u64) -> Self {
        Self(Arc::new(State {
            model: Mutex::new(model),
            behaviour: Mutex::new(Behaviour::Answers),
            run: Duration::from_millis(run_ms),
            tower: tokio::sync::Mutex::default(),
            is_reachable: AtomicBool::new(true),
            connections: Mutex::default(),
            calls: AtomicUsize::new(0),
            priorities: Mutex::default(),
        }))
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.0.behaviour.lock().unwrap() = behaviour;
    }

    /// From now on it runs another model.
    pub(crate) fn change_model(&self, model: char) {
        *self.0.model.lock().unwrap() = model;
    }

    /// Cuts all connections; a new one may be made.
    pub(crate) fn cut(&self) {
        self.0.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }

    /// It is gone, until [`Self::start`].
    pub(crate) fn kill(&self) {
        self.0.is_reachable.store(false, Ordering::Relaxed);
        self.cut();
    }

    pub(crate) fn start(&self) {
        self.0.is_reachable.store(true, Ordering::Relaxed);
    }

    /// Calls to encode something that it got.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn priorities(&self) -> Vec<proto::Priority> {
        self.0.priorities.lock().unwrap().clone()
    }

    pub(crate) fn client(&self) -> EncoderClient {
        let encoder = self.clone();
        let connector = tower::service_fn(move |_| {
            let connection = encoder.connect();
            async move { connection.map(TokioIo::new) }
        });
        EncoderClient::new(descry_serving::network_channel(
            Endpoint::from_static("http://fake").connect_with_connector_lazy(connector),
        ))
    }

    fn connect(&self) -> io::Result<tokio::io::DuplexStream> {
        if !self.0.is_reachable.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, mut near) = tokio::io::duplex(1 << 16);
        let (mut far, server) = tokio::io::duplex(1 << 16);
        let incoming = tokio_stream::once(Ok::<_, io::Error>(server));
        tokio::spawn(
            Server::builder().add_service(EncoderServiceServer::new(self.clone())).serve_with_incoming(incoming),
        );
        // Both ends are closed when this is aborted.
        let relay = tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut near, &mut far).await) });
        self.0.connections.lock().unwrap().push(relay);
        Ok(client)
    }

    async fn answer(&self, items: usize, priority: i32) -> Result<(String, Vec<proto::EncodeResult>), Status> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.0.priorities.lock().unwrap().push(proto::Priority::try_from(priority).unwrap());
        let behaviour = *self.0.behaviour.lock().unwrap();
        match behaviour {
            Behaviour::Answers | Behaviour::RefusesQuestions | Behaviour::LeavesQuestionsOpen => {}
            Behaviour::Hangs | Behaviour::TowersHang => return std::future::pending().await,
            Behaviour::IsFull(delay_ms) => return Err(overloaded("the queue is full", delay_ms)),
            Behaviour::Stops => return Err(Status::unavailable("shutting down")),
            Behaviour::Fails => return Err(Status::internal("the tower failed")),
        }
        let _running = self.0.tower.lock().await;
        tokio::time::sleep(self.0.run).await;
        let embedding = || proto::Embedding { values: vec![1.0, 0.0] };
        let result = || proto::EncodeResult { outcome: Some(Outcome::Embedding(embedding())), ..Default::default() };
        Ok((self.fingerprint(), (0..items).map(|_| result()).collect()))
    }

    fn fingerprint(&self) -> String {
        self.0.model.lock().unwrap().to_string().repeat(64)
    }
}

type Answer<Reply> = Result<Response<Reply>, Status>;

#[tonic::async_trait]
impl EncoderService for FakeEncoder {
    type EncodeTextStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;
    type EncodeImageStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_text(&self, request: Request<proto::EncodeTextRequest>) -> Answer<proto::EncodeTextResponse> {
        let request = request.into_inner();
        let (fingerprint, results) = self.answer(request.texts.len(), request.priority).await?;
        Ok(Response::new(proto::EncodeTextResponse { fingerprint, results, timings: None }))
    }

    async fn encode_image(&self, request: Request<proto::EncodeImageRequest>) -> Answer<proto::EncodeImageResponse> {
        let request = request.into_inner();
        let (fingerprint, results) = self.answer(request.images.len(), request.priority).await?;
        Ok(Response::new(proto::EncodeImageResponse { fingerprint, results, timings: None }))
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
        let behaviour = *self.0.behaviour.lock().unwrap();
        match behaviour {
            Behaviour::Hangs | Behaviour::LeavesQuestionsOpen => return std::future::pending().await,
            Behaviour::RefusesQuestions => return Err(overloaded("too many requests on this connection", 100)),
            Behaviour::Answers | Behaviour::IsFull(_) | Behaviour::Stops | Behaviour::Fails | Behaviour::TowersHang => {
            }
        }
        let fingerprint = self.fingerprint();
        Ok(Response::new(proto::GetModelResponse { fingerprint, embedding_dimension: 2, ..Default::default() }))
    }
}

/// Names, and encoders at addresses.
#[derive(Clone, Default)]
pub(crate) struct FakeNetwork {
    names: Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>,
    encoders: Arc<Mutex<HashMap<SocketAddr, FakeEncoder>>>,
    lookups: Arc<AtomicUsize>,
}

impl FakeNetwork {
    pub(crate) fn place(&self, address: &str, encoder: &FakeEncoder) {
        self.encoders.lock().unwrap().insert(address.parse().unwrap(), encoder.clone());
    }

    /// From now on a name stands for these addresses; for none, it does not resolve.
    pub(crate) fn name(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.names.lock().unwrap().insert(name.to_owned(), addresses);
    }

    /// How often a name was looked up.
    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
    }
}

impl Network for FakeNetwork {
    fn resolve(&self, host: String, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let found = self.names.lock().unwrap().get(&host).cloned().filter(|addresses| !addresses.is_empty());
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }

    fn connect(&self, url: &str, address: Option<SocketAddr>) -> Result<EncoderClient, SearchError> {
        let address = address.or_else(|| url.trim_start_matches("http://").parse().ok());
        let encoders = self.encoders.lock().unwrap();
        let client = address.and_then(|address| encoders.get(&address)).map(FakeEncoder::client);
        Ok(client.unwrap_or_else(|| {
            EncoderClient::new(descry_serving::network_channel(
                Endpoint::from_static("http://127.0.0.1:1").connect_lazy(),
            ))
        }))
    }
}

/// The usual settings with these places.
pub(crate) fn config(urls: &[&str]) -> EncoderClientConfig {
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    EncoderClientConfig { urls, ..SearchConfig::load(None).unwrap().encoder }
}
