//! `descry eval`

mod by_person;
mod open_set;

use crate::model;
use crate::output::say;
use crate::split_features::{SplitFeatures, encode_split};
use anyhow::Context as _;
use descry_evaluation::{Dataset, DatasetLayout, retrieval_metrics};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure a model on a data set: Rank-1, Rank-5, Rank-10, mAP and mINP of text-to-image retrieval.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry eval --model bundles/cuhk --dataset cuhk-pedes --root data/CUHK-PEDES
  descry eval --model bundles/rstp --dataset rstpreid --root data --split val --json
  descry eval --model bundles/rstp --dataset rstpreid --root data --by-person
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
    /// Rank people and tracks as well as images: each by its best image and by the mean of its images' embeddings.
    ///
    /// One person is right for a caption, so by person mAP and mINP both are the mean of one over that person's rank. A
    /// track is what one camera took of a person, where the images' names tell the camera (`0012_c3_0017.jpg`).
    #[arg(long, conflicts_with = "open_set")]
    by_person: bool,
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
    let dataset = Dataset::load_with_images(arguments.dataset, &arguments.root, &arguments.split)?;
    let (encoder, _workers) = model::open(&arguments.model).await?;
    let features = encode_split(&encoder, &dataset).await?;
    if arguments.by_person {
        by_person::report(&dataset, &features, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let SplitFeatures { images, captions, lost } = features;
    let metrics =
        retrieval_metrics(captions.view(), &dataset.caption_identities(), images.view(), &dataset.image_identities())?;
    if arguments.json {
        let mut report = serde_json::to_value(&metrics).context("writing JSON")?;
        if let Some(fields) = report.as_object_mut() {
            fields.insert("truncated".to_owned(), lost.truncated.into());
            fields.insert("with_unknown_letters".to_owned(), lost.with_unknown_letters.into());
        }
        say!("{report}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{} captions against {} images", metrics.queries, metrics.gallery);
    if metrics.unmatched_queries > 0 {
        say!("{} captions have no image of their person in the gallery; they are left out", metrics.unmatched_queries);
    }
    lost.tell("captions");
    say!("Rank-1 {:.2}  Rank-5 {:.2}  Rank-10 {:.2}", metrics.rank1, metrics.rank5, metrics.rank10);
    say!("mAP {:.2}  mINP {:.2}", metrics.map, metrics.minp);
    Ok(ExitCode::SUCCESS)
}
