//! `descry bench search index` and `descry bench search accuracy`: what needs a model.

use super::outcome::{publish, show_progress};
use crate::bench::inputs::{encoder_config, images_in};
use crate::bench::json_output::JsonArguments;
use anyhow::Context as _;
use clap::ValueEnum;
use descry_bench::load_images;
use descry_encoder::EncoderConfig;
use descry_evaluation::{Dataset, DatasetLayout};
use descry_gallery_bench::{
    AccuracyCaption, AccuracyImage, AccuracyPlan, IndexingPlan, measure_accuracy, measure_indexing, scratch_folder,
};
use descry_proto::search::v1 as proto;
use descry_search::{SearchConfig, StoreKind};
use descry_standalone::{MAX_TEXT_BYTES, Stack, StandaloneError, require_tokenizer};
use descry_terminal::{progress, say};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// Measure indexing from image files against the encoder alone, in turns.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry bench search index --model bundles/cuhk --images crops --seconds 60")]
pub(super) struct IndexArguments {
    #[command(flatten)]
    served: ServedArguments,
    /// Images, at any depth; the first 512 [default: 64 generated JPEG files].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// New turns begin for so long.
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u64).range(..=86_400))]
    seconds: u64,
    /// Images of a turn.
    #[arg(long, default_value_t = 128, value_name = "N")]
    turn_images: usize,
    #[command(flatten)]
    json: JsonArguments,
}

/// Measure what serving leaves of a model's accuracy: rankings of the service against exact ones.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench search accuracy --model bundles/cuhk --dataset cuhk-pedes --root data
  descry bench search accuracy --model bundles/cuhk --dataset cuhk-pedes --root data --store qdrant \\
    --qdrant-url http://127.0.0.1:6334 --quantization int8")]
pub(super) struct AccuracyArguments {
    #[command(flatten)]
    served: ServedArguments,
    /// Layout of the data set: cuhk-pedes, icfg-pedes or rstpreid.
    #[arg(long, value_name = "NAME")]
    dataset: DatasetLayout,
    /// The data set's folder, or the folder that holds it.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Which part of the data set.
    #[arg(long, default_value = "test")]
    split: String,
    /// Where the gallery is kept.
    #[arg(long, value_enum, default_value = "embedded")]
    store: Store,
    /// Address of the Qdrant server [default: the service's own].
    #[arg(long, value_name = "URL")]
    qdrant_url: Option<String>,
    /// How the Qdrant server compresses vectors [default: not at all].
    #[arg(long, value_enum)]
    quantization: Option<Quantization>,
    #[command(flatten)]
    json: JsonArguments,
}

/// The services of this process.
#[derive(Debug, clap::Args)]
struct ServedArguments {
    /// Model bundle: a folder written by `descry export`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Settings of the encoder (YAML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Settings of the search service (YAML).
    #[arg(long, value_name = "FILE")]
    search_config: Option<PathBuf>,
    /// Device: auto, cpu, openvino, cuda or tensorrt.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Where temporary files are made [default: the system's folder for them].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Embedded,
    Qdrant,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Quantization {
    Int8,
    Binary,
}

impl ServedArguments {
    /// Settings of both services, with the galleries in `folder`.
    fn load(&self, folder: &Path) -> anyhow::Result<(EncoderConfig, SearchConfig)> {
        let encoder = encoder_config(&self.model, self.config.as_deref(), self.device.as_deref())?;
        let mut search = SearchConfig::load(self.search_config.as_deref())?;
        search.store.kind = StoreKind::Embedded;
        search.embedded.path = folder.join("galleries.sqlite3");
        Ok((encoder, search))
    }
}

async fn open(encoder: EncoderConfig, search: SearchConfig) -> anyhow::Result<Stack> {
    let spinner = progress::spinner("loading the model");
    let opened = Stack::open(encoder, search, "127.0.0.1:0").await;
    spinner.finish_and_clear();
    Ok(opened?)
}

/// Both services, serving in this process as `descry serve` does.
struct Served {
    channel: Channel,
    server: JoinHandle<Result<(), StandaloneError>>,
    shutdown: CancellationToken,
}

impl Served {
    async fn start(stack: Stack) -> anyhow::Result<Self> {
        let address = stack.address()?;
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(stack.serve(shutdown.clone().cancelled_owned()));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).context("the service's address")?;
        let channel = endpoint.connect().await.context("connecting to the service in this process")?;
        Ok(Self { channel, server, shutdown })
    }

    async fn stop(self) -> anyhow::Result<()> {
        let Self { channel, server, shutdown } = self;
        drop(channel);
        shutdown.cancel();
        Ok(server.await.context("serving")??)
    }
}

pub(super) async fn run_index(arguments: IndexArguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let files = load_images(&images_in(arguments.images.as_deref())?)?;
    let folder = scratch_folder(arguments.served.scratch.as_deref())?;
    let (encoder, search) = arguments.served.load(folder.path())?;
    let served = Served::start(open(encoder, search).await?).await?;
    let plan = IndexingPlan { turn_images: arguments.turn_images, duration: Duration::from_secs(arguments.seconds) };
    let bar = progress::bar(0, "");
    let shown = |stage: &str, done: u64, total: u64| show_progress(&bar, stage, done, total);
    let report = measure_indexing(served.channel.clone(), &files, &plan, &stop, &shown).await;
    bar.finish_and_clear();
    served.stop().await?;
    let Some(report) = report? else {
        say!("interrupted before the first turn was complete");
        return Ok(ExitCode::SUCCESS);
    };
    publish(&arguments.json, &report, &report.rows(), report.interrupted)
}

pub(super) async fn run_accuracy(arguments: AccuracyArguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let AccuracyArguments { served, dataset, root, split, store, qdrant_url, quantization, json } = arguments;
    anyhow::ensure!(
        store == Store::Qdrant || (quantization.is_none() && qdrant_url.is_none()),
        "--quantization and --qdrant-url need --store qdrant"
    );
    let dataset = Dataset::load_with_images(dataset, &root, &split)?;
    let image =
        |image: &descry_evaluation::DatasetImage| AccuracyImage { path: image.path.clone(), identity: image.identity };
    let caption = |caption: &descry_evaluation::DatasetCaption| AccuracyCaption {
        text: caption.text.clone(),
        identity: caption.identity,
    };
    let plan = AccuracyPlan {
        images: dataset.images().iter().map(image).collect(),
        captions: dataset.captions().iter().map(caption).collect(),
        limit: u32::try_from(dataset.images().len()).context("the split has too many images")?,
        quantization: quantization.map(|quantization| match quantization {
            Quantization::Int8 => proto::Quantization::Int8,
            Quantization::Binary => proto::Quantization::Binary,
        }),
    };
    let folder = scratch_folder(served.scratch.as_deref())?;
    let (mut encoder, mut search) = served.load(folder.path())?;
    // As `descry eval` takes them: what the published evaluation asks must be allowed.
    encoder.limits.allow_blank_texts = true;
    encoder.limits.max_text_bytes = MAX_TEXT_BYTES;
    search.limits.max_text_bytes = MAX_TEXT_BYTES;
    // mAP needs whole rankings.
    search.limits.max_hits = search.limits.max_hits.max(dataset.images().len());
    if store == Store::Qdrant {
        search.store.kind = StoreKind::Qdrant;
        if let Some(url) = qdrant_url {
            search.qdrant.url = url;
        }
    }
    let stack = open(encoder, search).await?;
    require_tokenizer(stack.encoder())?;
    let services = Served::start(stack).await?;
    let bar = progress::bar(0, "");
    let shown = |stage: &str, done: u64, total: u64| show_progress(&bar, stage, done, total);
    let report = measure_accuracy(services.channel.clone(), &plan, &stop, &shown).await;
    bar.finish_and_clear();
    services.stop().await?;
    let Some(report) = report? else {
        say!("interrupted before the first answer");
        return Ok(ExitCode::SUCCESS);
    };
    if !json.is_standard_output() {
        say!("{} captions against {} images, {}", report.served.queries, report.served.gallery, report.index);
        if report.truncated > 0 {
            say!("{} captions are longer than the model reads; their ends do not count", report.truncated);
        }
    }
    publish(&json, &report, &report.rows(), report.interrupted)
}
