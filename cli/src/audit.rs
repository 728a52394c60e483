//! `descry audit`

mod export;
mod key;
mod record_filter;
mod search;
mod verify;

use clap::Subcommand;
use std::process::ExitCode;

/// Look after an audit log: see that nobody changed it, find records in it, hand them over.
///
/// A service keeps one where `descry serve --audit DIR` or the setting `audit.folder` asks for it. These commands read its files,
/// also while it is written; docs/AUDIT.md has what is in them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry audit verify /var/log/descry
  descry audit search /var/log/descry --gallery lobby --image 17.jpg
  descry audit export /var/log/descry --from 2026-05-01 --format csv > may.csv")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(verify::Arguments),
    Search(Box<search::Arguments>),
    Export(Box<export::Arguments>),
    Key(key::Arguments),
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Search(arguments) => search::run(*arguments),
        Command::Export(arguments) => export::run(*arguments),
        Command::Key(arguments) => key::run(&arguments),
    }
}
