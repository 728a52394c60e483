//! `descry bench soak`

use super::inputs::encoder_config;
use super::json_output::JsonArguments;
use anyhow::Context as _;
use descry_bench::{BenchError, LoadedTowers, SoakPlan, SoakSample, TowerSubject, growth, soak};
use descry_terminal::say;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Run both towers on batches of random sizes and lengths, and watch the memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench soak --model bundles/cuhk
  descry bench soak --model bundles/cuhk --minutes 60 --interval-seconds 60 --json soak.json")]
pub(crate) struct Arguments {
    /// Model bundle: a folder written by `descry export`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Settings of the encoder (YAML); its batch sizes are the largest ones.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Device: auto, cpu, openvino, cuda or tensorrt.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// How long.
    #[arg(long, default_value_t = 10.0, value_name = "M")]
    minutes: f64,
    /// How often the memory is read.
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    interval_seconds: u64,
    /// Same seed, same shapes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    json: JsonArguments,
}

pub(crate) async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let config = encoder_config(&arguments.model, arguments.config.as_deref(), arguments.device.as_deref())?;
    let duration = Duration::try_from_secs_f64(arguments.minutes * 60.0).context("--minutes must be positive")?;
    let plan = SoakPlan {
        duration,
        interval: Duration::from_secs(arguments.interval_seconds),
        max_batch_images: config.batching.max_batch_images,
        max_batch_texts: config.batching.max_batch_texts,
        seed: arguments.seed,
    };
    let quiet = arguments.json.is_standard_output();
    let work = move || -> Result<Vec<SoakSample>, BenchError> {
        let mut towers = LoadedTowers::open(&TowerSubject { config, pad_to_context: false })?;
        soak(&mut towers, &plan, &stop, |sample| {
            if !quiet {
                let SoakSample { elapsed_s, resident_bytes, batches } = sample;
                say!("{elapsed_s:>6.0} s  {batches:>6} batches  {:>6} MiB resident", resident_bytes >> 20);
            }
        })
    };
    let samples = tokio::task::spawn_blocking(work).await.context("running the towers")??;
    if let Some(growth) = growth(&samples).filter(|_| !quiet) {
        say!("growth since it settled: {:+.1} %", growth * 100.0);
    }
    arguments.json.write(&samples)?;
    Ok(ExitCode::SUCCESS)
}
