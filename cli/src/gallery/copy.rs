//! `descry gallery copy`

use crate::job_arguments::JobArguments;
use crate::job_display::print_report;
use crate::server::Server;
use crate::{credential, interrupt};
use descry_client::CopyJob;
use std::path::PathBuf;
use std::process::ExitCode;

/// Copy a gallery to another service, without encoding anything again.
///
/// Settings and retention go with it. Running it again continues: images that are there already are passed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery copy lobby --to http://other:50051
  descry gallery copy lobby --server http://old:50051 --to http://new:50051 --as lobby-2026")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Address of the service that gets the copy. Where it speaks TLS, the same CA and certificate count.
    #[arg(long, value_name = "URL")]
    to: String,
    /// File with the token for that service, which does not get to see the other one's.
    #[arg(long, value_name = "FILE")]
    to_token_file: Option<PathBuf>,
    /// Name of the copy [default: the same].
    #[arg(long = "as", value_name = "NAME")]
    copy_name: Option<String>,
    #[command(flatten)]
    job: JobArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name: gallery, server, to: to_url, to_token_file, copy_name, job } = arguments;
    let interrupt = interrupt::at_signal()?;
    let source = server.connect().await?;
    let to = server.connect_to(&to_url).await?.stating(source.stated());
    let to = match to_token_file {
        Some(path) => {
            server.check_way(&to_url)?;
            to.with_token(credential::read(&path)?.trim())?
        }
        None => to,
    };
    let copy = CopyJob { gallery, to, copy_name, options: job.options(interrupt) };
    let report = source.copy_gallery(copy, &mut job.display()).await?;
    Ok(print_report(&report, job.json))
}
