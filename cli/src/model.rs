//! The encoder inside this process, for commands that need no service.

use anyhow::Context as _;
use descry_encoder::{Encoder, EncoderConfig, Workers};
use std::path::{Path, PathBuf};

/// Research captions run to a page; beyond this a file is not a list of captions.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Which bundle, and how to run it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ModelArguments {
    /// Model bundle: a folder written by `descry export`.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Threads of each tower; 0 for as many as the CPU quota allows.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
}

/// Opens a bundle for offline work: blank texts count as texts, as in the published evaluation.
pub(crate) async fn open(arguments: &ModelArguments) -> anyhow::Result<(Encoder, Workers)> {
    let mut config = EncoderConfig::load(None)?;
    config.model.clone_from(&arguments.model);
    config.sessions.threads = arguments.threads;
    config.limits.allow_blank_texts = true;
    config.limits.max_text_bytes = MAX_TEXT_BYTES;
    let spinner = crate::progress::spinner(format!("loading {}", arguments.model.display()));
    let opened = tokio::task::spawn_blocking(move || Encoder::open(&config)).await.context("loading the model")?;
    spinner.finish_and_clear();
    Ok(opened?)
}

/// Says before the work that texts cannot be encoded.
pub(crate) fn check_tokenizer(encoder: &Encoder) -> anyhow::Result<()> {
    anyhow::ensure!(
        encoder.has_tokenizer(),
        "the bundle has no tokenizer, so texts cannot be encoded; export it again with --tokenizer"
    );
    Ok(())
}

/// Checks a bundle as the service would at its start.
pub(crate) async fn verify(folder: &Path) -> anyhow::Result<()> {
    let folder = folder.to_owned();
    let config = EncoderConfig::load(None)?;
    tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        let bundle = descry_model::Bundle::open(&folder)?;
        descry_encoder::open_towers(&bundle, &config)?;
        Ok(())
    })
    .await
    .context("verifying the bundle")?
}
