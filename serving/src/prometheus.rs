//! Metrics for Prometheus: one recorder a process, and the page it is read from.
//!
//! Code measures through the `metrics` crate and need not know whether anybody reads. Units are suffixes of names, and the
//! suffix decides a histogram's buckets: `_seconds`, `_items`, `_tokens`.

mod page;

use crate::ServerError;
use descry_trust::tls::{Protocol, ServerTls, ServerTlsSettings};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

const SECONDS: [f64; 15] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0];
const ITEMS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Texts end at 77 tokens; the last bucket is for models with more room.
const TOKENS: [f64; 9] = [8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 64.0, 77.0, 128.0];

/// The `metrics` section of a service's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// Address of the page `/metrics`, such as `127.0.0.1:9464`; empty to measure nothing.
    pub listen: String,
    /// What is shown to readers and asked of them; nothing without TLS.
    #[serde(default)]
    pub tls: ServerTlsSettings,
}

/// The page, served until this is dropped.
pub struct PrometheusPage {
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl PrometheusConfig {
    /// Starts to measure and serves the page, where the settings say so. A second page in a process shows the same
    /// numbers.
    ///
    /// # Errors
    /// [`ServerError::Metrics`] when the address cannot be listened on, [`ServerError::Tls`] when the files for TLS cannot be
    /// used, [`ServerError::Recorder`] when something else measures already.
    pub async fn open(&self) -> Result<Option<PrometheusPage>, ServerError> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let tls = ServerTls::open(&self.tls, Protocol::Http1, "metrics")
            .map_err(|source| ServerError::Tls { setting: "metrics.tls", source })?;
        let unusable = |source| ServerError::Metrics { address: self.listen.clone(), source };
        let listener = TcpListener::bind(&self.listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let recorder = recorder()?;
        tracing::info!(%address, "serving /metrics");
        let serving = AbortOnDropHandle::new(tokio::spawn(page::serve(listener, recorder, tls)));
        Ok(Some(PrometheusPage { address, _serving: serving }))
    }
}

impl PrometheusPage {
    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The process's recorder, installed at the first call.
fn recorder() -> Result<PrometheusHandle, BuildError> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(recorder) = RECORDER.get() {
        return Ok(recorder.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_items".to_owned()), &ITEMS)?
        .set_buckets_for_metric(Matcher::Suffix("_tokens".to_owned()), &TOKENS)?
        .install_recorder()?;
    describe_counter!("descry_grpc_requests_total", "Requests that have ended, by their gRPC code");
    describe_histogram!(
        "descry_grpc_request_seconds",
        Unit::Seconds,
        "From a request's arrival to the end of its answer"
    );
    describe_gauge!("descry_grpc_in_flight", "Requests that have not ended");
    describe_load();
    Ok(RECORDER.get_or_init(|| recorder).clone())
}

/// What is refused or let go under load.
fn describe_load() {
    describe_counter!(
        "descry_connections_rejected_total",
        "Connections beyond server.max_connections and server.max_connections_per_peer"
    );
    describe_counter!("descry_connections_retired_total", "Idle connections that made room for others");
    describe_counter!(
        "descry_grpc_requests_refused_total",
        "Requests beyond what is worked on, or held in memory, at once"
    );
    describe_counter!("descry_tls_handshakes_failed_total", "Clients that were not let in, or spoke no TLS");
    describe_gauge!(
        "descry_certificate_expires_timestamp_seconds",
        Unit::Seconds,
        "When a listener's certificate expires, in seconds since 1970"
    );
    describe_counter!("descry_access_refused_total", "Requests of which it is not known who makes them, by the reason");
    describe_counter!("descry_access_denied_total", "Requests that their caller may not make");
    describe_counter!("descry_access_exceeded_total", "Requests beyond what their caller may use");
    describe_counter!("descry_replies_refused_total", "Replies beyond server.max_reply_bytes_in_memory");
    describe_counter!("descry_replies_abandoned_total", "Replies that nobody read for server.write_timeout_ms");
}

#[cfg(test)]
pub(crate) use page::tests::page as read_page;
