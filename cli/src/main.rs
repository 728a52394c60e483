//! `descry`: the program. Each subcommand parses its arguments and calls the crate that does the work.

mod activation_ranges;
mod audit;
mod captions;
mod cert;
mod checkpoint_families;
mod checkpoint_place;
mod confirmation;
mod contact_sheet;
mod credential;
mod demo;
mod embed;
mod encoders;
mod erase;
mod eval;
mod export;
mod filter;
mod frame_arguments;
mod gallery;
mod hit_json;
mod hold;
mod index;
mod job_arguments;
mod job_display;
mod lab;
mod model;
mod precision_comparison;
mod search;
mod serve;
mod server;
mod split_features;
mod subject;
mod time;
mod time_arguments;
mod token;
mod verified_export;
mod watch;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use descry_terminal::{image_size, interrupt, output, program, progress, shell};
use std::ffi::OsString;
use std::process::ExitCode;

/// Finds people in image galleries by a description.
#[derive(Parser)]
#[command(name = "descry", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Example:\n  descry demo\n\nEach command has its own help with examples: descry search --help")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What to log to standard error, such as `warn` or `descry_search=debug,info`.
    #[arg(long, global = true, default_value = "warn", value_name = "FILTER")]
    log: String,
    /// Zone of the times that are shown, and of such that are given without one: `utc`, `local`, or an offset such as
    /// +02:00. JSON is always in UTC.
    #[arg(long, global = true, default_value = "utc", value_name = "ZONE", allow_hyphen_values = true)]
    time_zone: time::Zone,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Serve(serve::Arguments),
    Export(export::Arguments),
    Embed(embed::Arguments),
    Eval(eval::Arguments),
    Index(Box<index::Arguments>),
    Gallery(gallery::Arguments),
    Hold(hold::Arguments),
    Search(Box<search::Arguments>),
    Watch(watch::Arguments),
    Erase(erase::Arguments),
    Encoders(encoders::Arguments),
    Cert(cert::Arguments),
    Token(token::Arguments),
    Audit(audit::Arguments),
    Subject(Box<subject::Arguments>),
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    program::end(if lab::is_asked(&words) { lab::hand_over(&words) } else { run(parse()) })
}

/// The arguments; ends the program where they are wrong, or ask for help.
fn parse() -> Arguments {
    let matches = Arguments::command().subcommands(lab::listed()).get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

#[tokio::main]
async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let is_service = matches!(arguments.command, Command::Serve(_));
    let start_log = if is_service { program::start_log } else { program::start_hints };
    start_log(arguments.log).map_err(anyhow::Error::msg)?;
    arguments.time_zone.choose();
    match arguments.command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::Embed(arguments) => embed::run(arguments).await,
        Command::Eval(arguments) => eval::run(arguments).await,
        Command::Index(arguments) => index::run(*arguments).await,
        Command::Gallery(arguments) => gallery::run(arguments).await,
        Command::Hold(arguments) => hold::run(arguments).await,
        Command::Search(arguments) => search::run(*arguments).await,
        Command::Watch(arguments) => watch::run(arguments).await,
        Command::Erase(arguments) => erase::run(arguments).await,
        Command::Encoders(arguments) => encoders::run(arguments).await,
        Command::Cert(arguments) => cert::run(arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Subject(arguments) => subject::run(*arguments).await,
    }
}
