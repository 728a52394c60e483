//! `descry gallery`

mod calibrate;
mod check;
mod copy;
mod create;
mod delete;
mod description;
mod export;
mod generation;
mod import;
mod list;
mod list_images;
mod reembed;
mod remove;
mod retain;
mod show;
mod stats;
mod update;

use clap::Subcommand;
use std::process::ExitCode;

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
    Stats(stats::Arguments),
    ListImages(Box<list_images::Arguments>),
    Check(check::CheckArguments),
    Repair(check::RepairArguments),
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
        Command::Stats(arguments) => stats::run(arguments).await,
        Command::ListImages(arguments) => list_images::run(*arguments).await,
        Command::Check(arguments) => check::check(arguments).await,
        Command::Repair(arguments) => check::repair(arguments).await,
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
