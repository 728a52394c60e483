//! `descry hold`

mod conditions;
mod lift;
mod list;
mod place;

use clap::Subcommand;
use std::process::ExitCode;

/// Keep images from being removed or changed away, for a case: legal holds.
///
/// What a hold keeps stays, whatever retention or a command says, until the hold is lifted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry hold place case-17 --gallery lobby --person 17 --reason \"theft of a bag, 2026-117\"
  descry hold list --gallery lobby
  descry hold lift case-17 --gallery lobby")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Place(Box<place::Arguments>),
    List(list::Arguments),
    Lift(lift::Arguments),
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Place(arguments) => place::run(*arguments).await,
        Command::List(arguments) => list::run(arguments).await,
        Command::Lift(arguments) => lift::run(arguments).await,
    }
}
