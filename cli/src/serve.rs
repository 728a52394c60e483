//! `descry serve`

use crate::output::say;
use anyhow::Context as _;
use descry_encoder::{Encoder, EncoderConfig, Workers, add_encoder_service};
use descry_search::{SearchConfig, SearchService, add_search_service};
use descry_serving::ServerConfig;
use descry_serving::metrics::MetricsPage;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

/// Run both services in one process, with the galleries in one file.
///
/// The encoder and search services answer at the same address. For a deployment in several parts there are the
/// programs encoder-service and search-service.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry serve --model bundles/cuhk
  descry serve --model bundles/cuhk --data /var/lib/descry --listen 0.0.0.0:50051")]
pub(crate) struct Arguments {
    /// Model bundle: a folder written by `descry export`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder for the galleries; created if needed [default: descry-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    listen: String,
    /// Settings of the encoder (YAML); its `model`, `server`, `log`, `metrics` and `telemetry` do not count
    /// here.
    #[arg(long, value_name = "FILE")]
    encoder_config: Option<PathBuf>,
    /// Settings of the search service (YAML); its `encoder.url`, `server.listen`, `log` and
    /// `telemetry` do not count here.
    #[arg(long, value_name = "FILE")]
    search_config: Option<PathBuf>,
}

/// Both services, loaded and listening, not yet serving.
pub(crate) struct Stack {
    listener: TcpListener,
    server: ServerConfig,
    encoder: Encoder,
    workers: Workers,
    search: SearchService,
    _metrics: Option<MetricsPage>,
}

impl Stack {
    /// Loads the model and binds the address.
    pub(crate) async fn open(
        encoder_config: EncoderConfig,
        search_config: SearchConfig,
        listen: &str,
    ) -> anyhow::Result<Self> {
        let server = ServerConfig { listen: listen.to_owned(), ..search_config.server.clone() };
        let listener = server.bind().await?;
        let metrics = search_config.metrics.open().await?;
        descry_encoder::describe_metrics();
        descry_search::describe_metrics();
        let opened = tokio::task::spawn_blocking(move || Encoder::open(&encoder_config)).await;
        let (encoder, workers) = opened.context("loading the model")??;
        // The search service reaches the encoder through memory, with the same messages as over a network. What is too
        // large is refused at the outer door.
        let mut inner = RoutesBuilder::default();
        add_encoder_service(&mut inner, encoder.clone(), usize::MAX);
        let channel = descry_serving::in_memory_channel(inner.routes(), descry_proto::DESCRIPTOR_SET)?;
        let search = SearchService::open(&search_config, Some(channel)).await?;
        Ok(Self { listener, server, encoder, workers, search, _metrics: metrics })
    }

    /// The address that is listened on.
    pub(crate) fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        self.listener.local_addr().context("asking for the listening address")
    }

    /// The loaded model.
    pub(crate) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Serves until `shutdown`.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self { listener, server, encoder, workers, search, _metrics } = self;
        let mut routes = RoutesBuilder::default();
        let health = descry_serving::health_service(&mut routes, descry_search::SERVICE_NAME).await;
        health.of(descry_encoder::SERVICE_NAME).set_ready(true).await;
        health.of(encoder.device().health_name).set_ready(true).await;
        let tending = tokio::spawn(search.clone().tend(health));
        let intake = encoder.intake();
        add_encoder_service(&mut routes, encoder, server.max_message_bytes);
        add_search_service(&mut routes, search.clone(), server.max_message_bytes);
        let stop = async {
            shutdown.await;
            search.stop_intake();
            intake.stop();
        };
        descry_serving::serve(listener, routes.routes(), descry_proto::DESCRIPTOR_SET, &server, stop).await?;
        tending.await.context("tending the galleries")?;
        drop(search);
        tokio::task::spawn_blocking(move || workers.join()).await.context("stopping the towers")
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut encoder_config = EncoderConfig::load(arguments.encoder_config.as_deref())?;
    encoder_config.model = arguments.model;
    let mut search_config = SearchConfig::load(arguments.search_config.as_deref())?;
    if let Some(data) = arguments.data {
        search_config.embedded.path = data.join("galleries.sqlite3");
    }
    let shutdown = descry_serving::shutdown_signal().context("cannot listen for signals")?;
    let stack = Stack::open(encoder_config, search_config, &arguments.listen).await?;
    say!(
        "serving {} model {} on {} (Ctrl-C stops)",
        stack.encoder().manifest().family,
        stack.encoder().fingerprint().short(),
        stack.address()?
    );
    stack.serve(shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
