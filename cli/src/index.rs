//! `descry index`

mod dry_run;
pub(crate) mod embedding_file;

use crate::connection::{Client, Target};
use crate::gallery;
use crate::interrupt;
use crate::job::image_stream::send_images;
use crate::job::reader::{Item, MAX_IMAGE_BYTES, Reader};
use crate::job::{Job, JobArguments, Report, SharedJournal, identity};
use crate::metadata::{PATH_ATTRIBUTE, image_metadata};
use crate::progress;
use anyhow::Context as _;
use descry_intake::{ImageEntry, ImageSource, JobIdentity, SkippedEntry, SourceOptions};
use descry_model::Fingerprint;
use descry_proto::search::v1::index_images_request::Start;
use descry_proto::search::v1::{CreateGalleryRequest, GallerySettings};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Index person images, or embeddings of them, into a gallery.
///
/// Inputs are folders (an image's id is its path below the folder), image files (the name), lists of files in .txt or
/// .lst (the path as written there), and tar archives or WebDataset shards (the member's path). Running it again is
/// harmless: unchanged images are not encoded again, so an interrupted run continues where it was. A service that
/// restarts meanwhile is waited for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry index crops/
  descry index crops/ --gallery lobby --metadata crops.csv --attribute weather
  descry index shards/*.tar --gallery lobby --journal lobby.journal --failures failed.csv --rate 50
  descry index crops/ --gallery lobby --metadata crops.csv --dry-run
  descry index --embeddings crops.npz --gallery lobby

The metadata file (CSV with a header, JSON Lines, or Parquet) has the field image_id and optionally person_id, camera_id
and captured_at (2026-05-01T12:30:00Z); other fields become attributes. With a journal, files that did not change are
passed over: new metadata of theirs is for `descry gallery update`.")]
pub(crate) struct Arguments {
    /// Folders, image files (JPEG, PNG, WebP, BMP), lists of files, or tar archives.
    #[arg(value_name = "INPUT", required_unless_present = "embeddings", conflicts_with = "embeddings")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) target: Target,
    /// What is known of the images (CSV, JSON Lines or Parquet).
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<PathBuf>,
    /// Where relative paths in file lists start [default: the list's folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Note what was acknowledged in this file, so that a killed job neither reads nor sends it again. Images that were
    /// removed from the gallery since come back only without it.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) job: JobArguments,
    /// Send at most so many images a second, so that searches stay fast [default: as many as the service takes].
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(crate) rate: Option<f32>,
    /// Fill this generation of the gallery alone, for a change of the model.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, conflicts_with = "embeddings")]
    pub(crate) generation: u32,
    /// Attribute that filters may name, decided when the gallery is created; may be given several times.
    #[arg(long = "attribute", value_name = "NAME")]
    pub(crate) attributes: Vec<String>,
    /// Only read the inputs and tell what would be sent; needs no service.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Index embeddings that were computed before, from .npz (`descry embed` writes it) or .parquet.
    #[arg(long, value_name = "FILE")]
    pub(crate) embeddings: Option<PathBuf>,
    /// Image ids of the embeddings, one a line in the order of the rows, where the .npz has no array image_ids.
    #[arg(long, alias = "image-ids", value_name = "FILE", requires = "embeddings")]
    pub(crate) ids: Option<PathBuf>,
    /// The model that made the embeddings, where the file does not say it.
    #[arg(long, value_name = "HEX", requires = "embeddings")]
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Arguments {
    /// One input with metadata, everything else as a user gets it who says no more.
    pub(crate) fn of_input(input: PathBuf, target: Target, metadata: PathBuf) -> Self {
        Self {
            inputs: vec![input],
            target,
            metadata: Some(metadata),
            root: None,
            journal: None,
            job: JobArguments::default(),
            rate: None,
            generation: 0,
            attributes: Vec::new(),
            dry_run: false,
            embeddings: None,
            ids: None,
            fingerprint: None,
        }
    }

    /// What is created where the gallery is missing.
    fn new_gallery(&self) -> CreateGalleryRequest {
        let settings = GallerySettings { indexed_attributes: self.attributes.clone(), ..GallerySettings::default() };
        let name = self.target.gallery.clone();
        CreateGalleryRequest { name, settings: Some(settings), ..CreateGalleryRequest::default() }
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.dry_run {
        return dry_run::run(arguments).await;
    }
    let interrupt = interrupt::at_signal()?;
    let report = match &arguments.embeddings {
        Some(path) => embedding_file::index(&arguments, path, &interrupt).await?,
        None => index_images(&arguments, &interrupt).await?,
    };
    report.print(arguments.job.json);
    Ok(report.exit_code())
}

/// Sends every image of the inputs and collects the acknowledgements.
pub(crate) async fn index_images(arguments: &Arguments, interrupt: &CancellationToken) -> anyhow::Result<Report> {
    let options = SourceOptions {
        root: arguments.root.clone(),
        metadata: arguments.metadata.clone(),
        max_image_bytes: MAX_IMAGE_BYTES,
    };
    let mut source = open_source(arguments.inputs.clone(), options).await?;
    let total = source.total();
    let mut client = arguments.target.connect().await?;
    let identity = target_identity(&mut client, arguments).await?;
    let journal = SharedJournal::open(arguments.journal.as_deref(), &identity)?;
    let mut job = Job::open(&arguments.job, journal.clone(), total, interrupt)?;
    let start = Start {
        gallery: arguments.target.gallery.clone(),
        create: false,
        generation: arguments.generation,
        max_images_per_second: arguments.rate.unwrap_or_default(),
    };
    let (reader, steps) = Reader::new(journal);
    let reading = tokio::task::spawn_blocking(move || {
        reader.read(source.by_ref().map(with_path));
        source.unused_metadata()
    });
    let is_complete = send_images(&mut client, &start, steps, &mut job).await?;
    let (unused, first_unused) = reading.await.context("reading images")?;
    if let (true, Some(first)) = (is_complete, first_unused) {
        tracing::warn!(count = unused, first, "metadata of images that are not among the inputs");
    }
    job.finish(is_complete)
}

/// Finds the images of the inputs; fails when there can be none.
pub(crate) async fn open_source(inputs: Vec<PathBuf>, options: SourceOptions) -> anyhow::Result<ImageSource> {
    let spinner = progress::spinner("looking for images");
    let first = inputs.first().map(|input| input.display().to_string()).unwrap_or_default();
    let opened = tokio::task::spawn_blocking(move || ImageSource::open(&inputs, options)).await;
    spinner.finish_and_clear();
    let source = opened.context("looking for images")??;
    anyhow::ensure!(source.total() != Some(0), "{first} has no images (JPEG, PNG, WebP, BMP)");
    Ok(source)
}

/// Creates the gallery if it is missing, and says which gallery or generation a journal is about.
async fn target_identity(client: &mut Client, arguments: &Arguments) -> anyhow::Result<JobIdentity> {
    let found = gallery::find_or_create(client, arguments.new_gallery()).await?;
    if arguments.generation == 0 {
        return Ok(identity(&found.name, &found));
    }
    let address = gallery::generation_address(&found.name, arguments.generation);
    let generations = gallery::generations(client, &found.name).await?.generations;
    let generation = generations.iter().find(|generation| generation.generation == arguments.generation);
    let generation = generation.with_context(|| {
        format!(
            "gallery {:?} has no generation {}; `descry gallery reembed` begins one",
            found.name, arguments.generation
        )
    })?;
    Ok(identity(&address, generation))
}

/// Notes where a file is, for contact sheets and for a change of the model.
fn with_path(item: Result<ImageEntry, SkippedEntry>) -> Item {
    item.map(|mut entry| {
        let mut metadata = image_metadata(std::mem::take(&mut entry.metadata));
        if let Some(path) = entry.path() {
            metadata.attributes.entry(PATH_ATTRIBUTE.to_owned()).or_insert_with(|| path.to_string_lossy().into_owned());
        }
        (entry, metadata)
    })
}

pub(crate) fn parse_rate(text: &str) -> anyhow::Result<f32> {
    let rate = text.parse::<f32>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.with_context(|| format!("{text:?} is not a number of images above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_intake::{Content, FileVersion, KnownMetadata};

    #[test]
    fn files_are_found_again_by_their_path() {
        let entry = |content: Content, attributes: &[(&str, &str)]| ImageEntry {
            image_id: "a.jpg".to_owned(),
            origin: "/x/a.jpg".to_owned(),
            version: FileVersion { bytes: 1, modified_ms: 0 },
            metadata: KnownMetadata {
                attributes: attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
                ..KnownMetadata::default()
            },
            content,
        };
        let path_of = |entry: ImageEntry| with_path(Ok(entry)).unwrap().1.attributes.get(PATH_ATTRIBUTE).cloned();
        assert_eq!(path_of(entry(Content::File("/x/a.jpg".into()), &[])).as_deref(), Some("/x/a.jpg"));
        assert_eq!(path_of(entry(Content::File("/x/a.jpg".into()), &[("path", "mine")])).as_deref(), Some("mine"));
        assert_eq!(path_of(entry(Content::Bytes(vec![1]), &[])), None);
    }

    #[test]
    fn rates_are_above_zero() {
        assert!((parse_rate("12.5").unwrap() - 12.5).abs() < 1e-6);
        for wrong in ["0", "-1", "nan", "inf", "many"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
