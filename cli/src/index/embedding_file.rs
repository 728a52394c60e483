//! `descry index --embeddings`: what was encoded before.

use super::Arguments;
use crate::connection::Client;
use crate::gallery;
use crate::job::embedding_batches::{BATCHES_AHEAD, Destination, read_batches, send_embeddings};
use crate::job::{Job, JobArguments, Report, SharedJournal, identity};
use crate::time::unix_ms;
use anyhow::Context as _;
use descry_intake::{EmbeddingFile, EmbeddingOptions};
use descry_proto::search::v1::CreateGalleryRequest;
use prost_types::Timestamp;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A file of embeddings on its way into a gallery.
pub(crate) struct EmbeddingJob<'a> {
    pub(crate) file: EmbeddingFile,
    pub(crate) path: PathBuf,
    /// What is created where the gallery is missing; the file says of which model.
    pub(crate) gallery: CreateGalleryRequest,
    pub(crate) journal: Option<&'a Path>,
    pub(crate) job: &'a JobArguments,
}

pub(super) async fn index(arguments: &Arguments, path: &Path, interrupt: &CancellationToken) -> anyhow::Result<Report> {
    let options = EmbeddingOptions {
        fingerprint: arguments.fingerprint.clone(),
        image_ids: arguments.ids.clone(),
        metadata: arguments.metadata.clone(),
    };
    let file = open(path, options).await?;
    let mut client = arguments.target.connect().await?;
    let (gallery, journal) = (arguments.new_gallery(), arguments.journal.as_deref());
    let job = EmbeddingJob { file, path: path.to_owned(), gallery, journal, job: &arguments.job };
    send(&mut client, job, interrupt).await
}

/// Opens the file away from the tasks that talk to the service: it may be large.
pub(crate) async fn open(path: &Path, options: EmbeddingOptions) -> anyhow::Result<EmbeddingFile> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || EmbeddingFile::open(&path, options)).await;
    Ok(opened.context("opening the embeddings")??)
}

/// Sends every row, creating the gallery if it is missing.
pub(crate) async fn send(
    client: &mut Client,
    embedding_job: EmbeddingJob<'_>,
    interrupt: &CancellationToken,
) -> anyhow::Result<Report> {
    let EmbeddingJob { file, path, gallery, journal, job } = embedding_job;
    let fingerprint = file.fingerprint().to_string();
    let request = CreateGalleryRequest {
        fingerprint: fingerprint.clone(),
        embedding_dimension: u32::try_from(file.dimension()).context("the embeddings are too long")?,
        ..gallery
    };
    let found = gallery::find_or_create(client, request).await?;
    gallery::check_model(&found, &fingerprint)?;
    let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
    let modified_ms = modified.map_or(0, |time| unix_ms(&Timestamp::from(time)));
    let journal = SharedJournal::open(journal, &identity(&found.name, &found))?;
    let mut job = Job::open(job, journal.clone(), Some(file.total()), interrupt)?;
    let destination = Destination { client: client.clone(), gallery: found.name, fingerprint };
    let (batches, incoming) = mpsc::channel(BATCHES_AHEAD);
    let reading = tokio::task::spawn_blocking(move || read_batches(file, &path, modified_ms, &journal, &batches));
    let is_complete = send_embeddings(&destination, incoming, &mut job).await?;
    reading.await.context("reading embeddings")?;
    job.finish(is_complete)
}
