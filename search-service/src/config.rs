//! Settings of the search service. `config/default.yaml` documents every one of them.

use crate::audit::AuditConfig;
use descry_serving::config::{ConfigError, load};
use descry_serving::prometheus::PrometheusConfig;
use descry_serving::telemetry::LogConfig;
use descry_serving::{AccessConfig, ServerConfig, TelemetryConfig};
use descry_store::{ApiKey, EmbeddedConfig, QdrantConfig};
use descry_trust::tls::ClientTlsSettings;
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
    /// Who may call.
    pub access: AccessConfig,
    /// Logging.
    pub log: LogConfig,
    /// The page for Prometheus.
    pub metrics: PrometheusConfig,
    /// Spans for a collector.
    pub telemetry: TelemetryConfig,
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
    /// Searches under load.
    pub searching: SearchingConfig,
    /// Indexing.
    pub indexing: IndexingConfig,
    /// Removing what has been kept long enough.
    pub retention: RetentionConfig,
    /// Erasing people, tracks and images.
    pub erasure: ErasureConfig,
    /// Standing searches.
    pub watches: WatchConfig,
    /// Comparing approximate searches with exact ones.
    pub recall: RecallConfig,
    /// The audit log.
    pub audit: AuditConfig,
}

/// The encoder services.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderClientConfig {
    /// Where they are: addresses, or names behind each of which there may be many. New galleries are made for the model of
    /// the first.
    #[serde(deserialize_with = "listed")]
    pub urls: Vec<String>,
    /// In place of `urls`, where it is set.
    pub url: String,
    /// Further ones.
    #[serde(deserialize_with = "listed")]
    pub other_urls: Vec<String>,
    /// Whom to believe, and what to show, where an address begins with `https://`.
    pub tls: ClientTlsSettings,
    /// The file with the token that is sent to them; empty for none.
    pub token_file: PathBuf,
    /// Milliseconds after which names are resolved again.
    pub resolve_interval_ms: u64,
    /// Milliseconds after which a member is asked again which model it runs.
    pub probe_interval_ms: u64,
    /// Longest time for its answer to that, in milliseconds.
    pub probe_timeout_ms: u64,
    /// Milliseconds after which what a search needs is asked of another member as well; 0 for never.
    pub hedge_ms: u64,
    /// Longest time for one call, in milliseconds.
    pub timeout_ms: u64,
    /// Longest time for connecting, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long an indexing call is repeated while the encoder is unavailable or full, in milliseconds.
    pub retry_for_ms: u64,
    /// The first pause between repetitions in milliseconds; each next one is twice as long.
    pub min_retry_pause_ms: u64,
    /// The longest pause, in milliseconds.
    pub max_retry_pause_ms: u64,
}

/// Where an encoder is when no setting says so.
const DEFAULT_URL: &str = "http://127.0.0.1:50051";

impl EncoderClientConfig {
    /// Where encoders are, each place once, the one of new galleries first.
    pub(crate) fn places(&self) -> Vec<String> {
        let first = match (self.url.as_str(), self.urls.as_slice()) {
            ("", []) => vec![DEFAULT_URL.to_owned()],
            ("", urls) => urls.to_vec(),
            (url, _) => vec![url.to_owned()],
        };
        distinct(first.into_iter().chain(self.other_urls.iter().cloned()))
    }

    /// Further places, where the first encoder is in this process: what was named by somebody.
    pub(crate) fn other_places(&self) -> Vec<String> {
        distinct(self.urls.iter().chain(&self.other_urls).cloned())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refused = |setting, reason: &str| Err(ConfigError::Value { setting, reason: reason.to_owned() });
        if !self.url.is_empty() && !self.urls.is_empty() {
            return refused("encoder.url", "encoder.urls is set as well; name all encoders in encoder.urls");
        }
        self.tls.problem().map_or(Ok(()), |problem| refused("encoder.tls", problem))
    }
}

fn distinct(urls: impl Iterator<Item = String>) -> Vec<String> {
    urls.fold(Vec::new(), |mut all, url| {
        if !all.contains(&url) {
            all.push(url);
        }
        all
    })
}

/// A list, or the text of one with commas between, as an environment variable gives it.
pub(crate) fn listed<'de, Input: serde::Deserializer<'de>>(input: Input) -> Result<Vec<String>, Input::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Listed {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Listed::deserialize(input)? {
        Listed::List(list) => list,
        Listed::Text(text) => {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        }
    })
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
    /// Bytes on the disk that are held back, so that deleting works when it is full; 0 for none.
    pub reserve_bytes: u64,
}

/// The Qdrant store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QdrantSettings {
    /// The gRPC endpoint.
    pub url: String,
    /// The endpoints of several nodes of one cluster; `url` is not used then.
    #[serde(deserialize_with = "listed")]
    pub urls: Vec<String>,
    /// Whom to believe, and what to show, where an address begins with `https://`.
    pub tls: ClientTlsSettings,
    /// Key to send; empty for none. Never printed.
    pub api_key: ApiKey,
    /// Longest time for one request, in milliseconds.
    pub timeout_ms: u64,
    /// Longest time for connecting, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Connections kept open.
    pub connections: usize,
    /// How long a request is repeated while the server is unavailable, in milliseconds; 0 for not at all.
    pub retry_for_ms: u64,
    /// The first pause between repetitions in milliseconds; each next one is twice as long.
    pub min_retry_pause_ms: u64,
    /// The longest pause, in milliseconds.
    pub max_retry_pause_ms: u64,
    /// How long a read waits before another node is asked the same, in milliseconds; 0 for never.
    pub hedge_after_ms: u64,
}

/// Limits on what comes from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    /// Bytes of one reply, which callers' clients take.
    pub max_reply_bytes: usize,
    /// Hits of one search.
    pub max_hits: usize,
    /// Sightings of one answer, of all its persons together.
    pub max_sightings: usize,
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
    /// Bytes of all names and values of one image's attributes.
    pub max_attributes_bytes: usize,
    /// Cameras of one gallery that are kept for a time of their own.
    pub max_retention_cameras: usize,
    /// Galleries in the store.
    pub max_galleries: usize,
    /// Parts of one query.
    pub max_query_parts: usize,
    /// Accepted and rejected images of one refinement.
    pub max_judged: usize,
    /// Searches of one batch.
    pub max_batch_searches: usize,
    /// Conditions of one filter, nested ones included.
    pub max_filter_conditions: usize,
    /// How deep filters may be nested.
    pub max_filter_depth: usize,
    /// Images of one page, of one write of embeddings, and of one update.
    pub max_page_images: usize,
    /// Captions of one calibration.
    pub max_calibration_captions: usize,
    /// Watches of one gallery.
    pub max_watches: usize,
    /// Streams of matches at once.
    pub max_match_streams: usize,
}

/// Removing what has been kept long enough.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Milliseconds between two sweeps; 0 for none by this process.
    pub sweep_interval_ms: u64,
    /// How long a clock that leapt ahead must run evenly at most before images are removed by it, in milliseconds.
    pub max_clock_wait_ms: u64,
}

/// Comparing approximate searches with exact ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecallConfig {
    /// Milliseconds between two comparisons at least; 0 for none by this process.
    pub probe_interval_ms: u64,
    /// Most of the time that comparisons may take, in percent.
    pub max_load_percent: u32,
    /// Galleries of more images are left alone: an exact search reads all of them.
    pub max_images: u64,
}

/// Erasing people, tracks and images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureConfig {
    /// The key for the marks of what was erased; empty for one of each gallery that is kept with it.
    pub key_file: PathBuf,
}

/// Standing searches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    /// Milliseconds between two looks for newly indexed images.
    pub poll_interval_ms: u64,
    /// What is kept of the descriptions, for people to see what is being looked for.
    pub descriptions: KeptDescriptions,
    /// The key for sealed descriptions; empty for none.
    pub description_key_file: PathBuf,
}

/// How the words of watches lie in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptDescriptions {
    /// As they were written.
    Clear,
    /// Encrypted.
    Sealed,
    /// Not at all.
    None,
}

/// Searches under load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchingConfig {
    /// How long a search should take while others wait, in milliseconds: so many are worked on together.
    pub target_ms: u64,
    /// Searches that are worked on together at most.
    pub max_running: usize,
    /// Searches that wait for their turn at most.
    pub max_waiting: usize,
    /// How long a search waits for its turn at most, in milliseconds.
    pub max_wait_ms: u64,
}

/// Indexing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexingConfig {
    /// Images encoded and written together.
    pub chunk_images: usize,
    /// Such groups in flight for one stream.
    pub chunks_in_flight: usize,
    /// Streams at once.
    pub max_streams: usize,
    /// Bytes of image files of all streams that may lie in memory.
    pub max_bytes_in_memory: usize,
    /// How long a chunk waits for the encoder of a generation that is being filled, in milliseconds.
    pub patience_with_later_generations_ms: u64,
    /// How long a stream may wait between two images of its caller, in milliseconds.
    pub max_stream_idle_ms: u64,
    /// Images a second that one stream may bring; 0 for as many as come.
    pub max_images_per_second: f32,
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
        self.server.check()?;
        self.encoder.check()?;
        self.audit.check()?;
        let allowed = [
            ("limits.max_reply_bytes", self.limits.max_reply_bytes, 1 << 16..=1 << 30),
            ("limits.max_hits", self.limits.max_hits, 1..=1_000_000),
            ("limits.max_sightings", self.limits.max_sightings, 1..=1_000_000),
            ("limits.max_match_streams", self.limits.max_match_streams, 1..=100_000),
            // Beyond these the `.proto` files refuse a request in any case.
            ("limits.max_query_parts", self.limits.max_query_parts, 1..=256),
            ("limits.max_judged", self.limits.max_judged, 1..=4_096),
            ("limits.max_batch_searches", self.limits.max_batch_searches, 1..=1_024),
            ("limits.max_filter_values", self.limits.max_filter_values, 1..=10_000),
            ("limits.max_filter_conditions", self.limits.max_filter_conditions, 1..=1_024),
            ("limits.max_filter_depth", self.limits.max_filter_depth, 1..=32),
            ("limits.max_deleted_ids", self.limits.max_deleted_ids, 1..=100_000),
            ("limits.max_image_bytes", self.limits.max_image_bytes, 1..=64 << 20),
            ("limits.max_text_bytes", self.limits.max_text_bytes, 1..=1 << 20),
            ("limits.max_id_bytes", self.limits.max_id_bytes, 1..=1 << 16),
            ("limits.max_attributes", self.limits.max_attributes, 0..=1_024),
            ("limits.max_attributes_bytes", self.limits.max_attributes_bytes, 0..=1 << 16),
            ("limits.max_retention_cameras", self.limits.max_retention_cameras, 0..=10_000),
            ("limits.max_page_images", self.limits.max_page_images, 1..=16_384),
            ("limits.max_calibration_captions", self.limits.max_calibration_captions, 1..=100_000),
            ("searching.target_ms", self.searching.target_ms as usize, 1..=60_000),
            ("searching.max_running", self.searching.max_running, 1..=100_000),
            ("searching.max_waiting", self.searching.max_waiting, 0..=1_000_000),
            ("searching.max_wait_ms", self.searching.max_wait_ms as usize, 1..=3_600_000),
            ("watches.poll_interval_ms", self.watches.poll_interval_ms as usize, 10..=86_400_000),
            ("indexing.chunk_images", self.indexing.chunk_images, 1..=1024),
            ("indexing.chunks_in_flight", self.indexing.chunks_in_flight, 1..=64),
            (
                "indexing.patience_with_later_generations_ms",
                self.indexing.patience_with_later_generations_ms as usize,
                1..=3_600_000,
            ),
            ("indexing.max_streams", self.indexing.max_streams, 1..=10_000),
            ("indexing.max_stream_idle_ms", self.indexing.max_stream_idle_ms as usize, 1..=86_400_000),
            ("indexing.max_bytes_in_memory", self.indexing.max_bytes_in_memory, self.limits.max_image_bytes..=1 << 40),
            ("embedded.reserve_bytes", self.embedded.reserve_bytes as usize, 0..=1 << 40),
            ("qdrant.connections", self.qdrant.connections, 1..=256),
            ("encoder.resolve_interval_ms", self.encoder.resolve_interval_ms as usize, 100..=86_400_000),
            ("encoder.probe_interval_ms", self.encoder.probe_interval_ms as usize, 100..=3_600_000),
            ("encoder.probe_timeout_ms", self.encoder.probe_timeout_ms as usize, 10..=600_000),
            ("encoder.hedge_ms", self.encoder.hedge_ms as usize, 0..=3_600_000),
            ("encoder.min_retry_pause_ms", self.encoder.min_retry_pause_ms as usize, 1..=3_600_000),
            ("recall.max_load_percent", self.recall.max_load_percent as usize, 1..=100),
            ("encoder.timeout_ms", self.encoder.timeout_ms as usize, 1..=86_400_000),
        ];
        for (setting, value, range) in allowed {
            if !range.contains(&value) {
                let reason = format!("{value}; {} to {} are allowed", range.start(), range.end());
                return Err(ConfigError::Value { setting, reason });
            }
        }
        crate::indexing::check_rate(self.indexing.max_images_per_second)
            .map_err(|reason| ConfigError::Value { setting: "indexing.max_images_per_second", reason })
    }
}

impl From<&EmbeddedSettings> for EmbeddedConfig {
    fn from(settings: &EmbeddedSettings) -> Self {
        let quota = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let search_threads = if settings.search_threads == 0 { quota() } else { settings.search_threads };
        Self { search_threads, lock_wait_ms: settings.lock_wait_ms, reserve_bytes: settings.reserve_bytes }
    }
}

impl From<&QdrantSettings> for QdrantConfig {
    fn from(settings: &QdrantSettings) -> Self {
        Self {
            url: settings.url.clone(),
            urls: settings.urls.clone(),
            tls: settings.tls.clone(),
            api_key: Some(settings.api_key.clone()).filter(|key| !key.is_empty()),
            timeout_ms: settings.timeout_ms,
            connect_timeout_ms: settings.connect_timeout_ms,
            connections: settings.connections,
            retry_for_ms: settings.retry_for_ms,
            min_retry_pause_ms: settings.min_retry_pause_ms,
            max_retry_pause_ms: settings.max_retry_pause_ms,
            hedge_after_ms: settings.hedge_after_ms,
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
    fn encoders_are_named_in_one_setting_or_in_two() {
        let mut config = SearchConfig::load(None).unwrap();
        assert_eq!(config.encoder.places(), [DEFAULT_URL]);
        config.encoder.urls = ["http://a:1", "http://b:1", "http://a:1"].map(str::to_owned).into();
        config.encoder.other_urls = vec!["http://c:1".to_owned()];
        assert_eq!(config.encoder.places(), ["http://a:1", "http://b:1", "http://c:1"]);
        config.encoder.url = "http://d:1".to_owned();
        assert!(config.check().unwrap_err().to_string().contains("encoder.urls is set as well"));
        config.encoder.urls = vec![];
        config.check().unwrap();
        assert_eq!(config.encoder.places(), ["http://d:1", "http://c:1"]);
        // `descry serve` has an encoder of its own; what somebody names is added, whatever it is.
        assert_eq!(config.encoder.other_places(), ["http://c:1"]);
        config.encoder.urls = vec![DEFAULT_URL.to_owned()];
        assert_eq!(config.encoder.other_places(), [DEFAULT_URL, "http://c:1"]);
    }

    #[test]
    fn zero_is_refused_by_name() {
        let mut config = SearchConfig::load(None).unwrap();
        config.indexing.chunk_images = 0;
        assert!(config.check().unwrap_err().to_string().contains("indexing.chunk_images"));
    }
}
