//! `descry gallery import`

use crate::interrupt;
use crate::job_arguments::JobArguments;
use crate::job_display::print_report;
use crate::server::Server;
use descry_client::ImportJob;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a gallery of an exported file, with its settings and retention.
///
/// Running it again continues: images that are there already are passed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery import lobby.parquet
  descry gallery import lobby.parquet --gallery lobby-2026 --server http://other:50051")]
pub(super) struct Arguments {
    /// A file that `descry gallery export` wrote.
    #[arg(value_name = "FILE.parquet")]
    file: PathBuf,
    #[command(flatten)]
    server: Server,
    /// Name of the gallery [default: the one it was exported from].
    #[arg(long, value_name = "NAME")]
    gallery: Option<String>,
    #[command(flatten)]
    job: JobArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { file: path, server, gallery, job } = arguments;
    let import = ImportJob { path, gallery, options: job.options(interrupt::at_signal()?) };
    let connection = server.connect().await?;
    let report = connection.import_gallery(import, &mut job.display()).await?;
    Ok(print_report(&report, job.json))
}
