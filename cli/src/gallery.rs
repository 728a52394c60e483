//! `descry gallery`

mod calibrate;
mod copy;
mod create;
mod delete;
mod export;
mod generation;
mod import;
mod list;
mod note;
mod reembed;
mod remove;
mod retain;
mod show;
mod update;

use crate::connection::{Client, answer, explain};
use clap::Subcommand;
use descry_proto::search::v1::{
    CreateGalleryRequest, Gallery, GetGalleryRequest, ListGenerationsRequest, ListGenerationsResponse,
};
use std::process::ExitCode;
use tonic::Code;

/// Create, look after and move galleries, and change their model.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery list
  descry gallery create lobby --attribute weather --retain 30d
  descry gallery copy lobby --to http://other:50051
  descry gallery reembed lobby --to FINGERPRINT --queries queries.jsonl")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Arguments),
    List(list::Arguments),
    Show(show::Arguments),
    Delete(delete::Arguments),
    Retain(retain::Arguments),
    Copy(copy::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Remove(Box<remove::Arguments>),
    Update(update::Arguments),
    Calibrate(calibrate::Arguments),
    Reembed(Box<reembed::Arguments>),
    Activate(generation::ActivateArguments),
    DropGeneration(generation::DropArguments),
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Create(arguments) => create::run(arguments).await,
        Command::List(arguments) => list::run(arguments).await,
        Command::Show(arguments) => show::run(arguments).await,
        Command::Delete(arguments) => delete::run(arguments).await,
        Command::Retain(arguments) => retain::run(arguments).await,
        Command::Copy(arguments) => copy::run(arguments).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::Import(arguments) => import::run(arguments).await,
        Command::Remove(arguments) => remove::run(*arguments).await,
        Command::Update(arguments) => update::run(arguments).await,
        Command::Calibrate(arguments) => calibrate::run(arguments).await,
        Command::Reembed(arguments) => reembed::run(*arguments).await,
        Command::Activate(arguments) => generation::activate(arguments).await,
        Command::DropGeneration(arguments) => generation::drop_generation(arguments).await,
    }
}

/// The gallery, if it exists.
pub(crate) async fn find(client: &mut Client, name: &str) -> anyhow::Result<Option<Gallery>> {
    match client.get_gallery(GetGalleryRequest { name: name.to_owned() }).await {
        Ok(reply) => Ok(Some(reply.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(explain(&status)),
    }
}

/// The gallery, or why there is none.
pub(crate) async fn get(client: &mut Client, name: &str) -> anyhow::Result<Gallery> {
    answer(client.get_gallery(GetGalleryRequest { name: name.to_owned() }).await)
}

/// The gallery as it is, or as the request describes it where there is none.
pub(crate) async fn find_or_create(client: &mut Client, request: CreateGalleryRequest) -> anyhow::Result<Gallery> {
    if let Some(found) = find(client, &request.name).await? {
        return Ok(found);
    }
    answer(client.create_gallery(request).await)
}

/// All models of a gallery.
pub(crate) async fn generations(client: &mut Client, gallery: &str) -> anyhow::Result<ListGenerationsResponse> {
    answer(client.list_generations(ListGenerationsRequest { gallery: gallery.to_owned() }).await)
}

/// How one generation is addressed.
pub(crate) fn generation_address(gallery: &str, generation: u32) -> String {
    format!("{gallery}.{generation}")
}

/// Embeddings of different models cannot be compared.
pub(crate) fn check_model(gallery: &Gallery, fingerprint: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        gallery.fingerprint == fingerprint,
        "gallery {:?} is of model {}, the embeddings are of model {fingerprint}; choose another gallery",
        gallery.name,
        gallery.fingerprint
    );
    Ok(())
}

/// The first digits of a fingerprint, for people to read.
fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(12).collect()
}
