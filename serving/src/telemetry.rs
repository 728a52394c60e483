//! What a service tells of its work: lines on standard error, and spans to a collector over the OpenTelemetry protocol.

mod lines;
mod printable;

use crate::outgoing::channel_to;
use crate::request_record::REQUEST_SPAN;
use descry_trust::tls::{Address, ClientTls, ClientTlsSettings, TlsHints};
use lines::{EscapedFields, Sentences};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use serde::Deserialize;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;
use tonic::transport::Endpoint;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

pub use printable::Printable;

/// One for the process: a span begun by one service may end in another of the same process.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The `log` section of a service's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// A `tracing` filter, such as `info` or `descry_encoder=debug,info`. Query texts appear at `debug` and below only.
    pub filter: String,
    /// Lines for people or for machines.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
    /// A sentence an event, without time and place: for those who run a command, not for services.
    #[serde(skip)]
    Sentences,
}

/// Installs the process's log subscriber.
///
/// # Errors
/// A message for an unusable filter, or when a subscriber is installed already.
pub fn install(config: &LogConfig) -> Result<(), String> {
    install_with(config, None)
}

/// As [`install`], and the services' spans go to `tracer` as well.
pub(crate) fn install_with(config: &LogConfig, tracer: Option<SdkTracer>) -> Result<(), String> {
    let installed = subscriber(config, tracer, std::io::stderr)?.try_init();
    installed.map_err(|error: TryInitError| error.to_string())
}

/// Lines to `writer`, spans to `tracer`.
pub(crate) fn subscriber<Writer>(
    config: &LogConfig,
    tracer: Option<SdkTracer>,
    writer: Writer,
) -> Result<impl Subscriber + Send + Sync, String>
where
    Writer: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.filter)
        .and_then(|_| EnvFilter::try_new(without_allocations(&config.filter)))
        .map_err(|error| format!("log.filter: {error}"))?;
    let mut lines = tracing_subscriber::fmt::layer().with_writer(writer);
    if !std::io::stderr().is_terminal() {
        // Colours are for people who watch; in a file or a pipe they are noise.
        lines = lines.with_ansi(false);
    }
    // Without a level of its own, the second filter would take away that of the first, by which most of a log costs nothing.
    let filter = filter.and(filter_fn(is_without_secrets).with_max_level_hint(LevelFilter::TRACE));
    let lines = match config.format {
        LogFormat::Text => lines.fmt_fields(EscapedFields::default()).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
        LogFormat::Sentences => lines.event_format(Sentences).with_filter(filter).boxed(),
    };
    let spans =
        tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter_fn(is_exported)));
    Ok(tracing_subscriber::registry().with(lines).with(spans))
}

/// The filter without what ONNX Runtime tells of its memory, dozens of lines at `info` that hide everything else; its
/// warnings stay. Who names the target `ort` gets what was asked for.
fn without_allocations(filter: &str) -> String {
    let is_named = |directive: &str| {
        directive.strip_prefix("ort").is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
    };
    let directives = || filter.split(',').map(str::trim);
    // A level for everything stands alone.
    let is_chatty =
        directives().any(|directive| directive.parse::<LevelFilter>().is_ok_and(|level| level > LevelFilter::WARN));
    if is_chatty && !directives().any(is_named) { format!("{filter},ort=warn") } else { filter.to_owned() }
}

/// The HTTP client hides passwords in what it logs, but neither signed addresses nor, at its lowest level, headers.
fn is_without_secrets(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || !metadata.target().starts_with("ureq")
}

/// What the libraries do is not ours to export, least of all what the export itself makes them do. Spans only, and none
/// below `info`: nothing that was sent to us leaves this way. A request's own span is exported with its trace ids.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && *metadata.level() <= Level::INFO
        && metadata.target().starts_with("descry")
        && metadata.name() != REQUEST_SPAN
}

/// The `telemetry` section of a service's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where spans go, such as `http://127.0.0.1:4317` (OTLP over gRPC), or `https://…`; empty to export none.
    pub otlp_endpoint: String,
    /// Whom to believe that the collector is, where its address begins with https://.
    #[serde(default)]
    pub tls: ClientTlsSettings,
}

/// As long as the OpenTelemetry protocol waits by default.
const COLLECTOR_LIMIT: Duration = Duration::from_secs(10);

const TLS_HINTS: TlsHints = TlsHints { ca: "telemetry.tls.ca", certificate: "telemetry.tls.certificate and .key" };

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
        let exporter = exporter(config)?;
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

/// What sends spans to the collector of the settings.
fn exporter(config: &TelemetryConfig) -> Result<SpanExporter, String> {
    let address = Address::parse(&config.otlp_endpoint)
        .map_err(|error| format!("telemetry.otlp_endpoint: {error}, or leave it empty"))?;
    let exporter = SpanExporter::builder().with_tonic();
    let exporter = if address.is_tls() {
        if let Some(problem) = config.tls.problem() {
            return Err(format!("telemetry.tls: {problem}"));
        }
        let tls = ClientTls::open(&config.tls, TLS_HINTS).map_err(|error| format!("telemetry.tls: {error}"))?;
        let limited = |endpoint: Endpoint| endpoint.connect_timeout(COLLECTOR_LIMIT).timeout(COLLECTOR_LIMIT);
        let channel = channel_to(&address, None, Some(&tls), limited);
        exporter.with_channel(channel.map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?)
    } else {
        exporter.with_endpoint(&config.otlp_endpoint)
    };
    exporter.build().map_err(|error| format!("telemetry.otlp_endpoint: {error}"))
}

/// The tracer of the running export, if there is one.
pub(crate) fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::on_this_thread;
