//! `descry bench`

mod encoder;
mod encoder_table;
mod images;
mod products;
mod search;
mod soak;
mod towers;
mod training;

use crate::output::say;
use anyhow::Context as _;
use clap::Subcommand;
use descry_encoder::EncoderConfig;
use descry_intake::image_files;
use serde::Serialize;
use std::path::{Path, PathBuf};
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

/// The service's own settings, for this bundle and device.
fn encoder_config(model: &Path, config: Option<&Path>, device: Option<&str>) -> anyhow::Result<EncoderConfig> {
    let mut encoder_config = EncoderConfig::load(config)?;
    encoder_config.model = model.to_owned();
    if let Some(device) = device {
        encoder_config.device.name = device.parse().map_err(anyhow::Error::msg)?;
    }
    Ok(encoder_config)
}

/// The image files of a folder, at any depth; none without a folder.
fn images_in(folder: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let found = image_files::find(folder);
    if let Some(error) = found.unreadable.into_iter().next() {
        return Err(error).with_context(|| format!("cannot read all of {}", folder.display()));
    }
    anyhow::ensure!(!found.images.is_empty(), "{} holds no images (jpg, png, webp or bmp)", folder.display());
    Ok(found.images)
}

/// Where a report goes as JSON.
#[derive(Debug, Clone, clap::Args)]
struct JsonArguments {
    /// Write everything that was measured as JSON; `-` prints it instead of the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

impl JsonArguments {
    /// Whether standard output is the JSON's.
    fn is_standard_output(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    fn write(&self, report: &impl Serialize) -> anyhow::Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(report).context("writing JSON")?;
        if self.is_standard_output() {
            say!("{text}");
            return Ok(());
        }
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_had_is_refused_before_the_model_loads() {
        let model = Path::new("bundle");
        assert_eq!(encoder_config(model, None, None).unwrap().model, model);
        encoder_config(model, None, Some("cpu")).unwrap();
        let error = encoder_config(model, None, Some("abacus")).unwrap_err();
        assert!(error.to_string().contains("abacus"), "{error}");
    }

    #[test]
    fn a_folder_without_images_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = images_in(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("holds no images"), "{error}");
        assert!(images_in(None).unwrap().is_empty());
    }
}
