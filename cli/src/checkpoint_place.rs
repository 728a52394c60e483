//! Checkpoints that are fetched first.

use anyhow::Context as _;
use descry_download::{Place, Settings, fetch};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// How a checkpoint is fetched that lies elsewhere.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FetchArguments {
    /// What a fetched checkpoint must hash to: SHA-256, in 64 hexadecimal digits.
    #[arg(long, value_name = "HASH", requires = "checkpoint", value_parser = parse_hash)]
    sha256: Option<String>,
    /// Takes hf:// and https:// checkpoints that were fetched before, and asks nobody.
    #[arg(long, requires = "checkpoint")]
    offline: bool,
}

fn parse_hash(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.chars().all(|character| character.is_ascii_hexdigit());
    if is_hash { Ok(text.to_owned()) } else { Err("expected 64 hexadecimal digits".to_owned()) }
}

impl FetchArguments {
    /// The path of what is here, or of what has been fetched. The hash is that of the checkpoint, not of its base.
    pub(crate) async fn fetched(&self, given: &Path, is_base: bool) -> anyhow::Result<PathBuf> {
        // Whatever is no text is no place elsewhere.
        let place = given.to_str().map_or_else(|| Ok(Place::Local(given.to_owned())), Place::parse)?;
        if matches!(place, Place::Local(_)) {
            anyhow::ensure!(
                is_base || self.sha256.is_none(),
                "--sha256 is for checkpoints that are fetched from hf:// or https://"
            );
            return Ok(given.to_owned());
        }
        let mut settings = Settings::from_environment()?;
        settings.offline |= self.offline;
        settings.sha256 = self.sha256.clone().filter(|_| !is_base);
        let path = tokio::task::spawn_blocking(move || with_progress(&place, &settings));
        Ok(path.await.context("fetching the checkpoint")??)
    }
}

fn with_progress(place: &Place, settings: &Settings) -> Result<PathBuf, descry_download::DownloadError> {
    let bar = ProgressBar::no_length();
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let path = fetch(place, settings, &mut |progress| {
        if bar.message() != progress.file {
            bar.reset();
            bar.set_message(progress.file.to_owned());
        }
        bar.set_length(progress.total_bytes.unwrap_or(progress.done_bytes));
        bar.set_position(progress.done_bytes);
    });
    bar.finish_and_clear();
    path
}
