//! `descry bench images`

use super::inputs::{encoder_config, images_in};
use super::json_output::JsonArguments;
use anyhow::Context as _;
use descry_bench::{
    BenchError, LoadedTowers, PreparationMeasurement, SideMeasurement, TextInputs, TowerKind, TowerPlan, TowerSubject,
    load_images, measure_preparation, measure_towers,
};
use descry_model::Bundle;
use descry_terminal::{progress, say};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Measure decoding and resizing of image files, on one thread.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench images --model bundles/cuhk
  descry bench images --model bundles/cuhk --images crops --with-tower --batch 8 --json preparation.json")]
pub(crate) struct Arguments {
    /// Model bundle whose image size counts.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Images, at any depth; the first 512 [default: 64 generated JPEG files].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// How often each image is prepared.
    #[arg(long, default_value_t = 15, value_name = "N")]
    rounds: usize,
    /// Measure the vision tower too, and which share of its time preparation takes.
    #[arg(long)]
    with_tower: bool,
    /// Images of a run of the tower.
    #[arg(long, default_value_t = 8, value_name = "N", requires = "with_tower")]
    batch: usize,
    /// Settings of the encoder (YAML).
    #[arg(long, value_name = "FILE", requires = "with_tower")]
    config: Option<PathBuf>,
    /// Device of the tower: auto, cpu, openvino, cuda or tensorrt.
    #[arg(long, value_name = "NAME", requires = "with_tower")]
    device: Option<String>,
    #[command(flatten)]
    json: JsonArguments,
}

#[derive(Debug, Serialize)]
struct Report {
    preparation: PreparationMeasurement,
    vision_tower: Option<SideMeasurement>,
    /// Preparation of an image by the tower's time for it.
    share_of_tower: Option<f64>,
}

pub(crate) async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let images = load_images(&images_in(arguments.images.as_deref())?)?;
    let bundle = Bundle::open(&arguments.model)?;
    let plan = TowerPlan {
        tower: TowerKind::Vision,
        batch_sizes: vec![arguments.batch],
        texts: TextInputs::Captions { captions: Vec::new(), group_by_length: false },
        images,
        rounds: arguments.rounds,
    };
    let subject = match arguments.with_tower {
        true => Some(TowerSubject {
            config: encoder_config(&arguments.model, arguments.config.as_deref(), arguments.device.as_deref())?,
            pad_to_context: false,
        }),
        false => None,
    };
    let bar = progress::bar(arguments.rounds, "rounds");
    let (position, rounds) = (bar.clone(), arguments.rounds);
    let measure = move || -> Result<Option<Report>, BenchError> {
        let moved = |round: usize| position.set_position(round as u64);
        let found = measure_preparation(&plan.images, &bundle.manifest().image, rounds, &stop, moved)?;
        let Some(preparation) = found else { return Ok(None) };
        let vision_tower = match subject {
            Some(subject) => {
                position.set_message("now the tower");
                let mut towers = LoadedTowers::open(&subject)?;
                let found = measure_towers(&mut towers, None, &plan, &stop, |_| {})?;
                found.first().map(|row| row.measured)
            }
            None => None,
        };
        let share_of_tower = vision_tower.map(|tower| preparation.share_of_tower(1000.0 / tower.items_per_s));
        Ok(Some(Report { preparation, vision_tower, share_of_tower }))
    };
    let report = tokio::task::spawn_blocking(measure).await.context("measuring the preparation of images")??;
    bar.finish_and_clear();
    let Some(report) = report else {
        say!("interrupted before the first round was complete");
        return Ok(ExitCode::SUCCESS);
    };
    if !arguments.json.is_standard_output() {
        print(&report);
    }
    arguments.json.write(&report)?;
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report) {
    let PreparationMeasurement { images, rounds, mean_bytes, median_ms, p95_ms, max_ms } = report.preparation;
    say!("{images} images of {:.1} kB on average, {rounds} rounds", mean_bytes / 1000.0);
    say!("decoding and resizing: median {median_ms:.3} ms an image, p95 {p95_ms:.3} ms, slowest {max_ms:.3} ms");
    if let (Some(tower), Some(share)) = (report.vision_tower, report.share_of_tower) {
        let tower_ms = 1000.0 / tower.items_per_s;
        say!("vision tower: {tower_ms:.3} ms an image; preparation takes {:.1} % of that", share * 100.0);
    }
}
