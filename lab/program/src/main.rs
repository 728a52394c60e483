//! `descry-lab`: training, data sets to train on, and measurements. People type `descry train`, and `descry` hands over.

mod bench;
mod synth;
mod train;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Trains models, draws data sets and measures: what Descry needs before production, and beside it.
///
/// `descry train`, `descry synth` and `descry bench` are these commands.
#[derive(Parser)]
#[command(name = "descry-lab", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Example:
  descry synth --identities 1500 --out data/drawn

Each command has its own help with examples: descry train --help")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What to log to standard error, such as `warn` or `descry_trainer=debug,info`.
    #[arg(long, global = true, default_value = "warn", value_name = "FILTER")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Arguments>),
    Synth(synth::Arguments),
    Bench(Box<bench::Arguments>),
}

fn main() -> ExitCode {
    limit_tensor_library();
    descry_terminal::program::end(run(Arguments::parse()))
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
    descry_terminal::program::start_hints(arguments.log).map_err(anyhow::Error::msg)?;
    match arguments.command {
        Command::Train(arguments) => train::run(*arguments).await,
        Command::Synth(arguments) => synth::run(arguments).await,
        Command::Bench(arguments) => bench::run(*arguments).await,
    }
}
