//! `descry eval`

mod open_set;

use crate::output::say;
use crate::{model, progress};
use anyhow::Context as _;
use descry_encoder::{Encoder, encode_all_images, encode_all_texts};
use descry_evaluation::{Dataset, DatasetLayout, retrieval_metrics};
use ndarray::Array2;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measure a model on a data set: Rank-1, Rank-5, Rank-10, mAP and mINP of text-to-image retrieval.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry eval --model bundles/cuhk --dataset cuhk-pedes --root data/CUHK-PEDES
  descry eval --model bundles/rstp --dataset rstpreid --root data --split val --json
  descry eval --model bundles/cuhk --dataset cuhk-pedes --root data/CUHK-PEDES --open-set")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: model::ModelArguments,
    /// Layout of the data set: cuhk-pedes, icfg-pedes or rstpreid.
    #[arg(long, value_name = "NAME")]
    dataset: DatasetLayout,
    /// The data set's folder, or the folder that holds it.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Which part of the data set.
    #[arg(long, default_value = "test")]
    split: String,
    /// Measure instead how well scores tell that a person is not in the gallery: half of the identities are taken out of
    /// it, again and again.
    #[arg(long)]
    open_set: bool,
    /// Part of the data set whose captions show how near images come by chance.
    #[arg(long, default_value = "val", value_name = "SPLIT", requires = "open_set")]
    background: String,
    /// How often other identities are taken out.
    #[arg(long, default_value_t = 5, value_name = "N", requires = "open_set", value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.open_set {
        return open_set::run(arguments).await;
    }
    let dataset = load_split(arguments.dataset, &arguments.root, &arguments.split)?;
    let (encoder, _workers) = model::open(&arguments.model).await?;
    let SplitFeatures { images, captions, truncated } = encode_split(&encoder, &dataset).await?;
    let metrics =
        retrieval_metrics(captions.view(), &dataset.caption_identities(), images.view(), &dataset.image_identities())?;
    if arguments.json {
        let mut report = serde_json::to_value(&metrics).context("writing JSON")?;
        if let Some(fields) = report.as_object_mut() {
            fields.insert("truncated".to_owned(), truncated.into());
        }
        say!("{report}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{} captions against {} images", metrics.queries, metrics.gallery);
    if metrics.unmatched_queries > 0 {
        say!("{} captions have no image of their person in the gallery; they are left out", metrics.unmatched_queries);
    }
    if truncated > 0 {
        say!("{truncated} captions are longer than the model reads; their ends do not count");
    }
    say!("Rank-1 {:.2}  Rank-5 {:.2}  Rank-10 {:.2}", metrics.rank1, metrics.rank5, metrics.rank10);
    say!("mAP {:.2}  mINP {:.2}", metrics.map, metrics.minp);
    Ok(ExitCode::SUCCESS)
}

/// Reads a split whose image files are all there.
pub(crate) fn load_split(layout: DatasetLayout, root: &Path, split: &str) -> anyhow::Result<Dataset> {
    let dataset = Dataset::load(layout, root, split)?;
    let missing = dataset.missing_images();
    if let Some(first) = missing.first() {
        anyhow::bail!("{} images of the split are missing, the first: {}", missing.len(), first.path.display());
    }
    Ok(dataset)
}

/// The embeddings of a split's captions, in its order.
async fn encode_captions(encoder: &Encoder, dataset: &Dataset) -> anyhow::Result<Array2<f32>> {
    model::check_tokenizer(encoder)?;
    let texts: Vec<String> = dataset.captions().iter().map(|caption| caption.text.clone()).collect();
    let bar = progress::bar(texts.len(), "captions");
    let (captions, _) = encode_all_texts(encoder, &texts, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    Ok(captions)
}

/// The embeddings of a split, in its order.
pub(crate) struct SplitFeatures {
    /// `[images, dimension]`.
    pub(crate) images: Array2<f32>,
    /// `[captions, dimension]`.
    pub(crate) captions: Array2<f32>,
    /// Captions longer than the model reads.
    pub(crate) truncated: usize,
}

/// Encodes a split's images and captions, with progress bars.
pub(crate) async fn encode_split(encoder: &Encoder, dataset: &Dataset) -> anyhow::Result<SplitFeatures> {
    model::check_tokenizer(encoder)?;
    let paths: Vec<PathBuf> = dataset.images().iter().map(|image| image.path.clone()).collect();
    let texts: Vec<String> = dataset.captions().iter().map(|caption| caption.text.clone()).collect();
    let bar = progress::bar(paths.len(), "images");
    let images = encode_all_images(encoder, &paths, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    let bar = progress::bar(texts.len(), "captions");
    let (captions, truncated) = encode_all_texts(encoder, &texts, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    Ok(SplitFeatures { images, captions, truncated })
}
