//! Listening, limits, health and shutdown.

use crate::config::ConfigError;
use crate::connection::Connection;
use crate::method_names::MethodNames;
use crate::request::{MessageSizes, RequestLayer};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The `server` section of a service's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on, such as `127.0.0.1:50051`.
    pub listen: String,
    /// Connections at once; further ones are closed.
    pub max_connections: usize,
    /// Requests of one connection that are worked on at once; the rest is refused.
    pub max_concurrent_requests: usize,
    /// Longest time for one request, in milliseconds; a shorter deadline of the caller wins.
    pub request_timeout_ms: u64,
    /// Largest request message in bytes.
    pub max_message_bytes: usize,
    /// The same for methods whose requests hold neither files nor embeddings.
    pub max_plain_message_bytes: usize,
    /// How long running requests may take to finish after a shutdown signal, in milliseconds.
    pub drain_ms: u64,
}

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The address of the metrics' page cannot be listened on.
    #[error("metrics.listen: cannot listen on {address}: {source}; choose another address, or leave it empty")]
    Metrics {
        /// The address asked for.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Metrics go somewhere else already.
    #[error("metrics: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
    /// The HTTP/2 server broke.
    #[error("the server broke: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptor set of the reflection service does not parse.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The descriptor set does not say which methods there are.
    #[error("descriptor set: {0}")]
    Descriptor(#[from] prost::DecodeError),
}

impl ServerConfig {
    /// Refuses values with which no request could be answered.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("server.max_connections", self.max_connections as u64),
            ("server.max_concurrent_requests", self.max_concurrent_requests as u64),
            ("server.request_timeout_ms", self.request_timeout_ms),
            ("server.max_message_bytes", self.max_message_bytes as u64),
            ("server.max_plain_message_bytes", self.max_plain_message_bytes as u64),
        ];
        match at_least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((setting, _)) => Err(ConfigError::Value { setting, reason: "must be at least 1".to_owned() }),
            None => Ok(()),
        }
    }

    /// After how long a service that was asked to stop has ended: the time that running requests have, and some for what is
    /// done behind them.
    pub fn longest_shutdown(&self) -> Duration {
        Duration::from_millis(self.drain_ms).saturating_add(AFTER_DRAIN)
    }

    /// Binds the listening socket.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub async fn bind(&self) -> Result<TcpListener, ServerError> {
        TcpListener::bind(&self.listen)
            .await
            .map_err(|source| ServerError::Listen { address: self.listen.clone(), source })
    }
}

/// What the health service says of one service. The server as a whole is ready when all of its services are.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    service: &'static str,
    /// What was said last of each service.
    ready: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

impl Health {
    /// Says whether requests can be answered. Probes ask for the service by its name or, with an empty name, for the whole
    /// server.
    pub async fn set_ready(&self, ready: bool) {
        let status = |ready| if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        // Held until both are told: of two services that change at once, neither tells an old sum of the other.
        let mut known = self.ready.lock().await;
        known.insert(self.service, ready);
        self.reporter.set_service_status(self.service, status(ready)).await;
        self.reporter.set_service_status("", status(known.values().all(|ready| *ready))).await;
    }

    /// The same server's health, about another of its services, which counts as not ready from now on until told otherwise.
    pub async fn of(&self, service: &'static str) -> Self {
        let other = Self { service, ..self.clone() };
        if !self.ready.lock().await.contains_key(service) {
            other.set_ready(false).await;
        }
        other
    }
}

/// Adds the standard health service, which says "not ready" until told otherwise.
pub async fn health_service(routes: &mut RoutesBuilder, service: &'static str) -> Health {
    let (reporter, grpc) = tonic_health::server::health_reporter();
    routes.add_service(grpc);
    let health = Health { reporter, service, ready: Arc::default() };
    health.set_ready(false).await;
    health
}

/// Serves `routes` and gRPC reflection of `descriptor_set` until `shutdown` resolves, then lets running requests finish
/// within the configured time.
///
/// # Errors
/// [`ServerError::Transport`], [`ServerError::Reflection`], [`ServerError::Descriptor`].
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    descriptor_set: &'static [u8],
    config: &ServerConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptor_set)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let requests = RequestLayer {
        methods: MethodNames::read(&[
            descriptor_set,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ])?,
        timeout: Some(Duration::from_millis(config.request_timeout_ms)),
        sizes: Some(MessageSizes {
            with_data: config.max_message_bytes,
            plain: config.max_plain_message_bytes.min(config.max_message_bytes),
        }),
    };
    let (begin_drain, draining) = tokio::sync::oneshot::channel::<()>();
    let cut_off = CancellationToken::new();
    let connection_slots = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = TcpListenerStream::new(listener).then(pause_after_failure).filter_map(|accepted| {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => return Some(Err(error)),
        };
        let Ok(slot) = Arc::clone(&connection_slots).try_acquire_owned() else {
            metrics::counter!("descry_connections_rejected_total").increment(1);
            return None;
        };
        let unused = stream.set_nodelay(true);
        Some(unused.map(|()| Connection::new(stream, cut_off.clone(), slot, config.max_concurrent_requests)))
    });
    // Time and number of requests are limited by our own layer. tonic's would answer CANCELLED, and leave out when to try
    // again.
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        // Calls that were broken off before they were looked at. h2's own 20 are fewer than one page of a browser of
        // galleries leaves behind, and the connection is closed with all its other calls.
        .http2_max_pending_accept_reset_streams(Some(config.max_concurrent_requests))
        .layer(requests)
        .add_routes(routes)
        .add_service(reflection)
        .serve_with_incoming_shutdown(connections, async {
            shutdown.await;
            // The receiver lives as long as this server.
            let _ = begin_drain.send(());
        });
    let deadline = async {
        if draining.await.is_err() {
            // The server ended without a signal; its own result tells why.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(config.drain_ms)).await;
    };
    let mut server = std::pin::pin!(server);
    tokio::select! {
        result = &mut server => return Ok(result?),
        () = deadline => {}
    }
    tracing::warn!(drain_ms = config.drain_ms, "requests still running are cut off");
    cut_off.cancel();
    Ok(server.await?)
}

/// A failure to accept is most often a lack of file descriptors, which does not pass at once: tonic would ask again and
/// again without a pause.
async fn pause_after_failure(accepted: io::Result<TcpStream>) -> io::Result<TcpStream> {
    if let Err(error) = &accepted {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    accepted
}

/// For closing connections, ending threads, and handing the last spans over.
const AFTER_DRAIN: Duration = Duration::from_secs(2);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
