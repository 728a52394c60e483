//! `descry index`

mod dry_run;

use crate::frame_arguments::FrameArguments;
use crate::interrupt;
use crate::job_arguments::{JobArguments, parse_rate};
use crate::job_display::print_report;
use crate::output::{note, say};
use crate::server::Target;
use crate::time_arguments::TimeArguments;
use descry_client::{Connection, EmbeddingJob, IndexJob};
use descry_intake::EmbeddingOptions;
use descry_model::Fingerprint;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Index person images, or embeddings of them, into a gallery.
///
/// Inputs are folders (an image's id is its path below the folder), image files (the name), lists of files in .txt or
/// .lst (the path as written there), and tar archives or WebDataset shards (the member's path). Running it again is
/// harmless: unchanged images are not encoded again and what is known of them is kept, so an interrupted run continues
/// where it was. A service that restarts meanwhile is waited for. What cannot be read or is left out is counted and named
/// at the end; docs/INPUTS.md tells what is read of each kind of input.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry index crops/
  descry index crops/ --gallery lobby --metadata crops.csv --attribute weather
  descry index shards/*.tar --gallery lobby --journal lobby.journal --failures failed.csv --rate 50
  descry index crops/ --gallery lobby --metadata crops.csv --dry-run
  descry index --embeddings crops.npz --gallery lobby
  descry index frames/ --boxes det.txt --gallery lobby --camera c1 --min-box-height 64 --box-padding 0.05
  descry index photos/ --time-from exif --clock-zone +02:00

The metadata file (CSV or TSV with a header, JSON Lines, a JSON array, or Parquet) has the field image_id and optionally
person_id, camera_id, track_id, frame_id, box and captured_at (2026-05-01T12:30:00Z); other fields become attributes. Where there is no image_id,
filename or file_name is taken for it. What the file does not say of an image that is in the gallery already is kept;
--clear-metadata forgets it. With a journal, files that did not change are passed over: new metadata of theirs, and
forgetting what is known, is for `descry gallery update`.")]
pub(crate) struct Arguments {
    /// Folders, image files (JPEG, PNG, WebP, BMP), lists of files, or tar archives (plain or in gzip).
    #[arg(value_name = "INPUT", required_unless_present = "embeddings", conflicts_with = "embeddings")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// What is known of the images (CSV, TSV, JSON or Parquet).
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// Index also where no record of the metadata fits any image; without it, nothing is sent then.
    #[arg(long)]
    allow_unmatched: bool,
    /// Forget what is known of images that are in the gallery already, except what this run gives.
    #[arg(long)]
    clear_metadata: bool,
    /// Index also what was erased from the gallery on request (`descry erase`), and keep it away no more.
    #[arg(long)]
    force_erased: bool,
    /// Put this before every image id, such as c1/, so that sources with equal names do not replace each other's images.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Where relative paths in file lists start [default: the list's folder].
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Note what was acknowledged in this file, so that a killed job neither reads nor sends it again. Images that were
    /// removed from the gallery since come back only without it.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    #[command(flatten)]
    job: JobArguments,
    /// Send at most so many images a second, so that searches stay fast [default: as many as the service takes].
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f32>,
    /// Fill this generation of the gallery alone, for a change of the model.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, conflicts_with = "embeddings")]
    generation: u32,
    /// Attribute that filters may name, decided when the gallery is created; may be given several times.
    #[arg(long = "attribute", value_name = "NAME")]
    attributes: Vec<String>,
    /// Only read the inputs and tell what would be sent; needs no service.
    #[arg(long)]
    dry_run: bool,
    /// Index embeddings that were computed before, from .npz (`descry embed` writes it) or .parquet.
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
    /// Image ids of the embeddings, one a line in the order of the rows, where the .npz has no array image_ids.
    #[arg(long, alias = "image-ids", value_name = "FILE", requires = "embeddings")]
    ids: Option<PathBuf>,
    /// The model that made the embeddings, where the file does not say it.
    #[arg(long, value_name = "HEX", requires = "embeddings")]
    fingerprint: Option<Fingerprint>,
    // These two come last: their headings count for all options behind them.
    #[command(flatten)]
    frames: FrameArguments,
    #[command(flatten)]
    times: TimeArguments,
}

impl Arguments {
    fn embedding_job(&self, path: PathBuf, stop: CancellationToken) -> EmbeddingJob {
        EmbeddingJob {
            gallery: self.target.gallery.clone(),
            path,
            reading: EmbeddingOptions {
                fingerprint: self.fingerprint.clone(),
                image_ids: self.ids.clone(),
                metadata: self.metadata.clone(),
                prefix: self.prefix.clone(),
                allow_unmatched: self.allow_unmatched,
            },
            journal: self.journal.clone(),
            attributes: self.attributes.clone(),
            clear_metadata: self.clear_metadata,
            allow_erased: self.force_erased,
            options: self.job.options(stop),
        }
    }

    fn index_job(&self, stop: CancellationToken) -> anyhow::Result<IndexJob> {
        Ok(IndexJob {
            gallery: self.target.gallery.clone(),
            inputs: self.inputs.clone(),
            boxes: self.frames.options(),
            root: self.root.clone(),
            metadata: self.metadata.clone(),
            times: self.times.sources()?,
            prefix: self.prefix.clone(),
            allow_unmatched: self.allow_unmatched,
            clear_metadata: self.clear_metadata,
            allow_erased: self.force_erased,
            journal: self.journal.clone(),
            generation: self.generation,
            max_images_per_second: self.rate,
            attributes: self.attributes.clone(),
            options: self.job.options(stop),
        })
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let is_json = arguments.job.json;
    let embeddings = arguments.embeddings.clone();
    if arguments.dry_run {
        let nobody = CancellationToken::new();
        return match embeddings {
            Some(path) => {
                let job = arguments.embedding_job(path, nobody);
                dry_run::run(move || job.survey(), is_json).await
            }
            None => {
                let job = arguments.index_job(nobody)?;
                dry_run::run(move || job.survey(), is_json).await
            }
        };
    }
    let interrupt = interrupt::at_signal()?;
    let connection = arguments.target.connect().await?;
    let gallery = arguments.target.gallery.clone();
    // On standard error, where it disturbs no program.
    if let Some(past) = past_retention(&connection, &gallery).await {
        note!(
            "{past} images of gallery {gallery} are already past its retention; the service's next sweep removes them"
        );
    }
    let mut display = arguments.job.display();
    let report = match embeddings {
        Some(path) => connection.index_embeddings(arguments.embedding_job(path, interrupt), &mut display).await?,
        None => connection.index_observed(arguments.index_job(interrupt)?, &mut display).await?,
    };
    let code = print_report(&report, is_json);
    // Those that were sent are told of already.
    if !is_json
        && let Some(past) = past_retention(&connection, &gallery).await.filter(|past| *past > report.past_retention)
    {
        say!("{past} images of gallery {gallery} are past its retention in all, and go with the next sweep");
    }
    Ok(code)
}

/// How many images of the gallery the next sweep removes; nothing where there is none, or no gallery yet.
async fn past_retention(connection: &Connection, gallery: &str) -> Option<u64> {
    // What is only a hint keeps nobody from indexing.
    connection.gallery(gallery).await.ok().map(|gallery| gallery.past_retention).filter(|past| *past > 0)
}
