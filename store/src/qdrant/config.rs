//! How to reach Qdrant.

use super::client::NodeClient;
use super::connection::{NodeConnection, TLS_HINTS};
use crate::StoreError;
use descry_trust::tls::{Address, ClientTls, ClientTlsSettings};
use http::HeaderValue;
use std::fmt;
use std::time::Duration;

/// Settings of the connection to Qdrant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QdrantConfig {
    /// The gRPC endpoint, `http://host:6334` or `https://…`; not used where `urls` names some.
    pub url: String,
    /// The endpoints of several nodes of one cluster.
    pub urls: Vec<String>,
    /// Whom to believe, and what to show, where an address begins with `https://`.
    pub tls: ClientTlsSettings,
    /// Key or token to send with each request, where the server asks for one.
    pub api_key: Option<ApiKey>,
    /// How long one request may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Connections kept open; requests take turns.
    pub connections: usize,
    /// How long a request is repeated while the server is unavailable, in milliseconds; 0 for not at all.
    pub retry_for_ms: u64,
    /// The first pause between repetitions in milliseconds; each next one is twice as long.
    pub min_retry_pause_ms: u64,
    /// The longest pause, in milliseconds. A node that is left out is asked again with the same pauses.
    pub max_retry_pause_ms: u64,
    /// How long a read may take before another node is asked the same, in milliseconds; 0 for never. With one node nothing
    /// is asked twice.
    pub hedge_after_ms: u64,
}

/// Nodes that are balanced over; more belong behind an address of their own.
const MAX_NODES: usize = 64;

impl Default for QdrantConfig {
    fn default() -> Self {
        let url = "http://localhost:6334".to_owned();
        Self {
            url,
            urls: Vec::new(),
            tls: ClientTlsSettings::default(),
            api_key: None,
            timeout_ms: 10_000,
            connect_timeout_ms: 5_000,
            connections: 4,
            retry_for_ms: 5_000,
            min_retry_pause_ms: 50,
            max_retry_pause_ms: 1_000,
            hedge_after_ms: 1_000,
        }
    }
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes the key as the server knows it.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl QdrantConfig {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// A client for each node; each connects with its first request.
    pub(super) fn clients(&self) -> Result<Vec<NodeClient>, StoreError> {
        if self.urls.is_empty() {
            return Ok(vec![self.client("url", &self.url)?]);
        }
        if self.urls.len() > MAX_NODES {
            let reason = format!("{} nodes, at most {MAX_NODES} are allowed", self.urls.len());
            return Err(invalid("urls", reason));
        }
        let mut different: Vec<&String> = Vec::new();
        for url in &self.urls {
            if different.contains(&url) {
                return Err(invalid("urls", "names one address twice".to_owned()));
            }
            different.push(url);
        }
        different.into_iter().map(|url| self.client("urls", url)).collect()
    }

    fn client(&self, field: &str, url: &str) -> Result<NodeClient, StoreError> {
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(invalid(field, "must start with http:// or https://".to_owned()));
        }
        // An address may hold what is nobody's business, so it is not repeated.
        let address = Address::parse(url).map_err(|_| invalid(field, "is not an address".to_owned()))?;
        if self.timeout_ms == 0 || self.connect_timeout_ms == 0 {
            return Err(invalid("timeout_ms", "must be above 0".to_owned()));
        }
        let api_key = self.api_key.as_ref().map(secret_header).transpose()?;
        if let Some(problem) = self.tls.problem() {
            return Err(invalid("tls", problem.to_owned()));
        }
        let tls = address.is_tls().then(|| ClientTls::open(&self.tls, TLS_HINTS)).transpose();
        let tls = tls.map_err(|error| invalid("tls", error.to_string()))?;
        let connect_timeout = Duration::from_millis(self.connect_timeout_ms);
        let connection = |_| NodeConnection::new(address.clone(), tls.clone(), api_key.clone(), connect_timeout);
        Ok(NodeClient::new(address.origin(), (0..self.connections.max(1)).map(connection).collect()))
    }
}

/// The key as it is sent. A malformed one is not repeated in the message.
fn secret_header(key: &ApiKey) -> Result<HeaderValue, StoreError> {
    let is_one = !key.0.is_empty() && key.0.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::from_str(&key.0).ok().filter(|_| is_one);
    let mut header = header.ok_or_else(|| invalid("api_key", "must be printable ASCII without spaces".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

fn invalid(field: &str, reason: String) -> StoreError {
    StoreError::Invalid { field: format!("qdrant.{field}"), reason }
}
