//! Settings of the encoder service. `config/default.yaml` documents every one of them.

use crate::device::{DeviceConfig, DeviceName, DevicePrecision};
use descry_serving::config::{ConfigError, load};
use descry_serving::prometheus::PrometheusConfig;
use descry_serving::telemetry::LogConfig;
use descry_serving::{AccessConfig, ServerConfig, TelemetryConfig};
use serde::Deserialize;
use std::path::{Path, PathBuf};

const DEFAULTS: &str = include_str!("../config/default.yaml");

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Folder of the model bundle.
    pub model: PathBuf,
    /// ONNX Runtime's shared library; empty to search for it.
    pub onnxruntime_library: PathBuf,
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
    /// Limits on what comes from outside.
    pub limits: InputLimits,
    /// Queues and batches.
    pub batching: BatchingConfig,
    /// What runs the towers.
    pub device: DeviceConfig,
    /// ONNX Runtime sessions.
    pub sessions: SessionConfig,
}

/// Limits on what comes from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputLimits {
    /// Items of one request.
    pub max_items: usize,
    /// Bytes of one image file.
    pub max_image_bytes: usize,
    /// Pixels of one image, checked in its header before decoding.
    pub max_image_pixels: u64,
    /// Bytes of one text.
    pub max_text_bytes: usize,
    /// Whether a text without content is encoded like any other or refused.
    pub allow_blank_texts: bool,
    /// Items of one stream that are worked on at once.
    pub max_stream_window: usize,
    /// How long a stream may pause between items, in milliseconds.
    pub max_stream_idle_ms: u64,
    /// Streams open at once.
    pub max_streams: usize,
}

/// Queues and batches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchingConfig {
    /// Images admitted and not yet answered.
    pub max_queued_images: usize,
    /// Texts admitted and not yet answered.
    pub max_queued_texts: usize,
    /// Pixels of images admitted and not yet answered, in megapixels, counted as often as a decoder goes over them.
    pub max_queued_megapixels: usize,
    /// Pixels of images that are decoded at once, in megapixels, counted likewise.
    pub max_decoding_megapixels: usize,
    /// Images of one run.
    pub max_batch_images: usize,
    /// Texts of one run.
    pub max_batch_texts: usize,
    /// Token ids of one run, padding included. A longer text runs alone.
    pub max_batch_tokens: usize,
    /// Bulk work's turn comes every n-th time.
    pub bulk_turn_every: usize,
}

/// ONNX Runtime sessions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    /// Sessions of each tower, each with a thread that feeds it.
    pub workers: usize,
    /// Threads of each session; 0 for the CPU quota divided by the workers.
    pub threads: usize,
    /// Batch sizes that a GPU plans for; batches are filled up to the next one. CPUs take batches as they come.
    pub batch_buckets: Vec<usize>,
    /// Text lengths in tokens that a GPU plans for.
    pub token_buckets: Vec<usize>,
}

impl EncoderConfig {
    /// Reads defaults, then the file, then `DESCRY_ENCODER__…` variables, and checks the values.
    ///
    /// # Errors
    /// [`ConfigError`] naming the setting.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = load(DEFAULTS, file, "DESCRY_ENCODER")?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let BatchingConfig {
            max_queued_images,
            max_queued_texts,
            max_queued_megapixels,
            max_decoding_megapixels,
            max_batch_images,
            max_batch_texts,
            max_batch_tokens,
            bulk_turn_every,
        } = self.batching;
        let fault = |setting, reason: &str| Err(ConfigError::Value { setting, reason: reason.to_owned() });
        let batches = 1..=MAX_BATCH;
        if !batches.contains(&max_batch_images) || !batches.contains(&max_batch_texts) {
            return fault("batching.max_batch_*", "must be 1 to 4096");
        }
        if self.limits.max_items == 0 || self.limits.max_items > max_queued_images.min(max_queued_texts) {
            return fault("limits.max_items", "must be 1 to the smaller of batching.max_queued_images and _texts");
        }
        if self.limits.max_items > MAX_ITEMS {
            return fault("limits.max_items", "must be at most 4096, as encoder.proto says");
        }
        if max_queued_images.max(max_queued_texts) > MAX_QUEUED {
            return fault("batching.max_queued_*", "must be at most 1000000");
        }
        let megapixels = 1..=MAX_MEGAPIXELS;
        if !megapixels.contains(&max_queued_megapixels) || !megapixels.contains(&max_decoding_megapixels) {
            return fault("batching.max_*_megapixels", "must be 1 to 1000000");
        }
        let SessionConfig { workers, threads, batch_buckets, token_buckets } = &self.sessions;
        if !(1..=MAX_THREADS).contains(workers) || *threads > MAX_THREADS {
            return fault("sessions.workers, sessions.threads", "must be at most 256, and at least one worker");
        }
        if batch_buckets.len().max(token_buckets.len()) > MAX_BUCKETS
            || batch_buckets.iter().chain(token_buckets).any(|size| !batches.contains(size))
        {
            return fault("sessions.*_buckets", "at most 32 sizes of 1 to 4096 each");
        }
        if max_batch_tokens == 0 {
            return fault("batching.max_batch_tokens", "must be at least 1");
        }
        if !(2..=MAX_BULK_TURN).contains(&bulk_turn_every) {
            return fault("batching.bulk_turn_every", "must be 2 to 1000: both priorities must have their turns");
        }
        let InputLimits { max_image_bytes, max_image_pixels, max_text_bytes, max_stream_idle_ms, .. } = self.limits;
        if max_image_bytes == 0 || max_image_pixels == 0 || max_text_bytes == 0 || max_stream_idle_ms == 0 {
            return fault("limits.max_*", "must be at least 1");
        }
        if max_image_bytes > MAX_FILE_BYTES || max_text_bytes > MAX_TEXT_BYTES {
            return fault(
                "limits.max_image_bytes, limits.max_text_bytes",
                "at most 64 MiB and 1 MiB, as encoder.proto says",
            );
        }
        let DeviceConfig { name, precision, .. } = self.device;
        if precision == DevicePrecision::Bf16 && !matches!(name, DeviceName::Auto | DeviceName::Openvino) {
            return fault("device.precision", "bf16 is OpenVINO's; leave it out, or set device.name to openvino");
        }
        if !(1..=MAX_STREAM_WINDOW).contains(&self.limits.max_stream_window) {
            return fault("limits.max_stream_window", "must be 1 to 4096");
        }
        if !(1..=MAX_STREAMS).contains(&self.limits.max_streams) {
            return fault("limits.max_streams", "must be 1 to 10000");
        }
        self.server.check()
    }
}

const MAX_ITEMS: usize = 4096;
const MAX_FILE_BYTES: usize = 64 << 20;
const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_BATCH: usize = 4096;
const MAX_QUEUED: usize = 1_000_000;
/// In thousands of gigapixels: no limit.
const MAX_MEGAPIXELS: usize = 1_000_000;
const MAX_THREADS: usize = 256;
/// Each is run once before the service is ready.
const MAX_BUCKETS: usize = 32;
const MAX_STREAM_WINDOW: usize = 4096;
const MAX_STREAMS: usize = 10_000;
const MAX_BULK_TURN: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_complete_and_allowed() {
        EncoderConfig::load(None).unwrap();
    }

    #[test]
    fn values_that_would_break_at_run_time_are_refused() {
        let refuses = |change: fn(&mut EncoderConfig), setting: &str| {
            let mut config = EncoderConfig::load(None).unwrap();
            change(&mut config);
            assert!(config.check().unwrap_err().to_string().contains(setting), "{setting}");
        };
        refuses(|config| config.batching.bulk_turn_every = 1, "bulk_turn_every");
        refuses(|config| config.batching.max_queued_megapixels = 0, "megapixels");
        refuses(|config| config.batching.max_decoding_megapixels = 2_000_000, "megapixels");
        refuses(|config| config.limits.max_text_bytes = 0, "limits.max_");
        refuses(|config| config.limits.max_stream_idle_ms = 0, "limits.max_");
        refuses(|config| config.sessions.workers = 0, "sessions.workers");
        refuses(|config| config.sessions.token_buckets = vec![0], "buckets");
        let cpu_in_bf16 = |config: &mut EncoderConfig| {
            config.device.name = DeviceName::Cpu;
            config.device.precision = DevicePrecision::Bf16;
        };
        refuses(cpu_in_bf16, "device.precision");
    }

    #[test]
    fn contradictions_are_named() {
        let mut config = EncoderConfig::load(None).unwrap();
        config.limits.max_items = config.batching.max_queued_images + 1;
        assert!(config.check().unwrap_err().to_string().contains("limits.max_items"));
        for (change, setting) in [
            ((|config| config.batching.max_batch_tokens = 0) as fn(&mut EncoderConfig), "max_batch_tokens"),
            (|config| config.batching.bulk_turn_every = 0, "bulk_turn_every"),
            (|config| config.limits.max_stream_window = 0, "max_stream_window"),
            (|config| config.limits.max_streams = 0, "max_streams"),
        ] {
            let mut config = EncoderConfig::load(None).unwrap();
            change(&mut config);
            assert!(config.check().unwrap_err().to_string().contains(setting));
        }
    }
}
