//! `descry bench train`

use super::json_output::JsonArguments;
use anyhow::Context as _;
use clap::ValueEnum;
use descry_bench::{median, quantile};
use descry_export::Preset;
use descry_terminal::{progress, say};
use descry_trainer::{DeviceKind, MeasuredModel, Method, StepBenchmark, StepTimes, TrainingPrecision, measure_steps};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Measure training steps: features, loss, gradients and Adam, without reading and evaluation.
///
/// Images are noise and captions random tokens, all of the same length; two pairs each are of one identity. One step
/// before the first measured one does not count.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench train --random vit-b-16 --method dm-adapter --batch 32 --threads 8
  descry bench train --random vit-b-16 --method dm-adapter --device cuda --precision bfloat16
  descry bench train --random vit-b-16 --method up-person --batch 64 --micro-batch-size 16
  descry bench train --checkpoint runs/cuhk/best.safetensors --balancing-loss
  descry bench train --checkpoint demo/up_person.safetensors --steps 50 --json -")]
pub(crate) struct Arguments {
    /// Checkpoint of DM-Adapter, UP-Person or plain CLIP, which tells the method.
    #[arg(long, value_name = "PATH", required_unless_present = "random")]
    checkpoint: Option<PathBuf>,
    /// The run's settings [default: CHECKPOINT.yaml or configs.yaml beside the checkpoint].
    #[arg(long, value_name = "FILE", requires = "checkpoint", conflicts_with = "random")]
    config: Option<PathBuf>,
    /// Random weights in a published size instead of a checkpoint: vit-b-16, vit-b-32 or vit-l-14.
    #[arg(long, value_name = "SIZE", conflicts_with = "checkpoint", requires = "method")]
    random: Option<Preset>,
    /// What the random weights are trained with: clip, dm-adapter or up-person.
    #[arg(long, value_name = "METHOD", requires = "random", conflicts_with = "checkpoint")]
    method: Option<Method>,
    /// Pairs of image and caption in a step.
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch: usize,
    /// Token ids of a caption, start and end marks included.
    #[arg(long, default_value_t = 40, value_name = "N")]
    tokens: usize,
    /// Steps that are measured.
    #[arg(long, default_value_t = 10, value_name = "N")]
    steps: usize,
    /// Threads that compute [default: all cores].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What computes: cpu, or cuda with a build that has the feature.
    #[arg(long, value_enum, default_value = "cpu", value_name = "NAME")]
    device: DeviceName,
    /// Which GPU.
    #[arg(long, default_value_t = 0, value_name = "N")]
    device_index: usize,
    /// Number format of the products on a GPU: float32 or bfloat16.
    #[arg(long, value_enum, default_value = "float32", value_name = "FORMAT")]
    precision: PrecisionName,
    /// Pairs in memory at once; the loss is still the whole batch's.
    #[arg(long, value_name = "N")]
    micro_batch_size: Option<usize>,
    /// With DM-Adapter's load-balancing loss.
    #[arg(long)]
    balancing_loss: bool,
    /// Same seed, same weights, images and captions.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    json: JsonArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceName {
    Cpu,
    Cuda,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionName {
    Float32,
    Bfloat16,
}

pub(crate) async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let json = arguments.json.clone();
    let benchmark = benchmark(arguments)?;
    let spinner = progress::spinner("measuring");
    let measured = tokio::task::spawn_blocking(move || measure_steps(&benchmark, &|| stop.is_cancelled())).await;
    spinner.finish_and_clear();
    let times = measured.context("measuring steps")??;
    if !json.is_standard_output() {
        print(&times);
    }
    json.write(&times)?;
    Ok(ExitCode::SUCCESS)
}

fn benchmark(arguments: Arguments) -> anyhow::Result<StepBenchmark> {
    let model = match (arguments.checkpoint, arguments.random) {
        (Some(path), _) => MeasuredModel::Checkpoint { path, config: arguments.config },
        (None, Some(preset)) => {
            MeasuredModel::Random { preset, method: arguments.method.context("--random needs --method")? }
        }
        (None, None) => anyhow::bail!("give --checkpoint or --random"),
    };
    Ok(StepBenchmark {
        model,
        pairs: arguments.batch,
        tokens: arguments.tokens,
        steps: arguments.steps,
        threads: arguments.threads.unwrap_or(0),
        device: match arguments.device {
            DeviceName::Cpu => DeviceKind::Cpu,
            DeviceName::Cuda => DeviceKind::Cuda,
        },
        device_index: arguments.device_index,
        precision: match arguments.precision {
            PrecisionName::Float32 => TrainingPrecision::Float32,
            PrecisionName::Bfloat16 => TrainingPrecision::Bfloat16,
        },
        micro_batch_size: arguments.micro_batch_size,
        balancing_loss: arguments.balancing_loss,
        seed: arguments.seed,
    })
}

fn print(times: &StepTimes) {
    let (Some(least), Some(median)) = (quantile(&times.step_ms, 0.0), median(&times.step_ms)) else {
        say!("interrupted before the first step was measured");
        return;
    };
    say!("{} steps: min {least:.1} ms, median {median:.1} ms", times.step_ms.len());
    let share = times.trained_parameters as f64 / times.total_parameters.max(1) as f64;
    say!("trained parameters: {} of {} ({:.2} %)", times.trained_parameters, times.total_parameters, share * 100.0);
    if let Some(loss) = times.last_loss {
        say!("loss of the last step: {loss:.4}");
    }
    if let Some(bytes) = times.peak_resident_bytes {
        say!("peak resident memory: {} MiB", bytes >> 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Program::try_parse_from(["train"].into_iter().chain(line.split(' '))).map(|program| program.arguments)
    }

    #[test]
    fn weights_come_from_one_place() {
        let random = benchmark(parse("--random vit-b-32 --method up-person --micro-batch-size 8").unwrap()).unwrap();
        assert!(matches!(random.model, MeasuredModel::Random { preset: Preset::VitB32, method: Method::UpPerson }));
        assert_eq!((random.pairs, random.tokens, random.steps, random.threads), (32, 40, 10, 0));
        assert_eq!((random.micro_batch_size, random.balancing_loss), (Some(8), false));
        let read =
            benchmark(parse("--checkpoint a.pth --config a.yaml --threads 3 --balancing-loss").unwrap()).unwrap();
        assert!(matches!(read.model, MeasuredModel::Checkpoint { config: Some(_), .. }));
        assert_eq!((read.threads, read.balancing_loss), (3, true));
        for line in [
            "--batch 8",
            "--random vit-b-32",
            "--random vit-b-64 --method clip",
            "--checkpoint a.pth --method clip",
            "--checkpoint a.pth --random vit-b-32 --method clip",
            "--random vit-b-32 --method clip --config a.yaml",
            "--random vit-b-32 --method clip --device tpu",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
