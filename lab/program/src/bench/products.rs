//! `descry bench products`

use super::inputs::{encoder_config, images_in};
use super::json_output::JsonArguments;
use anyhow::Context as _;
use descry_bench::{LoadedTowers, ProductRate, ProductShape, TowerSubject, load_images, measure_product_rate};
use descry_encoder::MatrixProduct;
use descry_terminal::{progress, say};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Measure how much of the machine's float32 matrix product rate the vision tower reaches.
///
/// The machine's rate is that of bare products in the same runtime, measured in turns with the tower. Below float32 a
/// tower may pass it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench products --model bundles/cuhk
  descry bench products --model bundles/int8 --batch 16 --rounds 30")]
pub(crate) struct Arguments {
    /// Model bundle: a folder written by `descry export`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Settings of the encoder (YAML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Device: auto, cpu, openvino, cuda or tensorrt. The bare products run on the CPU.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Images of a run.
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch: usize,
    /// Rows, inner size and columns of the bare product [default: the MLP of a ViT-B/16 at 384x128, batch 8].
    #[arg(long, num_args = 3, value_names = ["ROWS", "INNER", "COLUMNS"], default_values_t = [1544, 768, 3072])]
    shape: Vec<usize>,
    /// Images, at any depth [default: generated JPEG files].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// How often everything is measured.
    #[arg(long, default_value_t = 15, value_name = "N")]
    rounds: usize,
    #[command(flatten)]
    json: JsonArguments,
}

/// A side longer than this has no counterpart in a tower.
const MAX_SIDE: usize = 1 << 16;

pub(crate) async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let [rows, inner, columns] = arguments.shape[..] else { anyhow::bail!("--shape takes three numbers") };
    anyhow::ensure!(
        [rows, inner, columns].iter().all(|side| (1..=MAX_SIDE).contains(side)),
        "--shape: each number must be 1 to {MAX_SIDE}"
    );
    anyhow::ensure!((1..=4096).contains(&arguments.batch), "--batch must be 1 to 4096");
    let shape = ProductShape { rows, inner, columns };
    let config = encoder_config(&arguments.model, arguments.config.as_deref(), arguments.device.as_deref())?;
    let images = load_images(&images_in(arguments.images.as_deref())?)?;
    let (batch, rounds) = (arguments.batch, arguments.rounds);
    let spinner = progress::spinner("measuring");
    let measure = move || -> anyhow::Result<Option<ProductRate>> {
        let graph = descry_export::matrix_product_graph(rows, inner, columns).context("writing the product")?;
        let mut product = MatrixProduct::open(&graph, (rows, inner), &config)?;
        let mut towers = LoadedTowers::open(&TowerSubject { config, pad_to_context: false })?;
        Ok(measure_product_rate(&mut towers, &mut product, shape, (&images, batch), rounds, &stop)?)
    };
    let found = tokio::task::spawn_blocking(measure).await.context("measuring products")??;
    spinner.finish_and_clear();
    let Some(found) = found else {
        say!("interrupted before the first round was complete");
        return Ok(ExitCode::SUCCESS);
    };
    if !arguments.json.is_standard_output() {
        say!("vision tower, batch {batch}: {:.0} GFLOP/s", found.tower_gflop_per_s);
        say!("bare products, {rows} x {inner} x {columns}: {:.0} GFLOP/s", found.machine_gflop_per_s);
        let share = found.share;
        say!("share: {:.2} (quartiles {:.2} to {:.2})", share.median, share.lower_quartile, share.upper_quartile);
    }
    arguments.json.write(&found)?;
    Ok(ExitCode::SUCCESS)
}
