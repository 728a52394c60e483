//! What was encoded before: files of embeddings, from other programs or from an export.

use super::new_gallery;
use crate::calls::check_model;
use crate::gallery_note::GalleryNote;
use crate::job::embedding_batches::{BATCHES_AHEAD, Destination, read_batches, send_embeddings};
use crate::job::{Job, SharedJournal, identity};
use crate::time::unix_ms;
use crate::{ClientError, Connection, JobObserver, JobOptions, JobReport};
use descry_intake::{EmbeddingFile, EmbeddingOptions};
use descry_proto::search::v1::CreateGalleryRequest;
use prost_types::Timestamp;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Embeddings to be indexed. Running a job again is harmless.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingJob {
    /// The gallery; created for the file's model where it is missing.
    pub gallery: String,
    /// The file: `.npz` or `.parquet`.
    pub path: PathBuf,
    /// What the file does not say itself.
    pub reading: EmbeddingOptions,
    /// Notes what was acknowledged, so that a killed job does not send it again.
    pub journal: Option<PathBuf>,
    /// Attributes that filters may name, decided when the gallery is created.
    pub attributes: Vec<String>,
    /// What is noted, and when it is given up.
    pub options: JobOptions,
}

/// An exported gallery that is to be one again, with its settings and retention.
#[derive(Debug, Clone, Default)]
pub struct ImportJob {
    /// A file that [`Connection::export_gallery`] wrote.
    pub path: PathBuf,
    /// Name of the gallery; the one that it was exported from if absent.
    pub gallery: Option<String>,
    /// What is noted, and when it is given up.
    pub options: JobOptions,
}

impl Connection {
    /// Sends every embedding of a file.
    ///
    /// # Errors
    /// [`ClientError::Intake`] for files that cannot be used; [`ClientError::OtherModel`]; [`ClientError::Incomplete`] when
    /// the service was away for too long.
    pub async fn index_embeddings(
        &self,
        job: EmbeddingJob,
        observer: &mut dyn JobObserver,
    ) -> Result<JobReport, ClientError> {
        let EmbeddingJob { gallery, path, reading, journal, attributes, options } = job;
        observer.opening();
        let file = open(&path, reading).await?;
        let filling = Filling { file, path, gallery: new_gallery(&gallery, &attributes), journal };
        self.fill_with(filling, &options, observer).await
    }

    /// Makes a gallery of an exported file.
    ///
    /// # Errors
    /// As [`Connection::index_embeddings`], and [`ClientError::UnreadableNote`] and [`ClientError::NamelessFile`].
    pub async fn import_gallery(
        &self,
        job: ImportJob,
        observer: &mut dyn JobObserver,
    ) -> Result<JobReport, ClientError> {
        let ImportJob { path, gallery, options } = job;
        observer.opening();
        let file = open(&path, EmbeddingOptions::default()).await?;
        let note = file.gallery_json().map(serde_json::from_str::<GalleryNote>).transpose();
        let note = note.map_err(|source| ClientError::UnreadableNote { path: path.clone(), source })?;
        let note = note.unwrap_or_default();
        let name = gallery.unwrap_or_else(|| note.name.clone());
        if name.is_empty() {
            return Err(ClientError::NamelessFile { path });
        }
        let gallery = CreateGalleryRequest {
            name,
            settings: Some(note.settings()),
            retention: Some(note.retention()),
            ..CreateGalleryRequest::default()
        };
        self.fill_with(Filling { file, path, gallery, journal: None }, &options, observer).await
    }

    /// Sends every row, creating the gallery if it is missing.
    async fn fill_with(
        &self,
        filling: Filling,
        options: &JobOptions,
        observer: &mut dyn JobObserver,
    ) -> Result<JobReport, ClientError> {
        let Filling { file, path, gallery, journal } = filling;
        let fingerprint = file.fingerprint().to_string();
        let request = CreateGalleryRequest {
            fingerprint: fingerprint.clone(),
            // What a file may hold is far less than this can count.
            embedding_dimension: u32::try_from(file.dimension()).unwrap_or(u32::MAX),
            ..gallery
        };
        let found = self.find_or_create(request).await?;
        check_model(&found, &fingerprint)?;
        let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
        let modified_ms = modified.map_or(0, |time| unix_ms(&Timestamp::from(time)));
        let journal = SharedJournal::open(journal.as_deref(), &identity(&found.name, &found))?;
        let mut job = Job::open(options, journal.clone(), Some(file.total()), observer)?;
        let destination = Destination { service: self.service(), gallery: found.name, fingerprint };
        let (batches, incoming) = mpsc::channel(BATCHES_AHEAD);
        let reading = tokio::task::spawn_blocking(move || read_batches(file, &path, modified_ms, &journal, &batches));
        let is_complete = send_embeddings(&destination, incoming, &mut job).await?;
        reading.await.map_err(ClientError::panicked("reading embeddings"))?;
        job.finish(is_complete)
    }
}

/// A file of embeddings on its way into a gallery.
struct Filling {
    file: EmbeddingFile,
    path: PathBuf,
    /// What is created where the gallery is missing; the file says of which model.
    gallery: CreateGalleryRequest,
    journal: Option<PathBuf>,
}

/// Opens the file away from the tasks that talk to the service: it may be large.
async fn open(path: &Path, options: EmbeddingOptions) -> Result<EmbeddingFile, ClientError> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || EmbeddingFile::open(&path, options)).await;
    Ok(opened.map_err(ClientError::panicked("opening the embeddings"))??)
}
