//! Sends embeddings, some batches at a time.

use super::{Job, SharedJournal};
use crate::ClientError;
use crate::connection::Service;
use crate::metadata::{image_metadata, source_of};
use crate::retry::Retries;
use descry_intake::{EmbeddingFile, EmbeddingRow, Failure, FileVersion, KnownMetadata};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{IndexEmbeddingsRequest, IndexImagesResponse, StoredImage};
use descry_proto::status::v1::ItemError;
use prost_types::FieldMask;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Images of a batch.
pub(crate) const BATCH_IMAGES: usize = 256;
const BATCHES_IN_FLIGHT: usize = 3;
/// Batches read ahead.
pub(crate) const BATCHES_AHEAD: usize = 2;

/// An image's name, where it came from, and its version for the journal.
struct Sent {
    image_id: String,
    /// Where the image came from, where that is known.
    source: Option<String>,
    origin: String,
    version: FileVersion,
}

/// Embeddings that travel together, and what became of the rows between them.
#[derive(Default)]
pub(crate) struct Batch {
    images: Vec<StoredImage>,
    sent: Vec<Sent>,
    failures: Vec<Failure>,
    known: u64,
}

impl Batch {
    /// Adds an image to be sent.
    pub(crate) fn push(&mut self, image: StoredImage, origin: String, version: FileVersion) {
        let source = image.metadata.as_ref().and_then(source_of).map(str::to_owned);
        self.sent.push(Sent { image_id: image.image_id.clone(), source, origin, version });
        self.images.push(image);
    }

    fn rows(&self) -> usize {
        self.images.len() + self.failures.len()
    }
}

/// Where embeddings go.
pub(crate) struct Destination {
    pub(crate) service: Service,
    pub(crate) gallery: String,
    pub(crate) fingerprint: String,
}

/// Reads a file into batches. Blocks its thread; ends early when nobody takes the batches. `note` may change what is
/// known of an image.
pub(crate) fn read_batches(
    file: &mut EmbeddingFile,
    path: &Path,
    modified_ms: i64,
    journal: &SharedJournal,
    note: impl Fn(&mut KnownMetadata),
    batches: &mpsc::Sender<Result<Batch, ClientError>>,
) {
    let version = FileVersion { bytes: 4 * file.dimension() as u64, modified_ms };
    let mut batch = Batch::default();
    for row in file {
        match row {
            Ok(row) if journal.contains(&row.image_id, &version) => batch.known += 1,
            Ok(mut row) => {
                note(&mut row.metadata);
                let origin = path.display().to_string();
                batch.push(stored_image(row), origin, version);
            }
            Err(skipped) => batch.failures.push(skipped.into()),
        }
        if batch.rows() >= BATCH_IMAGES && batches.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
            return;
        }
    }
    // Nobody waits for the last batch only when the job is to stop.
    let _ = batches.blocking_send(Ok(batch));
}

fn stored_image(row: EmbeddingRow) -> StoredImage {
    StoredImage {
        image_id: row.image_id,
        metadata: Some(image_metadata(row.metadata)),
        content_sha256: row.content_sha256.unwrap_or_default(),
        embedding: to_unit_length(row.values),
    }
}

/// Other programs store what a model gives, of whatever length. What is of unit length stays as it is, bit by bit.
fn to_unit_length(mut values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    if length > 0.0 && (length - 1.0).abs() > 1e-4 {
        for value in &mut values {
            *value = (f64::from(*value) / length) as f32;
        }
    }
    values
}

/// Sends batches of a gallery that is to be the same elsewhere: what is not known of an image here is not to be known
/// there. Otherwise as [`send_merging`].
pub(crate) async fn send_embeddings(
    destination: &Destination,
    batches: mpsc::Receiver<Result<Batch, ClientError>>,
    job: &mut Job<'_>,
) -> Result<bool, ClientError> {
    send_merging(destination, (Some(all_fields()), false), batches, job).await
}

/// A mask that names all metadata.
pub(crate) fn all_fields() -> FieldMask {
    FieldMask { paths: vec!["*".to_owned()] }
}

/// Sends batches until they end or the job is stopped. What a mask does not name is kept of images that are there
/// already. Returns whether the batches were taken up to their end.
pub(crate) async fn send_merging(
    destination: &Destination,
    (metadata_mask, allow_erased): (Option<FieldMask>, bool),
    mut batches: mpsc::Receiver<Result<Batch, ClientError>>,
    job: &mut Job<'_>,
) -> Result<bool, ClientError> {
    let mut in_flight: JoinSet<Result<Answered, ClientError>> = JoinSet::new();
    let mut ticker = Job::ticker();
    let stop = job.stop.clone();
    let (mut is_open, mut is_complete) = (true, false);
    while is_open || !in_flight.is_empty() {
        let may_take = is_open && in_flight.len() < BATCHES_IN_FLIGHT;
        let has_flights = !in_flight.is_empty();
        tokio::select! {
            batch = batches.recv(), if may_take => match batch.transpose()? {
                None => (is_open, is_complete) = (false, true),
                Some(batch) => {
                    let Batch { images, sent, failures, known } = batch;
                    job.skip_known(known);
                    for failure in failures {
                        job.fail(failure)?;
                    }
                    if !images.is_empty() {
                        let request = IndexEmbeddingsRequest {
                            gallery: destination.gallery.clone(),
                            fingerprint: destination.fingerprint.clone(),
                            images,
                            metadata_mask: metadata_mask.clone(),
                            allow_erased,
                        };
                        let service = destination.service.clone();
                        in_flight.spawn(send_batch(service, request, sent, job.retry_for(), stop.clone()));
                    }
                }
            },
            Some(answered) = in_flight.join_next(), if has_flights => {
                let answered = answered.map_err(ClientError::panicked("sending embeddings"))?;
                settle(job, answered.map_err(|error| job.broken_off(error))?)?;
            }
            () = stop.cancelled(), if is_open => is_open = false,
            _ = ticker.tick() => job.tick()?,
        }
    }
    Ok(is_complete)
}

/// A batch and what the service said of it; nothing where the job was stopped before it said anything.
struct Answered {
    sent: Vec<Sent>,
    results: Option<Vec<IndexImagesResponse>>,
}

async fn send_batch(
    mut service: Service,
    request: IndexEmbeddingsRequest,
    sent: Vec<Sent>,
    retry_for: Duration,
    stop: CancellationToken,
) -> Result<Answered, ClientError> {
    let mut retries = Retries::new(retry_for);
    loop {
        let status = match service.index_embeddings(request.clone()).await {
            Ok(reply) => return Ok(Answered { sent, results: Some(reply.into_inner().results) }),
            Err(status) => status,
        };
        tokio::select! {
            waited = retries.wait(&status) => waited?,
            () = stop.cancelled() => return Ok(Answered { sent, results: None }),
        }
    }
}

fn settle(job: &mut Job<'_>, answered: Answered) -> Result<(), ClientError> {
    let Answered { sent, results } = answered;
    let Some(results) = results else {
        job.leave_unanswered(sent.len());
        return Ok(());
    };
    if results.len() != sent.len() {
        return Err(ClientError::ShortAnswer { what: "rows", answered: results.len(), asked: sent.len() });
    }
    for (Sent { image_id, source, origin, version }, result) in sent.into_iter().zip(results) {
        match result.outcome {
            Some(Outcome::Indexed(indexed)) => {
                job.acknowledge(&image_id, &version, source.as_deref(), &indexed)?;
            }
            Some(Outcome::Error(ItemError { code, message, reason })) => {
                job.refuse((image_id, origin), &Status::new(Code::from_i32(code), message), &reason)?;
            }
            None => {
                let reason = "the service gave no outcome".to_owned();
                job.fail(Failure { image_id, origin, reason })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_length_is_kept_and_other_lengths_become_it() {
        assert_eq!(to_unit_length(vec![3.0, 4.0]), [0.6, 0.8]);
        let unit = vec![0.6_f32, 0.800_000_1];
        assert_eq!(to_unit_length(unit.clone()), unit);
        assert_eq!(to_unit_length(vec![0.0, 0.0]), [0.0, 0.0]);
    }
}
