//! `descry bench towers`

use super::inputs::{encoder_config, images_in};
use super::json_output::JsonArguments;
use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use descry_bench::{
    BenchError, LoadedTowers, TextInputs, TowerKind, TowerMeasurement, TowerPlan, TowerSubject, load_captions,
    load_images, measure_towers,
};
use descry_terminal::{progress, say, say_lines};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

const HEADER: [&str; 9] = [
    "tower",
    "batch",
    "tokens",
    "ms/batch",
    "items/s",
    "baseline ms/batch",
    "baseline items/s",
    "speed-up",
    "quartiles, range",
];

/// Measure the towers alone, without service, queues or preparation.
///
/// With a baseline, both run in turns within the same rounds, so that a machine that slows down slows down both. The
/// speed-up is the median of the rounds' ratios, beside it the quartiles and the range.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench towers --model bundles/cuhk --batch 1,8,16
  descry bench towers --model bundles/int8 --baseline bundles/fp32 --kind image
  descry bench towers --model bundles/a --baseline bundles/a --kind text --baseline-pad-to-context
  descry bench towers --model bundles/a --baseline bundles/a --device openvino --baseline-device cpu")]
pub(crate) struct Arguments {
    /// Model bundle: a folder written by `descry export`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Model bundle to compare with; may be the same one, run in another way.
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Settings of the encoder (YAML), for both.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Device: auto, cpu, openvino, cuda or tensorrt.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The baseline's device.
    #[arg(long, value_name = "NAME", requires = "baseline")]
    baseline_device: Option<String>,
    /// Only this tower [default: both].
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Items of a run; several are measured one after the other. Captions are also measured one at a time.
    #[arg(long, default_value = "8", value_name = "N,…", value_delimiter = ',')]
    batch: Vec<usize>,
    /// Texts that all have so many token ids, start and end marks included, instead of captions.
    #[arg(long, value_name = "N", conflicts_with_all = ["captions", "group_by_length"])]
    tokens: Option<usize>,
    /// Captions, one a line, which fill batches in this order [default: 40 bundled descriptions].
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// Captions of a round: the first so many.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_captions: u32,
    /// Fill batches with captions of about equal length.
    #[arg(long)]
    group_by_length: bool,
    /// Pad texts to the model's context length instead of to the batch's longest.
    #[arg(long)]
    pad_to_context: bool,
    /// The same for the baseline.
    #[arg(long, requires = "baseline")]
    baseline_pad_to_context: bool,
    /// Images, at any depth; the first 512 [default: 64 generated JPEG files].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// How often everything is measured.
    #[arg(long, default_value_t = 15, value_name = "N")]
    rounds: usize,
    #[command(flatten)]
    json: JsonArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Text,
    Image,
}

pub(crate) async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let plans = plans(&arguments)?;
    let config = |model, device: &Option<String>| encoder_config(model, arguments.config.as_deref(), device.as_deref());
    let subject =
        TowerSubject { config: config(&arguments.model, &arguments.device)?, pad_to_context: arguments.pad_to_context };
    let baseline = match &arguments.baseline {
        None => None,
        Some(model) => Some(TowerSubject {
            config: config(model, &arguments.baseline_device)?,
            pad_to_context: arguments.baseline_pad_to_context,
        }),
    };
    let spinner = progress::spinner("loading");
    let message = spinner.clone();
    let measure = move || -> Result<Vec<TowerMeasurement>, BenchError> {
        let mut towers = LoadedTowers::open(&subject)?;
        let mut baseline = baseline.as_ref().map(LoadedTowers::open).transpose()?;
        let mut found = Vec::new();
        for plan in &plans {
            let say_what = |what| message.set_message(what);
            found.extend(measure_towers(&mut towers, baseline.as_mut(), plan, &stop, say_what)?);
        }
        Ok(found)
    };
    let found = tokio::task::spawn_blocking(measure).await.context("measuring the towers")??;
    spinner.finish_and_clear();
    if !arguments.json.is_standard_output() {
        print_table(&found);
    }
    arguments.json.write(&found)?;
    Ok(ExitCode::SUCCESS)
}

/// One plan a tower: captions are measured one at a time too, images are not.
fn plans(arguments: &Arguments) -> anyhow::Result<Vec<TowerPlan>> {
    let mut captions = load_captions(arguments.captions.as_deref())?;
    captions.truncate(arguments.max_captions as usize);
    let texts = match arguments.tokens {
        Some(tokens) => TextInputs::Tokens(tokens),
        None => TextInputs::Captions { captions, group_by_length: arguments.group_by_length },
    };
    let mut text_batches = arguments.batch.clone();
    if arguments.tokens.is_none() && !text_batches.contains(&1) {
        text_batches.insert(0, 1);
    }
    let text = TowerPlan {
        tower: TowerKind::Text,
        batch_sizes: text_batches,
        texts,
        images: Vec::new(),
        rounds: arguments.rounds,
    };
    if matches!(arguments.kind, Some(Kind::Text)) {
        return Ok(vec![text]);
    }
    let images = load_images(&images_in(arguments.images.as_deref())?)?;
    let vision = TowerPlan { tower: TowerKind::Vision, batch_sizes: arguments.batch.clone(), images, ..text.clone() };
    Ok(match arguments.kind {
        Some(Kind::Image) => vec![vision],
        Some(Kind::Text) | None => vec![vision, text],
    })
}

fn print_table(found: &[TowerMeasurement]) {
    if found.is_empty() {
        say!("interrupted before the first round was complete");
        return;
    }
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(HEADER);
    for row in found {
        let number = |value: Option<f64>| value.map(|value| format!("{value:.1}")).unwrap_or_default();
        let tokens = match (row.measured.padded_tokens, row.baseline.and_then(|baseline| baseline.padded_tokens)) {
            (Some(tokens), Some(baseline)) if tokens != baseline => format!("{tokens:.1} / {baseline:.1}"),
            (tokens, _) => number(tokens),
        };
        let speedup = row.speedup;
        table.add_row([
            match row.tower {
                TowerKind::Vision => "vision".to_owned(),
                TowerKind::Text => "text".to_owned(),
            },
            row.batch_size.to_string(),
            tokens,
            number(Some(row.measured.batch_ms)),
            number(Some(row.measured.items_per_s)),
            number(row.baseline.map(|baseline| baseline.batch_ms)),
            number(row.baseline.map(|baseline| baseline.items_per_s)),
            speedup.map(|ratio| format!("{:.2}", ratio.median)).unwrap_or_default(),
            speedup
                .map(|ratio| {
                    let [low, high, min, max] = [ratio.lower_quartile, ratio.upper_quartile, ratio.min, ratio.max];
                    format!("{low:.2} to {high:.2}, {min:.2} to {max:.2}")
                })
                .unwrap_or_default(),
        ]);
    }
    for position in 1..HEADER.len() {
        if let Some(column) = table.column_mut(position) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say_lines!("{table}");
}
