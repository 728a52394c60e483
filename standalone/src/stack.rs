//! Both services in one process.

use crate::StandaloneError;
use descry_encoder::{Encoder, EncoderConfig, Workers, add_encoder_service};
use descry_search::{SearchConfig, SearchService, add_search_service};
use descry_serving::prometheus::PrometheusPage;
use descry_serving::{AccessConfig, ServerConfig};
use std::future::Future;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

/// Both services, loaded and listening, not yet serving.
pub struct Stack {
    listener: TcpListener,
    server: ServerConfig,
    access: AccessConfig,
    encoder: Encoder,
    workers: Workers,
    search: SearchService,
    _metrics: Option<PrometheusPage>,
}

impl Stack {
    /// Loads the model, opens the galleries and binds `listen`. Of the encoder's settings the model and what it computes
    /// with count; all that surrounds a service is the search service's.
    ///
    /// # Errors
    /// [`StandaloneError::Server`], [`StandaloneError::Encoder`] or [`StandaloneError::Search`] for what cannot be opened.
    pub async fn open(
        encoder_config: EncoderConfig,
        search_config: SearchConfig,
        listen: &str,
    ) -> Result<Self, StandaloneError> {
        let server = ServerConfig { listen: listen.to_owned(), ..search_config.server.clone() };
        let access = search_config.access.clone();
        let listener = server.bind(&access).await?;
        let metrics = search_config.metrics.open().await?;
        descry_encoder::describe_metrics();
        descry_search::describe_metrics();
        let opened = tokio::task::spawn_blocking(move || Encoder::open(&encoder_config)).await;
        let (encoder, workers) = opened.map_err(StandaloneError::task("loading the model"))??;
        // The search service reaches the encoder within the process, with the same messages as over a network. What is
        // too large is refused at the outer door.
        let mut inner = RoutesBuilder::default();
        add_encoder_service(&mut inner, encoder.clone(), usize::MAX);
        let channel = descry_serving::in_process_channel(inner.routes(), descry_proto::DESCRIPTOR_SET)?;
        let search = SearchService::open(&search_config, Some(channel)).await?;
        Ok(Self { listener, server, access, encoder, workers, search, _metrics: metrics })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// [`StandaloneError::Address`]
    pub fn address(&self) -> Result<SocketAddr, StandaloneError> {
        self.listener.local_addr().map_err(StandaloneError::Address)
    }

    /// The loaded model.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Serves until `shutdown`, then finishes what was begun.
    ///
    /// # Errors
    /// [`StandaloneError::Server`] when serving fails, [`StandaloneError::Task`] when a part of it panicked.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), StandaloneError> {
        let Self { listener, server, access, encoder, mut workers, search, _metrics } = self;
        let mut routes = RoutesBuilder::default();
        let health = descry_serving::health_service(&mut routes, descry_search::SERVICE_NAME).await;
        let tending_towers = tokio::spawn(encoder.clone().tend(health.clone()));
        let tending = tokio::spawn(search.clone().tend(health));
        let intake = encoder.intake();
        add_encoder_service(&mut routes, encoder, server.max_message_bytes);
        add_search_service(&mut routes, search.clone(), server.max_message_bytes);
        let stop = async {
            shutdown.await;
            search.stop_intake();
            intake.stop();
        };
        let (settings, observer) = ((&server, &access), search.refusal_observer());
        let set = descry_proto::DESCRIPTOR_SET;
        descry_serving::serve_telling(listener, routes.routes(), set, settings, observer, stop).await?;
        tending.await.map_err(StandaloneError::task("tending the galleries"))?;
        tending_towers.await.map_err(StandaloneError::task("tending the towers"))?;
        drop(search);
        // Nobody waits for an answer any more.
        workers.halt();
        tokio::task::spawn_blocking(move || workers.join()).await.map_err(StandaloneError::task("stopping the towers"))
    }
}
