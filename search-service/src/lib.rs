//! The search service: galleries of person images, and the ranking of their images for a description.
//!
//! Must never link ONNX Runtime: it meets the model only over gRPC, through `encoder_client`. The layers, each knowing
//! only the next: `grpc` (messages) → `retrieval`, `indexing`, `retention`, `watches`, `calibration` → `galleries` (every
//! change of one) → `encoder_pool` and `descry-store`.

mod admission;
mod audit;
pub mod calibration;
mod config;
mod encoder_client;
mod encoder_pool;
mod erasure;
mod error;
mod galleries;
mod grpc;
mod holds;
mod indexing;
mod key_file;
mod lease;
mod metadata_mask;
mod metrics;
mod readiness;
mod recall;
mod retention;
mod retrieval;
mod statistics;
mod validation;
mod watches;

pub use audit::AuditConfig;
pub use config::{
    EmbeddedSettings, EncoderClientConfig, ErasureConfig, IndexingConfig, KeptDescriptions, QdrantSettings,
    RecallConfig, RequestLimits, RetentionConfig, SearchConfig, SearchingConfig, StoreConfig, StoreKind, WatchConfig,
};
pub use error::SearchError;
pub use grpc::{SERVICE_NAME, add_search_service};

use crate::audit::Trail;
use crate::encoder_client::EncoderClient;
use crate::encoder_pool::{EncoderPool, SystemNetwork};
use crate::erasure::MarkStore;
use crate::galleries::Galleries;
use crate::recall::RecallProbe;
use crate::retention::RetentionClock;
use crate::watches::Descriptions;
use descry_serving::{GrpcChannel, Health, RefusalObserver, SentToken, deadline};
use descry_store::{EmbeddedStore, QdrantStore, VectorStore};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;

/// Everything the service works with, before it is put on a server.
#[derive(Clone)]
pub struct SearchService {
    store: Arc<dyn VectorStore>,
    galleries: Galleries,
    encoders: EncoderPool,
    /// What is sent to the encoders.
    token: Option<SentToken>,
    limits: RequestLimits,
    searching: SearchingConfig,
    indexing: IndexingConfig,
    watches: WatchConfig,
    descriptions: Descriptions,
    retention: RetentionConfig,
    retention_clock: RetentionClock,
    recall: RecallConfig,
    probe: RecallProbe,
    trail: Option<Trail>,
    shutdown: CancellationToken,
}

impl SearchService {
    /// Opens the configured store. The first encoder is met over `encoder`, or at the configured addresses without one.
    ///
    /// # Errors
    /// [`SearchError`] when the store does not open or an address is malformed.
    pub async fn open(config: &SearchConfig, encoder: Option<GrpcChannel>) -> Result<Self, SearchError> {
        let store: Arc<dyn VectorStore> = match config.store.kind {
            StoreKind::Embedded => {
                Arc::new(EmbeddedStore::open(&config.embedded.path, (&config.embedded).into()).await?)
            }
            StoreKind::Qdrant => Arc::new(QdrantStore::connect(&(&config.qdrant).into(), deadline::remaining)?),
        };
        Self::over(store, config, encoder)
    }

    /// As [`SearchService::open`], over a store that is open already, which several services may share.
    ///
    /// # Errors
    /// [`SearchError`] when an address is malformed, or the audit log cannot be written.
    pub fn over(
        store: Arc<dyn VectorStore>,
        config: &SearchConfig,
        encoder: Option<GrpcChannel>,
    ) -> Result<Self, SearchError> {
        let token_file = Some(&config.encoder.token_file).filter(|path| !path.as_os_str().is_empty());
        let token = token_file.map(|path| SentToken::read(path)).transpose();
        let token = token.map_err(|error| validation::invalid("encoder.token_file", error.to_string()))?;
        let network = SystemNetwork::open(&config.encoder, token.clone())?;
        let encoders = EncoderPool::open(&config.encoder, encoder.map(EncoderClient::new), Arc::new(network))?;
        let is_exact = store.finds_everything();
        Ok(Self {
            galleries: Galleries::new(
                Arc::clone(&store),
                config.limits.clone(),
                MarkStore::open(Arc::clone(&store), &config.erasure.key_file)?,
            ),
            store,
            encoders,
            token,
            limits: config.limits.clone(),
            searching: config.searching.clone(),
            indexing: config.indexing.clone(),
            descriptions: Descriptions::open(&config.watches)?,
            watches: config.watches.clone(),
            retention_clock: RetentionClock::new(Duration::from_millis(config.retention.max_clock_wait_ms)),
            retention: config.retention.clone(),
            probe: RecallProbe::new(config.recall.probe_interval_ms > 0 && !is_exact),
            recall: config.recall.clone(),
            trail: Trail::open(&config.audit, config)?,
            shutdown: CancellationToken::new(),
        })
    }

    /// Keeps the health service informed, and removes what has been kept long enough, until
    /// [`SearchService::stop_intake`].
    pub async fn tend(self, health: Health) {
        let interval_ms = self.retention.sweep_interval_ms;
        let sweeping = retention::sweep(
            (self.galleries, self.trail.clone()),
            self.retention_clock,
            interval_ms,
            self.shutdown.clone(),
        );
        let (encoders, store, shutdown) = (self.encoders.clone(), Arc::clone(&self.store), self.shutdown.clone());
        let naming = readiness::name_unsearchable(encoders, store, shutdown);
        let closing = self.descriptions.enforce(Arc::clone(&self.store), self.shutdown.clone());
        let (encoders, shutdown) = (self.encoders.clone(), self.shutdown.clone());
        let resolving = async { shutdown.run_until_cancelled(encoders.tend()).await };
        let (token, shutdown) = (self.token, self.shutdown.clone());
        let renewing = async move {
            if let Some(token) = token {
                shutdown.run_until_cancelled(token.keep_current()).await;
            }
        };
        let comparing = self.probe.run(Arc::clone(&self.store), self.recall, self.shutdown.clone());
        let (trail, shutdown) = (self.trail.clone(), self.shutdown.clone());
        let auditing = async move {
            if let Some(trail) = trail {
                trail.tend(shutdown).await;
            }
        };
        let watching = readiness::watch((self.encoders, self.store, self.trail), health, self.shutdown);
        tokio::join!(watching, sweeping, naming, closing, resolving, comparing, renewing, auditing);
    }

    /// Who is to be told of requests that are refused before they reach this service, where an audit log is kept.
    pub fn refusal_observer(&self) -> Option<Arc<dyn RefusalObserver>> {
        self.trail.as_ref().map(Trail::observer)
    }

    /// Takes no further image from running index streams; what was taken in is still indexed and acknowledged.
    pub fn stop_intake(&self) {
        self.shutdown.cancel();
    }
}

/// Serves galleries on `listener` until `shutdown` resolves.
///
/// # Errors
/// [`SearchError`] when the store does not open or the server breaks.
pub async fn serve(
    listener: TcpListener,
    config: SearchConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), SearchError> {
    let _metrics = config.metrics.open().await?;
    describe_metrics();
    let service = SearchService::open(&config, None).await?;
    let mut routes = RoutesBuilder::default();
    let health = descry_serving::health_service(&mut routes, SERVICE_NAME).await;
    let tending = tokio::spawn(service.clone().tend(health));
    add_search_service(&mut routes, service.clone(), config.server.max_message_bytes);
    descry_serving::serve_telling(
        listener,
        routes.routes(),
        descry_proto::DESCRIPTOR_SET,
        (&config.server, &config.access),
        service.refusal_observer(),
        async {
            shutdown.await;
            tracing::info!("shutting down");
            service.stop_intake();
        },
    )
    .await?;
    // It ends by itself after the intake stopped; a panic in it would have been logged.
    let _ = tending.await;
    Ok(())
}

/// Describes what this crate counts; once a process.
pub fn describe_metrics() {
    metrics::describe();
}
