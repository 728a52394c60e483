//! `descry serve`

use crate::output::say;
use anyhow::Context as _;
use descry_encoder::EncoderConfig;
use descry_search::SearchConfig;
use descry_standalone::Stack;
use descry_terminal::new_file;
use std::path::PathBuf;
use std::process::ExitCode;

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
    /// Folder for the galleries; created if needed, in a folder that is there [default: descry-data].
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

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut encoder_config = EncoderConfig::load(arguments.encoder_config.as_deref())?;
    encoder_config.model = arguments.model;
    let mut search_config = SearchConfig::load(arguments.search_config.as_deref())?;
    if let Some(data) = arguments.data {
        new_file::check_folder(&data)?;
        search_config.embedded.path = data.join("galleries.sqlite3");
    }
    let longest_shutdown = search_config.server.longest_shutdown();
    let shutdown = descry_serving::shutdown_signal_within(longest_shutdown).context("cannot listen for signals")?;
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
