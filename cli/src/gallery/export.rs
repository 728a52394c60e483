//! `descry gallery export`

use crate::output::say;
use crate::server::Server;
use crate::{interrupt, progress};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a gallery's embeddings and metadata into a Parquet file.
///
/// `descry gallery import` makes a gallery of it again; every Parquet reader understands it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry gallery export lobby lobby.parquet")]
pub(super) struct Arguments {
    /// The gallery, or a generation of one such as lobby.2.
    #[arg(value_name = "NAME")]
    name: String,
    /// The file to write.
    #[arg(value_name = "FILE.parquet")]
    file: PathBuf,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, file: path, server } = arguments;
    let interrupt = interrupt::at_signal()?;
    let connection = server.connect().await?;
    let bar = progress::bar(0, "images");
    let show = |images, total| {
        bar.set_length(total);
        bar.set_position(images);
    };
    let exported = connection.export_gallery(&name, &path, &interrupt, show).await;
    bar.finish_and_clear();
    let exported = exported?;
    let model = exported.fingerprint.short();
    say!("{}: {} images of gallery {name}, model {model}", path.display(), exported.images);
    Ok(ExitCode::SUCCESS)
}
