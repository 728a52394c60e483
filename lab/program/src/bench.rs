//! `descry bench`

mod encoder;
mod encoder_table;
mod images;
mod inputs;
mod json_output;
mod products;
mod search;
mod soak;
mod towers;
mod training;

use anyhow::Context as _;
use clap::Subcommand;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Measure the encoder and its parts, stores, searches and training: how fast, how much memory, how right.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench encoder --model bundles/cuhk --callers 1,8,64
  descry bench towers --model bundles/cuhk --batch 1,8
  descry bench images --model bundles/cuhk --images crops
  descry bench products --model bundles/cuhk
  descry bench search store --images 100000
  descry bench soak --model bundles/cuhk
  descry bench train --random vit-b-16 --method dm-adapter")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Encoder(encoder::Arguments),
    Towers(towers::Arguments),
    Images(images::Arguments),
    Products(products::Arguments),
    Search(search::Arguments),
    Soak(soak::Arguments),
    Train(training::Arguments),
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let stop = stop_at_signal()?;
    match arguments.command {
        Command::Encoder(arguments) => encoder::run(arguments, stop).await,
        Command::Towers(arguments) => towers::run(arguments, stop).await,
        Command::Images(arguments) => images::run(arguments, stop).await,
        Command::Products(arguments) => products::run(arguments, stop).await,
        Command::Search(arguments) => search::run(arguments, stop).await,
        Command::Soak(arguments) => soak::run(arguments, stop).await,
        Command::Train(arguments) => training::run(arguments, stop).await,
    }
}

/// Cancelled by the first Ctrl-C, so that what was measured is still printed; the second ends the program.
fn stop_at_signal() -> anyhow::Result<CancellationToken> {
    let signal = descry_serving::shutdown_signal().context("cannot listen for signals")?;
    let stop = CancellationToken::new();
    let cancelled_by_signal = stop.clone();
    tokio::spawn(async move {
        signal.await;
        cancelled_by_signal.cancel();
    });
    Ok(stop)
}
