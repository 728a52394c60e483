//! Listening, limits, health and shutdown.

use crate::access::AccessConfig;
use crate::admission::Admission;
use crate::config::ConfigError;
use crate::connections::Connections;
use crate::exposure;
use crate::guard::Guard;
use crate::http2::Http2;
use crate::method_names::MethodNames;
use crate::refusals::{RefusalObserver, Refusals};
use crate::request::{MessageSizes, RequestLayer};
use crate::shares::Peer;
use descry_trust::TrustError;
use descry_trust::tls::{Protocol, ServerTls, ServerTlsSettings};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Layer as _;

/// The `server` section of a service's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on, such as `127.0.0.1:50051`.
    pub listen: String,
    /// What is shown to clients and asked of them; nothing without TLS.
    pub tls: ServerTlsSettings,
    /// Connections at once; for further ones the longest idle one is closed, or they are.
    pub max_connections: usize,
    /// Connections of one peer at once.
    pub max_connections_per_peer: usize,
    /// Requests that are worked on at once, of all connections; the rest is refused. One peer gets at most half of them.
    pub max_requests: usize,
    /// Requests of one connection that are worked on at once; the rest is refused.
    pub max_concurrent_requests: usize,
    /// Longest time for one request, in milliseconds; a shorter deadline of the caller wins.
    pub request_timeout_ms: u64,
    /// Largest request message in bytes.
    pub max_message_bytes: usize,
    /// The same for methods whose requests hold neither files nor embeddings.
    pub max_plain_message_bytes: usize,
    /// Bytes of requests in memory, of all connections; the rest is refused. One peer gets at most half of them.
    pub max_request_bytes_in_memory: usize,
    /// Bytes of replies that wait for their readers, of all connections; further replies are refused. One peer gets at most
    /// half of them.
    pub max_reply_bytes_in_memory: usize,
    /// How long a reply, or a connection, may wait for its reader to take some of it, in milliseconds.
    pub write_timeout_ms: u64,
    /// How long running requests may take to finish after a shutdown signal, in milliseconds.
    pub drain_ms: u64,
    /// Whether the service describes its methods and messages to who asks.
    pub reflection: bool,
    /// Listens where others reach it even without encryption, or without asking who calls.
    pub insecure: bool,
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
    /// The files for TLS cannot be used.
    #[error("{setting}: {source}")]
    Tls {
        /// The section of the settings that names them.
        setting: &'static str,
        /// What is wrong with them.
        source: TrustError,
    },
    /// Metrics go somewhere else already.
    #[error("metrics: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
    /// The descriptor set of the reflection service does not parse.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Others reach the address, and are not kept from anything.
    #[error(
        "{address} is reached by other machines, and {missing}; protect it (docs/ACCESS.md), listen on 127.0.0.1, or, where \
         whoever reaches it may do everything, set server.insecure to true (descry serve: --insecure)"
    )]
    Exposed {
        /// What was to be listened on.
        address: SocketAddr,
        /// What protection is missing.
        missing: &'static str,
    },
    /// The tokens cannot be read.
    #[error("access.tokens_file: {0}")]
    Access(#[from] descry_trust::TrustError),
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
            ("server.max_connections_per_peer", self.max_connections_per_peer as u64),
            ("server.max_requests", self.max_requests as u64),
            ("server.max_request_bytes_in_memory", self.max_request_bytes_in_memory as u64),
            ("server.max_reply_bytes_in_memory", self.max_reply_bytes_in_memory as u64),
            ("server.write_timeout_ms", self.write_timeout_ms),
            ("server.max_concurrent_requests", self.max_concurrent_requests as u64),
            ("server.request_timeout_ms", self.request_timeout_ms),
            ("server.max_message_bytes", self.max_message_bytes as u64),
            ("server.max_plain_message_bytes", self.max_plain_message_bytes as u64),
        ];
        if let Some((setting, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Value { setting, reason: "must be at least 1".to_owned() });
        }
        if self.max_request_bytes_in_memory / 2 < self.max_message_bytes {
            let reason = "one caller gets half of it, which must be enough for server.max_message_bytes".to_owned();
            return Err(ConfigError::Value { setting: "server.max_request_bytes_in_memory", reason });
        }
        match self.tls.problem() {
            Some(reason) => Err(ConfigError::Value { setting: "server.tls", reason: reason.to_owned() }),
            None => Ok(()),
        }
    }

    /// After how long a service that was asked to stop has ended: the time that running requests have, and some for what is
    /// done behind them.
    pub fn longest_shutdown(&self) -> Duration {
        Duration::from_millis(self.drain_ms).saturating_add(AFTER_DRAIN)
    }

    /// Reads the files for TLS, where it is to be spoken.
    fn open_tls(&self) -> Result<Option<Arc<ServerTls>>, ServerError> {
        ServerTls::open(&self.tls, Protocol::Http2, "server")
            .map_err(|source| ServerError::Tls { setting: "server.tls", source })
    }

    /// Binds the listening socket.
    ///
    /// # Errors
    /// [`ServerError::Listen`]; [`ServerError::Tls`], so that it is said before a model is loaded; [`ServerError::Exposed`] for
    /// an address that others reach without what protects it.
    pub async fn bind(&self, access: &AccessConfig) -> Result<TcpListener, ServerError> {
        self.open_tls()?;
        let failed = |source| ServerError::Listen { address: self.listen.clone(), source };
        let listener = TcpListener::bind(&self.listen).await.map_err(failed)?;
        exposure::check(listener.local_addr().map_err(failed)?, self, access)?;
        Ok(listener)
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

/// Serves `routes` and, where it is set, gRPC reflection of `descriptor_set` to those whom `access` lets in, until `shutdown`
/// resolves; then lets running requests finish within the configured time.
///
/// # Errors
/// [`ServerError::Exposed`], [`ServerError::Access`], [`ServerError::Tls`], [`ServerError::Reflection`],
/// [`ServerError::Descriptor`].
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    descriptor_set: &'static [u8],
    (config, access): (&ServerConfig, &AccessConfig),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    serve_telling(listener, routes, descriptor_set, (config, access), None, shutdown).await
}

/// As [`serve`]; `observer` is told of requests that are refused before they reach a service.
///
/// # Errors
/// As [`serve`].
pub async fn serve_telling(
    listener: TcpListener,
    routes: Routes,
    descriptor_set: &'static [u8],
    (config, access): (&ServerConfig, &AccessConfig),
    observer: Option<Arc<dyn RefusalObserver>>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let shared = (Arc::new(Admission::new(config)), Refusals(observer));
    serve_admitted(listener, routes, descriptor_set, (config, access, shared), shutdown).await
}

async fn serve_admitted(
    listener: TcpListener,
    routes: Routes,
    descriptor_set: &'static [u8],
    (config, access, (admission, refusals)): (&ServerConfig, &AccessConfig, (Arc<Admission>, Refusals)),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let address =
        listener.local_addr().map_err(|source| ServerError::Listen { address: config.listen.clone(), source })?;
    // Whoever bound it: nothing is served past this.
    exposure::check(address, config, access)?;
    exposure::warn(address, config, access);
    let guard = Guard::open(access)?;
    let routes = match config.reflection {
        true => routes.add_service(
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(descriptor_set)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .build_v1()?,
        ),
        false => routes,
    };
    let _keeping = guard.clone().map(|guard| AbortOnDropHandle::new(tokio::spawn(guard.keep_current())));
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
        admission: Some(admission),
        guard,
        refusals,
    };
    let tls = config.open_tls()?;
    let http2 = Http2::new(requests.layer(routes.prepare()), config, tls.clone());
    let connections = Connections::new(config.max_connections, config.max_connections_per_peer);
    let tasks = TaskTracker::new();
    let accepting = async {
        loop {
            let (stream, address) = accept(&listener).await;
            let Ok(place) = connections.enter(Peer::from(address.ip())) else { continue };
            // A connection whose other side is gone already ends by itself.
            let _ = stream.set_nodelay(true);
            tasks.spawn(http2.clone().serve(stream, place));
        }
    };
    let keeping_fresh = async {
        match &tls {
            Some(tls) => tls.keep_fresh().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = accepting => {}
        () = keeping_fresh => {}
        () = shutdown => {}
    }
    // New connections are refused by the system from now on, instead of waiting for nobody.
    drop(listener);
    http2.draining.cancel();
    tasks.close();
    if tokio::time::timeout(Duration::from_millis(config.drain_ms), tasks.wait()).await.is_err() {
        tracing::warn!(drain_ms = config.drain_ms, "requests still running are cut off");
        http2.cut_off.cancel();
        tasks.wait().await;
    }
    Ok(())
}

/// The next connection. A failure to accept is most often a lack of file descriptors, which does not pass at once.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// For closing connections, ending threads, and handing the last spans over.
const AFTER_DRAIN: Duration = Duration::from_secs(2);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

#[cfg(test)]
pub(crate) use tests::settings as settings_of_tests;
#[cfg(test)]
pub(crate) use tls_tests::Certificates;
