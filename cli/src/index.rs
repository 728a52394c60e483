//! `descry index`

use crate::connection::{Target, explain};
use crate::metadata_file::{self, MetadataById};
use crate::output::say;
use crate::{image_files, progress};
use anyhow::Context as _;
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{ImageMetadata, IndexImagesRequest};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Index a folder of person images into a gallery.
///
/// The image id is the path below the folder. Running it again is harmless: unchanged images are not encoded again, so
/// an interrupted run continues where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry index crops/
  descry index crops/ --gallery lobby --metadata crops.csv

The metadata file (CSV with a header, or JSON Lines) has the field image_id (the path below DIR) and optionally
person_id, camera_id and captured_at (2026-05-01T12:30:00Z); other fields become attributes.")]
pub(crate) struct Arguments {
    /// Folder of images (JPEG, PNG, WebP, BMP), searched recursively.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) target: Target,
    /// What is known of the images (CSV or JSON Lines).
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<PathBuf>,
    /// Print one JSON object at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The attribute that tells where an image came from, for contact sheets.
pub(crate) const PATH_ATTRIBUTE: &str = "path";

/// Files on their way to the service at once.
const IMAGES_IN_FLIGHT: usize = 32;
/// Larger files would break the service's limit of a message, and with it the stream.
const MAX_FILE_BYTES: u64 = 60 << 20;
/// Failures printed one by one; the others are counted.
const SHOWN_FAILURES: usize = 20;

/// What became of a folder.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) indexed: usize,
    pub(crate) unchanged: usize,
    pub(crate) failed: Vec<Failure>,
    /// Found but not sent, because the run was interrupted.
    pub(crate) not_sent: usize,
}

impl Report {
    fn fail(&mut self, image_id: String, reason: String) {
        self.failed.push(Failure { image_id, reason });
    }
}

/// An image that is not in the gallery.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) image_id: String,
    pub(crate) reason: String,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let interrupt = CancellationToken::new();
    let signal = descry_serving::shutdown_signal().context("cannot listen for signals")?;
    let interrupted = interrupt.clone();
    tokio::spawn(async move {
        signal.await;
        interrupted.cancel();
    });
    let report = index_folder(&arguments, interrupt).await?;
    if arguments.json {
        say!("{}", serde_json::to_string(&report).context("writing JSON")?);
    } else {
        print_report(&report);
    }
    Ok(if report.failed.is_empty() && report.not_sent == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends every image of the folder and collects the acknowledgements.
pub(crate) async fn index_folder(arguments: &Arguments, interrupt: CancellationToken) -> anyhow::Result<Report> {
    let folder = arguments
        .folder
        .canonicalize()
        .with_context(|| format!("cannot read the folder {}", arguments.folder.display()))?;
    let metadata = arguments.metadata.as_deref().map(metadata_file::read).transpose()?.unwrap_or_default();
    anyhow::ensure!(folder.is_dir(), "{} is not a folder", folder.display());
    let found = image_files::find(&folder);
    let mut report = Report::default();
    for error in found.unreadable {
        let place = error.path().map(|path| path.display().to_string()).unwrap_or_default();
        report.fail(place, error.to_string());
    }
    let mut images = Vec::with_capacity(found.images.len());
    for path in found.images {
        match image_id(&folder, &path) {
            Ok(image_id) => images.push((image_id, path)),
            Err(error) => report.fail(path.display().to_string(), error.to_string()),
        }
    }
    anyhow::ensure!(!images.is_empty(), "{} has no images (JPEG, PNG, WebP, BMP)", folder.display());
    warn_of_strays(&metadata, &images);

    let mut client = arguments.target.connect().await?;
    let bar = progress::bar(images.len(), "images");
    let (requests, outgoing) = mpsc::channel(IMAGES_IN_FLIGHT);
    let start = Start { gallery: arguments.target.gallery.clone(), create: true };
    requests.send(IndexImagesRequest { message: Some(Message::Start(start)) }).await.context("starting")?;
    let total = images.len();
    let sender = tokio::spawn(send_images(images, metadata, requests, interrupt));
    let replies = client.index_images(ReceiverStream::new(outgoing)).await;
    let mut replies = replies.map_err(|status| explain(&status))?.into_inner();
    let failed_before = report.failed.len();
    loop {
        match replies.message().await {
            Ok(Some(reply)) => match reply.outcome {
                Some(Outcome::Indexed(indexed)) if indexed.unchanged => report.unchanged += 1,
                Some(Outcome::Indexed(_)) => report.indexed += 1,
                Some(Outcome::Error(error)) => report.fail(reply.image_id, error.message),
                None => report.fail(reply.image_id, "the service gave no outcome".to_owned()),
            },
            Ok(None) => break,
            Err(status) => {
                let done = report.indexed + report.unchanged;
                let advice = format!("{done} of {total} images are in the gallery; run the command again to continue");
                return Err(explain(&status).context(advice));
            }
        }
        bar.inc(1);
    }
    report.failed.extend(sender.await.context("reading images")?);
    report.not_sent = (total + failed_before).saturating_sub(report.indexed + report.unchanged + report.failed.len());
    bar.finish_and_clear();
    Ok(report)
}

/// Reads the files one after another; the channel's bound keeps only a few of them in memory.
async fn send_images(
    images: Vec<(String, PathBuf)>,
    mut metadata: MetadataById,
    requests: mpsc::Sender<IndexImagesRequest>,
    interrupt: CancellationToken,
) -> Vec<Failure> {
    let mut unreadable = Vec::new();
    for (image_id, path) in images {
        if interrupt.is_cancelled() {
            break;
        }
        let content = match read_image(&path).await {
            Ok(content) => content,
            Err(error) => {
                unreadable.push(Failure { image_id, reason: format!("{error:#}") });
                continue;
            }
        };
        let mut known: ImageMetadata = metadata.remove(&image_id).unwrap_or_default();
        known.attributes.entry(PATH_ATTRIBUTE.to_owned()).or_insert_with(|| path.to_string_lossy().into_owned());
        let image = Image { image_id, content: content.into(), metadata: Some(known) };
        if requests.send(IndexImagesRequest { message: Some(Message::Image(image)) }).await.is_err() {
            // The stream broke; its status tells why.
            break;
        }
    }
    unreadable
}

async fn read_image(path: &Path) -> anyhow::Result<Vec<u8>> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let bytes = std::fs::metadata(&path)?.len();
        anyhow::ensure!(bytes <= MAX_FILE_BYTES, "file of {bytes} bytes, at most {MAX_FILE_BYTES} can be sent");
        Ok(std::fs::read(&path)?)
    })
    .await?
}

/// The path below the folder with `/` between its parts, whatever the system's separator.
fn image_id(folder: &Path, path: &Path) -> anyhow::Result<String> {
    let below = path.strip_prefix(folder).context("an image outside the folder")?;
    let parts = below.iter().map(|part| part.to_str());
    let parts = parts.collect::<Option<Vec<_>>>();
    Ok(parts.with_context(|| format!("{} is not a UTF-8 name; rename it", path.display()))?.join("/"))
}

fn warn_of_strays(metadata: &MetadataById, images: &[(String, PathBuf)]) {
    let known: std::collections::HashSet<&str> = images.iter().map(|(image_id, _)| image_id.as_str()).collect();
    let strays: Vec<&String> = metadata.keys().filter(|image_id| !known.contains(image_id.as_str())).collect();
    if let Some(first) = strays.iter().min() {
        tracing::warn!(count = strays.len(), first = first.as_str(), "metadata of images that are not in the folder");
    }
}

fn print_report(report: &Report) {
    let Report { indexed, unchanged, failed, not_sent } = report;
    say!("{indexed} indexed, {unchanged} unchanged, {} failed", failed.len());
    for Failure { image_id, reason } in failed.iter().take(SHOWN_FAILURES) {
        say!("  {image_id}: {reason}");
    }
    if failed.len() > SHOWN_FAILURES {
        say!("  and {} more (--json lists all of them)", failed.len() - SHOWN_FAILURES);
    }
    if *not_sent > 0 {
        say!("interrupted: {not_sent} images were not sent; run the command again to continue");
    }
}
