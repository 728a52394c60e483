//! `descry gallery activate` and `descry gallery drop-generation`

use crate::confirmation::confirm;
use crate::connection::{Client, Server, answer};
use crate::output::say;
use descry_proto::search::v1::{ActivateGenerationRequest, DeleteGenerationRequest, ListWatchesRequest};
use std::process::ExitCode;

/// Let another generation of a gallery answer, after a change of the model or to go back.
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
    /// Also when it lacks images of the one that serves now.
    #[arg(long)]
    force: bool,
}

pub(super) async fn activate(arguments: ActivateArguments) -> anyhow::Result<ExitCode> {
    let ActivateArguments { name: gallery, generation, server, force } = arguments;
    let mut client = server.connect().await?;
    let request = ActivateGenerationRequest { gallery: gallery.clone(), generation, force };
    let active = answer(client.activate_generation(request).await)?;
    let (number, model) = (active.generation, super::short(&active.fingerprint));
    say!("gallery {}: generation {number} serves, model {model}, {} images", active.name, active.images);
    warn_of_watches(&mut client, &gallery, &active.fingerprint).await?;
    Ok(ExitCode::SUCCESS)
}

/// Names the watches whose descriptions another model has read: they match nothing until they are made anew.
pub(super) async fn warn_of_watches(client: &mut Client, gallery: &str, fingerprint: &str) -> anyhow::Result<()> {
    let request = ListWatchesRequest { gallery: gallery.to_owned() };
    let watches = answer(client.list_watches(request).await)?.watches;
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
    let mut client = server.connect().await?;
    let question = format!("Delete generation {generation} of gallery {gallery:?}? Nothing can go back to it then.");
    if !yes && !confirm(&question)? {
        say!("nothing was deleted");
        return Ok(ExitCode::FAILURE);
    }
    let request = DeleteGenerationRequest { gallery: gallery.clone(), generation };
    answer(client.delete_generation(request).await)?;
    say!("deleted generation {generation} of gallery {gallery}");
    Ok(ExitCode::SUCCESS)
}
