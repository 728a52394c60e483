//! `descry gallery delete`

use crate::confirmation::confirm;
use crate::output::say;
use crate::server::Server;
use std::process::ExitCode;

/// Delete a gallery with all its images and models.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery delete lobby
  descry gallery delete lobby --yes")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = arguments.server.connect().await?;
    let gallery = connection.gallery(&arguments.name).await?;
    let question = format!("Delete gallery {:?} with {} images?", gallery.name, gallery.images);
    if !arguments.yes && !confirm(&question)? {
        say!("nothing was deleted");
        return Ok(ExitCode::FAILURE);
    }
    connection.delete_gallery(&arguments.name).await?;
    say!("deleted gallery {} with {} images", gallery.name, gallery.images);
    Ok(ExitCode::SUCCESS)
}
