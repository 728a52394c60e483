//! The encoder inside this process, for commands that need no service.

use anyhow::Context as _;
use descry_encoder::{
    DeviceName, DevicePrecision, Difference, Encoder, EncoderConfig, Workers, has_exact_int8_products,
};
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
        let precision = bundle.manifest().precision;
        let [vision, text] = descry_encoder::measure_towers(&bundle, &config)?;
        let exact_products = has_exact_int8_products();
        let limit = limit(precision, exact_products);
        let parity = bounds(vision.parity.max(text.parity), limit)?;
        let row_independence = bounds(vision.row_independence.max(text.row_independence), limit)?;
        staged.state_bounds(parity, row_independence)?;
        if precision == Precision::Int8 && !exact_products {
            let line = "its bounds were measured on a processor that saturates sums of products; others are more exact";
            staged.summarise("int8 products", line.to_owned())?;
        }
        for test in [vision, text] {
            let line = format!("cosine distance up to {:.1e} on the stored inputs", test.parity.cosine_distance);
            staged.summarise(&format!("{} tower against unmerged fp32", test.tower), line)?;
        }
        Ok(staged)
    })
    .await
    .context("verifying the bundle")?
}

/// The largest cosine distance to float32 that a bundle may have. Less than 0.001 was seen of trained towers, wherever
/// products are exact, and less than 0.01 of random ones, whose routers are decided like trained ones.
const LIMIT: f32 = 0.02;
/// Processors without instructions for 8-bit products saturate their sums: 0.064 was seen of the demo's DM-Adapter model.
const SATURATING: f32 = 0.1;

fn limit(precision: Precision, exact_products: bool) -> f32 {
    match precision {
        Precision::Int8 if !exact_products => SATURATING,
        Precision::Fp32 | Precision::Fp16 | Precision::Int8 => LIMIT,
    }
}

/// Twice what was found, within the limit: another device rounds elsewhere, but a broken one is far beyond.
fn bounds(found: Difference, limit: f32) -> anyhow::Result<ParityBounds> {
    let Difference { relative, cosine_distance } = found;
    anyhow::ensure!(
        relative.is_finite() && cosine_distance <= limit,
        "the towers are too far from the unmerged weights: cosine distance {cosine_distance:.3} (at most {limit}), \
         relative difference {relative:.2}; calibrate on more images and captions, or export in fp32"
    );
    Ok(ParityBounds {
        max_relative_difference: (relative * 2.0).max(1e-3),
        max_cosine_distance: (cosine_distance * 2.0).clamp(1e-5, limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine_bound(found: f32, limit: f32) -> Option<f32> {
        bounds(Difference { relative: 0.1, cosine_distance: found }, limit)
            .ok()
            .map(|bounds| bounds.max_cosine_distance)
    }

    #[test]
    fn towers_stay_close_to_float32_where_products_are_exact() {
        for precision in [Precision::Fp16, Precision::Int8] {
            assert_eq!(limit(precision, true), 0.02);
        }
        assert_eq!(limit(Precision::Int8, false), 0.1);
        assert_eq!(limit(Precision::Fp16, false), 0.02);
    }

    #[test]
    fn a_bound_leaves_room_for_other_devices_within_the_limit() {
        assert_eq!(cosine_bound(0.0004, LIMIT), Some(0.0008));
        assert_eq!(cosine_bound(0.0, LIMIT), Some(1e-5));
        assert_eq!(cosine_bound(0.015, LIMIT), Some(LIMIT));
        assert_eq!(cosine_bound(0.021, LIMIT), None);
        assert_eq!(cosine_bound(0.06, SATURATING), Some(SATURATING));
        assert_eq!(cosine_bound(f32::NAN, SATURATING), None);
    }
}
