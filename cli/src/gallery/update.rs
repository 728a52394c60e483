//! `descry gallery update`

use crate::output::say;
use crate::progress;
use crate::server::Server;
use anyhow::Context as _;
use descry_client::Untold;
use descry_intake::read_metadata;
use std::path::PathBuf;
use std::process::ExitCode;

/// Change what is known of images, without encoding them again.
///
/// What a record says of its image replaces what was known; what it does not say is kept. With --clear-metadata a record
/// says everything: fields that it leaves out are cleared, except where the image's file is. Images without a record stay
/// as they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery update lobby --metadata crops.csv
  descry gallery update lobby --metadata crops.csv --clear-metadata")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Records with image_id, and person_id, camera_id, captured_at or attributes (CSV, JSON Lines or Parquet).
    #[arg(long, value_name = "FILE")]
    metadata: PathBuf,
    /// Clear the fields that a record leaves out.
    #[arg(long)]
    clear_metadata: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, server, metadata: path, clear_metadata } = arguments;
    let untold = if clear_metadata { Untold::Cleared } else { Untold::Kept };
    let records = tokio::task::spawn_blocking(move || read_metadata(&path)).await.context("reading metadata")??;
    let connection = server.connect().await?;
    let total = records.len();
    let bar = progress::bar(total, "records");
    let updated = connection.update_metadata(&name, records, untold, |done| bar.set_position(done as u64)).await?;
    bar.finish_and_clear();
    say!("{updated} of {total} records are of images in gallery {name}; those images were updated");
    Ok(ExitCode::SUCCESS)
}
