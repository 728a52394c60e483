//! Settings of the search service. `config/default.yaml` documents every one of them.

use crate::vector_store::embedded::EmbeddedConfig;
use crate::vector_store::qdrant::{ApiKey, QdrantConfig};
use descry_serving::ServerConfig;
use descry_serving::config::{ConfigError, load};
use descry_serving::telemetry::LogConfig;
use serde::Deserialize;
use std::num::NonZero;
use std::path::{Path, PathBuf};

const DEFAULTS: &str = include_str!("../config/default.yaml");

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// Listening and request limits.
    pub server: ServerConfig,
    /// Logging.
    pub log: LogConfig,
    /// The encoder service.
    pub encoder: EncoderClientConfig,
    /// Which store keeps the galleries.
    pub store: StoreConfig,
    /// The embedded store.
    pub embedded: EmbeddedSettings,
    /// The Qdrant store.
    pub qdrant: QdrantSettings,
    /// Limits on what comes from outside.
    pub limits: RequestLimits,
    /// Indexing.
    pub indexing: IndexingConfig,
}

/// The encoder service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderClientConfig {
    /// Its address.
    pub url: String,
    /// Longest time for one call, in milliseconds.
    pub timeout_ms: u64,
    /// How often an indexing call is repeated while the encoder is unavailable or full.
    pub retries: u32,
    /// The first pause between repetitions in milliseconds; each next one is twice as long.
    pub retry_pause_ms: u64,
}

/// Which store keeps the galleries.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Its kind.
    pub kind: StoreKind,
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One SQLite file with exact search.
    Embedded,
    /// A Qdrant server or cluster.
    Qdrant,
}

/// The embedded store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// The database file.
    pub path: PathBuf,
    /// Threads that may score at the same time; 0 for the CPU quota.
    pub search_threads: usize,
    /// How long to wait for another process to let go of the file, in milliseconds.
    pub lock_wait_ms: u64,
}

/// The Qdrant store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QdrantSettings {
    /// The gRPC endpoint.
    pub url: String,
    /// Key to send; empty for none. Never printed.
    pub api_key: ApiKey,
    /// Longest time for one request, in milliseconds.
    pub timeout_ms: u64,
    /// Longest time for connecting, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Connections kept open.
    pub connections: usize,
}

/// Limits on what comes from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    /// Hits of one search.
    pub max_hits: usize,
    /// Values in one filter list.
    pub max_filter_values: usize,
    /// Image ids in one delete request.
    pub max_deleted_ids: usize,
    /// Bytes of one image file.
    pub max_image_bytes: usize,
    /// Bytes of one text.
    pub max_text_bytes: usize,
    /// Bytes of an image, person or camera id.
    pub max_id_bytes: usize,
    /// Attributes of one image.
    pub max_attributes: usize,
    /// Bytes of an attribute's name or value.
    pub max_attribute_bytes: usize,
}

/// Indexing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexingConfig {
    /// Images encoded and written together.
    pub chunk_images: usize,
    /// Such groups in flight for one stream.
    pub chunks_in_flight: usize,
}

impl SearchConfig {
    /// Reads defaults, then the file, then `DESCRY_SEARCH__…` variables, and checks the values.
    ///
    /// # Errors
    /// [`ConfigError`] naming the setting.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = load(DEFAULTS, file, "DESCRY_SEARCH")?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("server.max_concurrent_requests", self.server.max_concurrent_requests),
            ("limits.max_hits", self.limits.max_hits),
            ("indexing.chunk_images", self.indexing.chunk_images),
            ("indexing.chunks_in_flight", self.indexing.chunks_in_flight),
            ("qdrant.connections", self.qdrant.connections),
        ];
        for (setting, value) in at_least_one {
            if value == 0 {
                return Err(ConfigError::Value { setting, reason: "must be at least 1".to_owned() });
            }
        }
        if self.encoder.retries > MAX_RETRIES {
            let reason = format!("must be at most {MAX_RETRIES}: the pause doubles each time");
            return Err(ConfigError::Value { setting: "encoder.retries", reason });
        }
        Ok(())
    }
}

const MAX_RETRIES: u32 = 10;

impl From<&EmbeddedSettings> for EmbeddedConfig {
    fn from(settings: &EmbeddedSettings) -> Self {
        let quota = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let search_threads = if settings.search_threads == 0 { quota() } else { settings.search_threads };
        Self { search_threads, lock_wait_ms: settings.lock_wait_ms }
    }
}

impl From<&QdrantSettings> for QdrantConfig {
    fn from(settings: &QdrantSettings) -> Self {
        Self {
            url: settings.url.clone(),
            api_key: Some(settings.api_key.clone()).filter(|key| !key.is_empty()),
            timeout_ms: settings.timeout_ms,
            connect_timeout_ms: settings.connect_timeout_ms,
            connections: settings.connections,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_complete_and_allowed() {
        SearchConfig::load(None).unwrap();
    }

    #[test]
    fn zero_is_refused_by_name() {
        let mut config = SearchConfig::load(None).unwrap();
        config.indexing.chunk_images = 0;
        assert!(config.check().unwrap_err().to_string().contains("indexing.chunk_images"));
    }
}
