//! Writing a gallery, or going on with one that was written before.

use crate::latencies::Latencies;
use crate::store_report::FillingMeasurement;
use crate::synthetic_gallery::SyntheticGallery;
use crate::{GalleryBenchError, Progress};
use descry_store::{Generation, StoreError, VectorStore};
use std::path::Path;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Images written together, as many as a client sends at once.
pub(crate) const BATCH_IMAGES: u64 = 256;

/// What became of the gallery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filled {
    /// Where the images are.
    pub(crate) generation: Generation,
    /// `None` when nothing had to be written.
    pub(crate) measured: Option<FillingMeasurement>,
    /// Images in it now; fewer than asked for when it was ended early.
    pub(crate) images: u64,
}

/// Writes what the gallery lacks, batch after batch. `path` is the store's file, for messages.
pub(crate) async fn fill(
    store: &dyn VectorStore,
    (name, path): (&str, &Path),
    (gallery, images): (&SyntheticGallery, u64),
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Filled, GalleryBenchError> {
    let fingerprint = gallery.fingerprint();
    let generation = match store.create_gallery(name, fingerprint, gallery.shape().dimension).await {
        Err(StoreError::GalleryExists { .. }) => {
            return Err(GalleryBenchError::OtherData { path: path.to_owned() });
        }
        created => created?,
    };
    let existing = store.describe(&generation).await?.images;
    if existing > images {
        return Err(GalleryBenchError::OtherData { path: path.to_owned() });
    }
    let mut latencies = Latencies::default();
    let mut written = existing;
    while written < images && !stop.is_cancelled() {
        let end = (written + BATCH_IMAGES).min(images);
        let batch = gallery.images(written..end)?;
        let begin = Instant::now();
        store.upsert(&generation, fingerprint, batch).await?;
        latencies.record(begin.elapsed());
        written = end;
        progress("writing", written, images);
    }
    let measured = latencies.summary().map(|batch| FillingMeasurement {
        images: written - existing,
        batch_images: BATCH_IMAGES,
        images_per_s: (written - existing) as f64 / latencies.total_s(),
        batch,
    });
    Ok(Filled { generation, measured, images: written })
}
