//! The encoder service as a process of its own.

use clap::Parser;
use descry_encoder::EncoderConfig;
use descry_serving::program::{self, Program, ShownCertificate};
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
    /// Ask the service that runs with these settings whether it is ready, and exit with 0 if it is.
    #[arg(long)]
    check_health: bool,
    /// With --check-health: a certificate to show where the service asks for one (PEM); its own otherwise.
    #[arg(long, value_name = "FILE", requires_all = ["check_health", "key"])]
    certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

const NAME: &str = "encoder-service";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match EncoderConfig::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return program::refuse(NAME, &error),
    };
    if arguments.check_health {
        let shown = arguments.certificate.zip(arguments.key);
        let shown = shown.map(|(certificate, key)| ShownCertificate { certificate, key });
        return program::check_health(NAME, &config.server, descry_encoder::SERVICE_NAME, shown);
    }
    let program = Program {
        name: NAME,
        log: config.log.clone(),
        telemetry: config.telemetry.clone(),
        longest_shutdown: config.server.longest_shutdown(),
    };
    program.run(async |shutdown| {
        let listener = config.server.bind(&config.access).await?;
        descry_encoder::serve(listener, config, shutdown).await
    })
}
