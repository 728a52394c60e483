//! `descry`: the one program. Each subcommand parses its arguments and calls the crate that does the work.

mod activation_ranges;
mod bench;
mod captions;
mod confirmation;
mod contact_sheet;
mod demo;
mod embed;
mod eval;
mod export;
mod filter;
mod gallery;
mod hit_json;
mod index;
mod interrupt;
mod job_arguments;
mod job_display;
mod model;
mod output;
mod precision_comparison;
mod progress;
mod search;
mod serve;
mod server;
mod shell;
mod synth;
mod time;
mod train;
mod verified_export;
mod watch;

use clap::{Parser, Subcommand};
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
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Serve(serve::Arguments),
    Synth(synth::Arguments),
    Train(Box<train::Arguments>),
    Export(export::Arguments),
    Embed(embed::Arguments),
    Eval(eval::Arguments),
    Index(Box<index::Arguments>),
    Gallery(gallery::Arguments),
    Search(Box<search::Arguments>),
    Watch(watch::Arguments),
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    limit_tensor_library();
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Training gives each core a part of the batch. The tensor library's own threads would compete with that, waiting in
/// loops that take a third of the machine; the library looks at this variable when it is first used.
fn limit_tensor_library() {
    #[expect(unsafe_code, reason = "no other thread runs yet")]
    // SAFETY: this is the program's first act, so nobody reads the environment at the same time.
    unsafe {
        std::env::set_var("CANDLE_NUM_THREADS", "1");
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let log = descry_serving::telemetry::LogConfig {
        filter: arguments.log,
        format: descry_serving::telemetry::LogFormat::Text,
    };
    descry_serving::telemetry::install(&log).map_err(anyhow::Error::msg)?;
    match arguments.command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Synth(arguments) => synth::run(arguments).await,
        Command::Train(arguments) => train::run(*arguments).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::Embed(arguments) => embed::run(arguments).await,
        Command::Eval(arguments) => eval::run(arguments).await,
        Command::Index(arguments) => index::run(*arguments).await,
        Command::Gallery(arguments) => gallery::run(arguments).await,
        Command::Search(arguments) => search::run(*arguments).await,
        Command::Watch(arguments) => watch::run(arguments).await,
        Command::Bench(arguments) => bench::run(arguments).await,
    }
}

#[expect(clippy::print_stderr, reason = "the error is the program's last word")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("descry: {}", descry_serving::explain(error.as_ref()));
    ExitCode::FAILURE
}
