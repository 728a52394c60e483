//! `descry serve`

use crate::output::say;
use anyhow::Context as _;
use descry_encoder::EncoderConfig;
use descry_search::SearchConfig;
use descry_standalone::Stack;
use descry_terminal::new_file;
use descry_trust::tls::ClientCertificates;
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
  descry serve --model bundles/cuhk --data /var/lib/descry --tokens tokens.json --audit /var/log/descry
  descry serve --model bundles/cuhk --listen 0.0.0.0:50051 --tokens tokens.json \
    --tls-certificate certs/server.pem --tls-key certs/server.key
  descry serve --model bundles/cuhk --listen 0.0.0.0:50051 --insecure
(`descry token` makes tokens, `descry cert` certificates for a trial)")]
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
    /// Speak TLS, with this certificate and those between it and its CA (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Let nobody in without a certificate of this CA (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    client_ca: Option<PathBuf>,
    /// The tokens that callers must send, a file made by `descry token create`; without it nobody is asked who calls.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Listen where other machines reach it even though nothing is encrypted, or nobody is asked who calls: whoever reaches
    /// the address may read and delete everything.
    #[arg(long)]
    insecure: bool,
    /// Keep an audit log in this folder: who did what, for what purpose, and what they were told (`descry audit`).
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// Settings of the encoder (YAML); its `model`, `server`, `access`, `log`, `metrics` and `telemetry` do not count
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
    let tls = &mut search_config.server.tls;
    if let Some((certificate, key)) = arguments.tls_certificate.zip(arguments.tls_key) {
        (tls.certificate, tls.key) = (certificate, key);
    }
    if let Some(client_ca) = arguments.client_ca {
        (tls.client_ca, tls.client_certificates) = (client_ca, ClientCertificates::Required);
    }
    let protection = if tls.is_on() { " with TLS" } else { "" };
    if let Some(tokens) = arguments.tokens {
        search_config.access.tokens_file = tokens;
    }
    search_config.server.insecure |= arguments.insecure;
    if let Some(audit) = arguments.audit {
        new_file::check_folder(&audit)?;
        search_config.audit.folder = audit;
    }
    let longest_shutdown = search_config.server.longest_shutdown();
    let shutdown = descry_serving::shutdown_signal_within(longest_shutdown).context("cannot listen for signals")?;
    let stack = Stack::open(encoder_config, search_config, &arguments.listen).await?;
    say!(
        "serving {} model {} on {}{protection} (Ctrl-C stops)",
        stack.encoder().manifest().family,
        stack.encoder().fingerprint().short(),
        stack.address()?
    );
    stack.serve(shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
