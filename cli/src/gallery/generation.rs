//! `descry gallery activate` and `descry gallery drop-generation`

use super::description::short;
use crate::confirmation::confirm;
use crate::output::say;
use crate::progress;
use crate::server::Server;
use descry_client::{ClientError, Connection};
use descry_proto::search::v1::ActivateGenerationRequest;
use std::process::ExitCode;

/// Let another generation of a gallery answer, after a change of the model or to go back.
///
/// Both are compared first, which takes a while for large galleries.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery activate lobby 2
  descry gallery activate lobby 1 --force")]
pub(super) struct ActivateArguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    /// Number of the generation; `descry gallery show` lists them.
    #[arg(value_name = "GENERATION")]
    generation: u32,
    #[command(flatten)]
    server: Server,
    /// Also when it lacks images of the one that serves now; nothing is compared.
    #[arg(long)]
    force: bool,
    /// Also when it has images that the one that serves now does not have.
    #[arg(long)]
    keep_surplus: bool,
}

pub(super) async fn activate(arguments: ActivateArguments) -> anyhow::Result<ExitCode> {
    let ActivateArguments { name: gallery, generation, server, force, keep_surplus } = arguments;
    let connection = server.connect().await?;
    if !force {
        // What it finds, the service remembers.
        show_comparison(&connection, &gallery, generation).await?;
    }
    let request = ActivateGenerationRequest { gallery: gallery.clone(), generation, force, keep_surplus };
    let active = connection.activate_generation(request).await?;
    let (number, model) = (active.generation, short(&active.fingerprint));
    say!("gallery {}: generation {number} serves, model {model}, {} images", active.name, active.images);
    warn_of_watches(&connection, &gallery, &active.fingerprint).await?;
    Ok(ExitCode::SUCCESS)
}

async fn show_comparison(connection: &Connection, gallery: &str, generation: u32) -> Result<(), ClientError> {
    let mut comparison = connection.compare(gallery, generation, 0);
    let bar = progress::bar(0, "images compared");
    while comparison.advance().await? {
        bar.set_length(comparison.total());
        bar.set_position(comparison.examined());
    }
    bar.finish_and_clear();
    Ok(())
}

/// Names the watches whose descriptions another model has read: they match nothing until they are made anew.
pub(super) async fn warn_of_watches(
    connection: &Connection,
    gallery: &str,
    fingerprint: &str,
) -> Result<(), ClientError> {
    let watches = connection.watches(gallery).await?.watches;
    let names: Vec<String> =
        watches.into_iter().filter(|watch| watch.fingerprint != fingerprint).map(|watch| watch.name).collect();
    if !names.is_empty() {
        let names = names.join(", ");
        tracing::warn!(names, "these watches are of another model and match nothing now; create them again");
    }
    Ok(())
}

/// Delete a generation of a gallery that does not serve, with all its embeddings.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery drop-generation lobby 1
  descry gallery drop-generation lobby 1 --yes")]
pub(super) struct DropArguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    /// Number of the generation; `descry gallery show` lists them.
    #[arg(value_name = "GENERATION")]
    generation: u32,
    #[command(flatten)]
    server: Server,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn drop_generation(arguments: DropArguments) -> anyhow::Result<ExitCode> {
    let DropArguments { name: gallery, generation, server, yes } = arguments;
    let connection = server.connect().await?;
    let question = format!("Delete generation {generation} of gallery {gallery:?}? Nothing can go back to it then.");
    if !yes && !confirm(&question)? {
        say!("nothing was deleted");
        return Ok(ExitCode::FAILURE);
    }
    connection.delete_generation(&gallery, generation).await?;
    say!("deleted generation {generation} of gallery {gallery}");
    Ok(ExitCode::SUCCESS)
}
