//! Listening, limits, health and shutdown.

use crate::config::ConfigError;
use crate::connection::Connection;
use serde::Deserialize;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpListener;
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
    /// Requests of one connection that are worked on at once; the rest is refused.
    pub max_concurrent_requests: usize,
    /// Longest time for one request, in milliseconds; a shorter deadline of the caller wins.
    pub request_timeout_ms: u64,
    /// Largest request message in bytes.
    pub max_message_bytes: usize,
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
    /// The HTTP/2 server broke.
    #[error("the server broke: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptor set of the reflection service does not parse.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl ServerConfig {
    /// Refuses values with which no request could be answered.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("server.max_concurrent_requests", self.max_concurrent_requests as u64),
            ("server.request_timeout_ms", self.request_timeout_ms),
            ("server.max_message_bytes", self.max_message_bytes as u64),
        ];
        match at_least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((setting, _)) => Err(ConfigError::Value { setting, reason: "must be at least 1".to_owned() }),
            None => Ok(()),
        }
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

/// What the health service says of one service, and of the server as a whole.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    service: &'static str,
}

impl Health {
    /// Says whether requests can be answered. Probes ask for the service by name or, with an empty name, for the whole
    /// server; both get this answer.
    pub async fn set_ready(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(self.service, status).await;
        self.reporter.set_service_status("", status).await;
    }

    /// The same server's health, about another of its services.
    pub fn of(&self, service: &'static str) -> Self {
        Self { reporter: self.reporter.clone(), service }
    }
}

/// Adds the standard health service, which says "not ready" until told otherwise.
pub async fn health_service(routes: &mut RoutesBuilder, service: &'static str) -> Health {
    let (reporter, grpc) = tonic_health::server::health_reporter();
    routes.add_service(grpc);
    let health = Health { reporter, service };
    health.set_ready(false).await;
    health
}

/// Serves `routes` and gRPC reflection of `descriptor_set` until `shutdown` resolves, then lets running requests finish
/// within the configured time.
///
/// # Errors
/// [`ServerError::Transport`], [`ServerError::Reflection`].
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
    let (begin_drain, draining) = tokio::sync::oneshot::channel::<()>();
    let cut_off = CancellationToken::new();
    let connections = TcpListenerStream::new(listener).map(|accepted| {
        let stream = accepted?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(Connection::new(stream, cut_off.clone()))
    });
    let server = Server::builder()
        .timeout(Duration::from_millis(config.request_timeout_ms))
        // Beyond this the caller gets RESOURCE_EXHAUSTED at once instead of waiting in an invisible queue.
        .concurrency_limit_per_connection(config.max_concurrent_requests)
        .load_shed(true)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
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
