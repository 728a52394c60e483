//! What was encoded before: files of embeddings, from other programs or from an export.

use super::new_gallery;
use crate::calls::check_model;
use crate::gallery_note::GalleryNote;
use crate::job::embedding_batches::{BATCHES_AHEAD, Destination, all_fields, read_batches, send_merging};
use crate::job::{Job, SharedJournal, identity};
use crate::metadata::{ARCHIVE_ATTRIBUTE, PATH_ATTRIBUTE};
use crate::time::unix_ms;
use crate::{ClientError, Connection, JobObserver, JobOptions, JobReport};
use descry_intake::{EmbeddingFile, EmbeddingOptions, KnownMetadata};
use descry_proto::search::v1::CreateGalleryRequest;
use prost_types::{FieldMask, Timestamp};
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
    /// Whether what is known of images that are there already is forgotten where the file does not give it.
    pub clear_metadata: bool,
    /// Whether images are indexed that were erased on request, which takes a right to manage the gallery.
    pub allow_erased: bool,
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
    /// [`ClientError::Intake`] for files that cannot be used; [`ClientError::NoEmbeddings`]; [`ClientError::OtherModel`];
    /// [`ClientError::Incomplete`] when the service was away for too long.
    pub async fn index_embeddings(
        &self,
        job: EmbeddingJob,
        observer: &mut dyn JobObserver,
    ) -> Result<JobReport, ClientError> {
        let EmbeddingJob { gallery, path, reading, journal, attributes, clear_metadata, allow_erased, options } = job;
        observer.opening();
        let file = open(&path, reading).await?;
        if file.total() == 0 {
            return Err(ClientError::NoEmbeddings { path });
        }
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        let filling = Filling {
            file,
            path,
            gallery: new_gallery(&gallery, &attributes),
            journal,
            source: Some(absolute.to_string_lossy().into_owned()),
            metadata_mask: clear_metadata.then(all_fields),
            allow_erased,
        };
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
        // It is to be the gallery that it was, not a mixture.
        let metadata_mask = Some(all_fields());
        let filling = Filling { file, path, gallery, journal: None, source: None, metadata_mask, allow_erased: false };
        self.fill_with(filling, &options, observer).await
    }

    /// Sends every row, creating the gallery if it is missing.
    async fn fill_with(
        &self,
        filling: Filling,
        options: &JobOptions,
        observer: &mut dyn JobObserver,
    ) -> Result<JobReport, ClientError> {
        let Filling { mut file, path, gallery, journal, source, metadata_mask, allow_erased } = filling;
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
        let note = move |known: &mut KnownMetadata| {
            if let Some(source) = &source
                && !known.attributes.contains_key(PATH_ATTRIBUTE)
            {
                known.attributes.entry(ARCHIVE_ATTRIBUTE.to_owned()).or_insert_with(|| source.clone());
            }
        };
        let reading = tokio::task::spawn_blocking(move || {
            read_batches(&mut file, &path, modified_ms, &journal, note, &batches);
            file.summary()
        });
        let is_complete = send_merging(&destination, (metadata_mask, allow_erased), incoming, &mut job).await?;
        let inputs = reading.await.map_err(ClientError::panicked("reading embeddings"))?;
        if is_complete {
            job.note_inputs(inputs);
        }
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
    /// Noted of images that say nothing of where they came from.
    source: Option<String>,
    metadata_mask: Option<FieldMask>,
    allow_erased: bool,
}

/// Opens the file away from the tasks that talk to the service: it may be large.
async fn open(path: &Path, options: EmbeddingOptions) -> Result<EmbeddingFile, ClientError> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || EmbeddingFile::open(&path, options)).await;
    Ok(opened.map_err(ClientError::panicked("opening the embeddings"))??)
}
