//! `descry gallery update`

use crate::output::say;
use crate::progress;
use crate::server::Server;
use anyhow::Context as _;
use descry_intake::read_metadata;
use std::path::PathBuf;
use std::process::ExitCode;

/// Replace what is known of images, without encoding them again.
///
/// A record replaces everything that was known of its image, except where its file is. Images without a record stay as
/// they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry gallery update lobby --metadata crops.csv")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Records with image_id, and person_id, camera_id, captured_at or attributes (CSV, JSON Lines or Parquet).
    #[arg(long, value_name = "FILE")]
    metadata: PathBuf,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, server, metadata: path } = arguments;
    let records = tokio::task::spawn_blocking(move || read_metadata(&path)).await.context("reading metadata")??;
    let connection = server.connect().await?;
    let total = records.len();
    let bar = progress::bar(total, "records");
    let updated = connection.replace_metadata(&name, records, |done| bar.set_position(done as u64)).await?;
    bar.finish_and_clear();
    say!("{updated} of {total} records are of images in gallery {name}; those images were updated");
    Ok(ExitCode::SUCCESS)
}
