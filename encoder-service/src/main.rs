//! The encoder service as a process of its own.

use anyhow::Context as _;
use clap::Parser;
use descry_encoder::EncoderConfig;
use std::path::PathBuf;
use std::process::ExitCode;

/// Serves a model bundle over gRPC.
///
/// Example: encoder-service --config encoder.yaml, or
/// DESCRY_ENCODER__MODEL=bundles/dm-adapter encoder-service
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Settings that override the defaults (YAML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The exit code for unusable settings, as in sysexits.h.
const EXIT_CONFIG: u8 = 64;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match EncoderConfig::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(&error.into(), EXIT_CONFIG),
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

#[tokio::main]
async fn run(config: EncoderConfig) -> anyhow::Result<()> {
    descry_serving::telemetry::install(&config.log).map_err(anyhow::Error::msg)?;
    let shutdown = descry_serving::shutdown_signal().context("cannot listen for signals")?;
    let listener = config.server.bind().await?;
    descry_encoder::serve(listener, config, shutdown).await?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the log may not be installed yet")]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("encoder-service: {}", descry_serving::explain(error.as_ref()));
    ExitCode::from(code)
}
