//! The encoder inside this process, for commands that need no service.

use anyhow::Context as _;
use descry_encoder::{DeviceName, DevicePrecision, Difference, Encoder, EncoderConfig, Workers};
use descry_export::StagedBundle;
use descry_model::{ParityBounds, Precision};
use std::path::PathBuf;

/// Which bundle, and how to run it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ModelArguments {
    /// Model bundle: a folder written by `descry export`.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Threads of each tower; 0 for as many as the CPU quota allows.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
    /// What to run on: auto, cpu, openvino, cuda or tensorrt.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub(crate) device: DeviceName,
}

/// Opens a bundle for offline work.
pub(crate) async fn open(arguments: &ModelArguments) -> anyhow::Result<(Encoder, Workers)> {
    let mut config = EncoderConfig::load(None)?;
    config.model.clone_from(&arguments.model);
    config.sessions.threads = arguments.threads;
    config.device.name = arguments.device;
    let spinner = crate::progress::spinner(format!("loading {}", arguments.model.display()));
    let opened = descry_standalone::open_encoder(config).await;
    spinner.finish_and_clear();
    Ok(opened?)
}

/// Checks a staged bundle as the service would at its start. A bundle below float32 gets its bounds from what is
/// measured here.
pub(crate) async fn verify(mut staged: StagedBundle) -> anyhow::Result<StagedBundle> {
    let mut config = EncoderConfig::load(None)?;
    // What the environment says of the service must not decide what a bundle promises.
    config.device.precision = DevicePrecision::Fp32;
    config.sessions.workers = 1;
    tokio::task::spawn_blocking(move || -> anyhow::Result<StagedBundle> {
        let bundle = descry_model::Bundle::open(staged.path())?;
        if bundle.manifest().precision == Precision::Fp32 {
            descry_encoder::open_towers(&bundle, &config)?;
            return Ok(staged);
        }
        let [vision, text] = descry_encoder::measure_towers(&bundle, &config)?;
        let parity = bounds(vision.parity.max(text.parity))?;
        let row_independence = bounds(vision.row_independence.max(text.row_independence))?;
        staged.state_bounds(parity, row_independence)?;
        for test in [vision, text] {
            let line = format!("cosine distance up to {:.1e} on the stored inputs", test.parity.cosine_distance);
            staged.summarise(&format!("{} tower against unmerged fp32", test.tower), line)?;
        }
        Ok(staged)
    })
    .await
    .context("verifying the bundle")?
}

/// Twice what was found: another device rounds elsewhere, but a broken one is far beyond.
fn bounds(found: Difference) -> anyhow::Result<ParityBounds> {
    let Difference { relative, cosine_distance } = found;
    anyhow::ensure!(
        relative.is_finite() && cosine_distance <= MAX_COSINE_DISTANCE,
        "the towers are far from the unmerged weights: cosine distance {cosine_distance:.2}, relative difference \
         {relative:.2}; calibrate on more images and captions, or export in fp32"
    );
    Ok(ParityBounds {
        max_relative_difference: (relative * 2.0).max(1e-3),
        max_cosine_distance: (cosine_distance * 2.0).max(1e-5),
    })
}

/// The stored inputs are noise, and the nearly tied routers of random weights flip: 0.12 was seen there, less than 0.001
/// with trained weights. Beyond this something is wrong.
const MAX_COSINE_DISTANCE: f32 = 0.2;
