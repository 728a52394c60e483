//! `descry bench search`

mod audit;
mod models;
mod outcome;
mod overload;
mod server;

use super::json_output::JsonArguments;
use clap::Subcommand;
use descry_gallery_bench::{GalleryShape, ServicePlan, StorePlan, run_service_benchmark, run_store_benchmark};
use descry_terminal::progress;
use outcome::{publish, show_progress};
use server::ServerArguments;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Images of an identity, where the number of identities is not given.
const IMAGES_OF_AN_IDENTITY: u64 = 10;

/// The same where groups are asked for: some have one, some hundreds.
const IMAGES_OF_A_GROUP: u64 = 4;

/// Measure galleries: the embedded store, the service around it, indexing, the accuracy of what is served, and overload.
///
/// Targets are for machines like the one in docs/SCALE.md; nothing fails beyond them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench search store --images 100000
  descry bench search service --images 20000
  descry bench search audit --images 20000
  descry bench search index --model bundles/cuhk --images crops
  descry bench search accuracy --model bundles/cuhk --dataset cuhk-pedes --root data
  descry bench search overload --server http://127.0.0.1:50051 --gallery demo")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Store(StoreArguments),
    Service(ServiceArguments),
    Audit(audit::AuditArguments),
    Index(models::IndexArguments),
    Accuracy(models::AccuracyArguments),
    Overload(overload::OverloadArguments),
}

/// Measure a store alone, filled with embeddings that look like a gallery's.
///
/// The embedded store is filled, closed, opened again and asked; a Qdrant server is filled, has its index built, and is
/// asked: by one caller, with a filter, exactly, by person, by several callers, and against a comparison of every image.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench search store --images 100000
  descry bench search store --images 1000000 --data /var/tmp/descry-million --json million.json
  descry bench search store --by-group --images 1000000 --data /var/tmp/descry-groups
  descry bench search store --store qdrant --qdrant-url http://localhost:6334 --search-ef 100,256,512,1024")]
struct StoreArguments {
    /// Images of the gallery.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    images: u64,
    #[command(flatten)]
    shape: ShapeArguments,
    /// Folder of the gallery, used again when it holds one of the same parameters [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Ask for people and tracks, by their best images and by the means of their images, and compare with scoring all of
    /// them. People have one image to hundreds of images.
    #[arg(long, conflicts_with = "qdrant_url")]
    by_group: bool,
    #[command(flatten)]
    server: ServerArguments,
    /// Searches of each kind.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    queries: u64,
    /// Searches that are compared with the truth; 0 for none.
    #[arg(long, default_value_t = 100, value_name = "N")]
    recall_queries: u64,
    #[command(flatten)]
    json: JsonArguments,
}

/// Measure what the search service costs beside the bare store: the same writes and queries, in turns.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry bench search service --images 20000")]
struct ServiceArguments {
    /// Images of each gallery.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    images: u64,
    #[command(flatten)]
    shape: ShapeArguments,
    /// Queries asked of both.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    queries: u64,
    /// Where temporary files are made [default: the system's folder for them].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArguments,
}

/// What the embeddings look like.
#[derive(Debug, Clone, clap::Args)]
struct ShapeArguments {
    /// Length of the embeddings.
    #[arg(long, default_value_t = 512, value_name = "N")]
    dimension: usize,
    /// People in the gallery [default: one for ten images, with --by-group one for four].
    #[arg(long, value_name = "N")]
    identities: Option<u64>,
    /// Groups of people who look alike; 0 for none.
    #[arg(long, default_value_t = 0, value_name = "N")]
    clusters: u64,
    /// Same seed, same embeddings.
    #[arg(long, default_value_t = 7, value_name = "N")]
    seed: u64,
}

impl ShapeArguments {
    fn shape(&self, images: u64, images_of_an_identity: u64) -> GalleryShape {
        let Self { dimension, identities, clusters, seed } = *self;
        let identities = identities.unwrap_or((images / images_of_an_identity).max(1));
        GalleryShape { dimension, identities, clusters, seed }
    }
}

impl StoreArguments {
    fn shape(&self) -> GalleryShape {
        let of_an_identity = if self.by_group { IMAGES_OF_A_GROUP } else { IMAGES_OF_AN_IDENTITY };
        self.shape.shape(self.images, of_an_identity)
    }
}

pub(crate) async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Store(arguments) => match arguments.server.store {
            server::StoreName::Embedded => run_store(arguments, stop).await,
            server::StoreName::Qdrant => server::run(arguments, stop).await,
        },
        Command::Service(arguments) => run_service(arguments, stop).await,
        Command::Audit(arguments) => audit::run(arguments, stop).await,
        Command::Index(arguments) => models::run_index(arguments, stop).await,
        Command::Accuracy(arguments) => models::run_accuracy(arguments, stop).await,
        Command::Overload(arguments) => overload::run(arguments, stop).await,
    }
}

async fn run_store(arguments: StoreArguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let shape = arguments.shape();
    let StoreArguments { images, shape: _, data, by_group, queries, recall_queries, json, server: _ } = arguments;
    let plan = StorePlan { images, shape, queries, by_group, recall_queries, data };
    let bar = progress::bar(0, "");
    let report = run_store_benchmark(&plan, &stop, &|stage, done, total| show_progress(&bar, stage, done, total)).await;
    bar.finish_and_clear();
    let report = report?;
    publish(&json, &report, &report.rows(), report.interrupted)
}

async fn run_service(arguments: ServiceArguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let ServiceArguments { images, shape, queries, scratch, json } = arguments;
    let shape = shape.shape(images, IMAGES_OF_AN_IDENTITY);
    let plan = ServicePlan { images, shape, queries, scratch };
    let bar = progress::bar(0, "");
    let report =
        run_service_benchmark(&plan, &stop, &|stage, done, total| show_progress(&bar, stage, done, total)).await;
    bar.finish_and_clear();
    let report = report?;
    publish(&json, &report, &report.rows(), report.interrupted)
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

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("search").chain(line.split_whitespace());
        Program::try_parse_from(words).map(|program| program.arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn identities_follow_the_images_unless_given() {
        let check = |line: &str, expected| {
            let Command::Store(arguments) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(arguments.shape().identities, expected, "{line}");
        };
        check("store", 10_000);
        check("store --images 5", 1);
        check("store --images 1000 --identities 7", 7);
        check("store --by-group --images 1000000", 250_000);
        check("store --by-group --identities 7", 7);
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |line: &str, words: &str| {
            let message = parse(line).unwrap_err();
            assert!(message.contains(words), "{line}: {message}");
        };
        check("index --images crops", "--model");
        check("accuracy --model b --dataset cuhk-pedes", "--root");
        check("store --images many", "--images");
        check("store --store qdrant", "--qdrant-url");
        check("store --store qdrant --qdrant-url http://a:6334 --by-group", "--by-group");
        check("store --qdrant-url http://a:6334 --store elsewhere", "--store");
    }
}
