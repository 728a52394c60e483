//! Galleries between services and in files, without encoding anything again.

use crate::calls::{check_model, generation_address};
use crate::gallery_note::GalleryNote;
use crate::job::embedding_batches::{BATCHES_AHEAD, Batch, Destination, send_embeddings};
use crate::job::{Job, SharedJournal};
use crate::listing::Listing;
use crate::metadata::known_metadata;
use crate::{ClientError, Connection, JobObserver, JobOptions, JobReport};
use descry_intake::{EmbeddingRow, FileVersion, GalleryFile, GalleryFileHeader};
use descry_model::Fingerprint;
use descry_proto::search::v1::{CreateGalleryRequest, StoredImage};
use std::path::Path;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A gallery to be copied to another service, or under another name. Running it again continues.
#[derive(Debug, Clone)]
pub struct CopyJob {
    /// The gallery.
    pub gallery: String,
    /// The service that gets the copy.
    pub to: Connection,
    /// Name of the copy; the same if absent.
    pub copy_name: Option<String>,
    /// What is noted, and when it is given up.
    pub options: JobOptions,
}

/// What was written into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Images in the file.
    pub images: u64,
    /// The model of their embeddings.
    pub fingerprint: Fingerprint,
}

impl Connection {
    /// Copies a gallery with its settings and retention. Images that are there already are passed over.
    ///
    /// # Errors
    /// [`ClientError::OtherModel`]; [`ClientError::Refused`]; [`ClientError::Unavailable`] and
    /// [`ClientError::Incomplete`] when a service was away for too long.
    pub async fn copy_gallery(&self, job: CopyJob, observer: &mut dyn JobObserver) -> Result<JobReport, ClientError> {
        let CopyJob { gallery: name, to, copy_name, options } = job;
        let gallery = self.gallery(&name).await?;
        let note = GalleryNote::of(&gallery);
        let request = CreateGalleryRequest {
            name: copy_name.unwrap_or_else(|| name.clone()),
            settings: Some(note.settings()),
            retention: Some(note.retention()),
            fingerprint: gallery.fingerprint.clone(),
            embedding_dimension: gallery.embedding_dimension,
        };
        let copy = to.find_or_create(request).await?;
        check_model(&copy, &gallery.fingerprint)?;
        let mut job = Job::open(&options, SharedJournal::default(), Some(gallery.images), observer)?;
        // One generation from the first page to the last, whatever is switched meanwhile.
        let address = generation_address(&gallery.name, gallery.generation);
        let listing = self.images(&address).with_embeddings().retry_for(options.retry_for);
        let (batches, incoming) = mpsc::channel(BATCHES_AHEAD);
        let reading = tokio::spawn(read_listing(listing, name, batches));
        let destination = Destination { service: to.service(), gallery: copy.name, fingerprint: gallery.fingerprint };
        let is_complete = send_embeddings(&destination, incoming, &mut job).await?;
        if is_complete {
            reading.await.map_err(ClientError::panicked("reading the gallery"))?;
        } else {
            reading.abort();
        }
        let mut report = job.finish(is_complete)?;
        if is_complete {
            // The gallery was counted before it was read; what was deleted meanwhile is not missing.
            report.not_sent = 0;
        }
        Ok(report)
    }

    /// Writes the embeddings and metadata of a gallery, or of a generation of one, into a Parquet file, from which
    /// [`Connection::import_gallery`] makes a gallery again. `exported` hears of how many images of how many are done.
    /// Nothing is left of a file that is not finished.
    ///
    /// # Errors
    /// [`ClientError::NotParquet`]; [`ClientError::ExportStopped`]; [`ClientError::Intake`] when the file cannot be
    /// written; [`ClientError::Refused`] and [`ClientError::Unavailable`].
    pub async fn export_gallery(
        &self,
        address: &str,
        path: &Path,
        stop: &CancellationToken,
        mut exported: impl FnMut(u64, u64),
    ) -> Result<Exported, ClientError> {
        let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
        if !is_parquet {
            return Err(ClientError::NotParquet { path: path.to_owned() });
        }
        let gallery = self.gallery(address).await?;
        let strange = |_| ClientError::StrangeAnswer { what: "a model that is none" };
        let fingerprint = gallery.fingerprint.parse::<Fingerprint>().map_err(strange)?;
        let note = serde_json::to_string(&GalleryNote::of(&gallery));
        let header = GalleryFileHeader {
            fingerprint: fingerprint.clone(),
            dimension: gallery.embedding_dimension as usize,
            gallery_json: note.map_err(|source| ClientError::UnreadableNote { path: path.to_owned(), source })?,
        };
        let mut file = GalleryFile::create(path, header)?;
        let mut images = 0;
        exported(images, gallery.images);
        // One generation from the first page to the last, whatever is switched meanwhile.
        let mut listing = self.images(&generation_address(&gallery.name, gallery.generation)).with_embeddings();
        while let Some(page) = listing.next().await? {
            if stop.is_cancelled() {
                return Err(ClientError::ExportStopped { path: path.to_owned() });
            }
            images += page.len() as u64;
            exported(images, gallery.images);
            let rows: Vec<EmbeddingRow> = page.into_iter().map(embedding_row).collect();
            let written = tokio::task::spawn_blocking(move || file.write(&rows).map(|()| file)).await;
            file = written.map_err(ClientError::panicked("writing the file"))??;
        }
        let images = tokio::task::spawn_blocking(move || file.finish()).await;
        let images = images.map_err(ClientError::panicked("writing the file"))??;
        Ok(Exported { images, fingerprint })
    }
}

/// Hands on each page as a batch. Ends early when nobody takes them.
async fn read_listing(mut listing: Listing, gallery: String, batches: mpsc::Sender<Result<Batch, ClientError>>) {
    loop {
        let batch = match listing.next().await {
            Ok(None) => return,
            Ok(Some(images)) => {
                let mut batch = Batch::default();
                for image in images {
                    // Without a journal, nobody asks for the version.
                    batch.push(image, gallery.clone(), FileVersion { bytes: 0, modified_ms: 0 });
                }
                Ok(batch)
            }
            Err(error) => Err(error),
        };
        let is_over = batch.is_err();
        if batches.send(batch).await.is_err() || is_over {
            return;
        }
    }
}

fn embedding_row(image: StoredImage) -> EmbeddingRow {
    EmbeddingRow {
        image_id: image.image_id,
        values: image.embedding,
        metadata: known_metadata(image.metadata.unwrap_or_default()),
        content_sha256: Some(image.content_sha256).filter(|digits| !digits.is_empty()),
    }
}
