//! `descry watch`

mod commands;
mod create;
mod description;
mod follow;
mod manage;
mod matched;
mod posts;

use clap::Subcommand;
use std::process::ExitCode;

/// Register descriptions and follow the newly indexed images that match them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry watch create red-hoodie \"a man in a red hoodie\" --gallery lobby --min-score 0.35
  descry watch follow --gallery lobby
  descry watch list --gallery lobby")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Box<create::Arguments>),
    List(manage::ListArguments),
    Delete(manage::DeleteArguments),
    Follow(follow::Arguments),
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Create(arguments) => create::run(*arguments).await,
        Command::List(arguments) => manage::list(arguments).await,
        Command::Delete(arguments) => manage::delete(arguments).await,
        Command::Follow(arguments) => follow::run(arguments).await,
    }
}
