//! Spans to a collector, over the OpenTelemetry protocol.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use serde::Deserialize;
use std::sync::OnceLock;

/// One for the process: a span begun by one service may end in another of the same process.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The `telemetry` section of a service's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where spans go, such as `http://127.0.0.1:4317` (OTLP over gRPC, without TLS); empty to export none.
    pub otlp_endpoint: String,
}

/// A running export.
pub(crate) struct SpanExport {
    provider: SdkTracerProvider,
    pub(crate) tracer: SdkTracer,
}

impl SpanExport {
    /// Begins to export, where the settings say so. The collector need not be there: spans that do not get through are
    /// dropped, requests never wait for them.
    pub(crate) fn open(config: &TelemetryConfig, service: &'static str) -> Result<Option<Self>, String> {
        if config.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        if !config.otlp_endpoint.starts_with("http://") {
            return Err(format!(
                "telemetry.otlp_endpoint: {}; give an address that begins with http://, or leave it empty",
                config.otlp_endpoint
            ));
        }
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&config.otlp_endpoint)
            .build()
            .map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?;
        // Only what is known here: the default resource would be read from the environment.
        let resource = Resource::builder_empty().with_service_name(service).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("descry");
        let tracer = TRACER.get_or_init(|| tracer).clone();
        Ok(Some(Self { provider, tracer }))
    }

    /// Sends what is left. Blocks for a few seconds at most.
    pub(crate) fn finish(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// The tracer of the running export, if there is one.
pub(crate) fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

#[cfg(test)]
mod tests;
