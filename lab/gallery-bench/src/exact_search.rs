//! What the nearest images are without any doubt: every embedding of the store compared in float32.

use crate::store_report::RecallMeasurement;
use crate::{GalleryBenchError, Progress};
use descry_model::{Embedding, Fingerprint};
use descry_store::{GalleryImage, Generation, NearestQuery, PageRequest, SearchAccuracy, VectorStore};
use ndarray::Array2;
use tokio_util::sync::CancellationToken;

/// Images read and compared at once.
const PAGE_IMAGES: usize = 1_024;

/// Scores that differ by less are equal: sums in another order differ by as much.
const TIE: f32 = 1e-6;

/// Asks a store for the nearest images of each query, at each accuracy, and compares them with the true ones. Nothing when
/// `stop` came before the end.
pub(crate) async fn measure_recall(
    store: &dyn VectorStore,
    gallery: &Generation,
    (queries, fingerprint): (&[Embedding], &Fingerprint),
    (limit, accuracies): (usize, &[SearchAccuracy]),
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Vec<RecallMeasurement>, GalleryBenchError> {
    let Some(lowest_scores) = lowest_scores(store, gallery, queries, limit, stop, progress).await? else {
        return Ok(Vec::new());
    };
    let mut measured = Vec::new();
    for accuracy in accuracies {
        let (mut found, mut wanted) = (0, 0);
        for (query, &(lowest, count)) in queries.iter().zip(&lowest_scores) {
            if stop.is_cancelled() {
                return Ok(measured);
            }
            let asked = NearestQuery::new(query.clone(), fingerprint.clone(), limit);
            let hits = store.nearest(gallery, NearestQuery { accuracy: *accuracy, ..asked }).await?;
            let ids: Vec<String> = hits.into_iter().map(|hit| hit.image_id).collect();
            // By id, so that an image that is reported twice counts once.
            let embeddings = store.embeddings(gallery, &ids).await?;
            let is_near = |embedding: &&Embedding| query.cosine(embedding).is_some_and(|score| score >= lowest - TIE);
            found += embeddings.values().filter(is_near).count().min(count);
            wanted += count;
        }
        let recall = if wanted == 0 { 0.0 } else { found as f64 / wanted as f64 };
        let (queries, limit) = (queries.len() as u64, limit as u64);
        measured.push(RecallMeasurement { queries, limit, hnsw_ef: accuracy.hnsw_ef, recall });
    }
    Ok(measured)
}

/// Gives all images of a gallery to `take`, some at a time. Whether it came to the end before `stop` did.
pub(crate) async fn read_every_image(
    store: &dyn VectorStore,
    gallery: &Generation,
    stop: &CancellationToken,
    (activity, progress): (&str, Progress<'_>),
    mut take: impl FnMut(&[GalleryImage]) -> Result<(), GalleryBenchError>,
) -> Result<bool, GalleryBenchError> {
    let images = store.describe(gallery).await?.images;
    let mut request = PageRequest { limit: PAGE_IMAGES, ..PageRequest::default() };
    let mut read = 0;
    loop {
        if stop.is_cancelled() {
            return Ok(false);
        }
        let page = store.page(gallery, request.clone()).await?;
        take(&page.images)?;
        read += page.images.len() as u64;
        progress(activity, read, images);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(true),
        }
    }
}

/// For each query the score of the last true hit, and the number of true hits.
async fn lowest_scores(
    store: &dyn VectorStore,
    gallery: &Generation,
    queries: &[Embedding],
    limit: usize,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Option<Vec<(f32, usize)>>, GalleryBenchError> {
    let mut best = BestScores::new(queries, limit)?;
    let told = ("comparing every image", progress);
    let is_whole = read_every_image(store, gallery, stop, told, |images| best.add(images)).await?;
    Ok(is_whole.then(|| best.lowest()))
}

/// The best scores of each query so far.
#[derive(Debug)]
struct BestScores {
    /// `[dimension, queries]` f32 of unit length.
    queries: Array2<f32>,
    /// Of each query, falling, at most `limit`.
    scores: Vec<Vec<f32>>,
    limit: usize,
}

impl BestScores {
    fn new(queries: &[Embedding], limit: usize) -> Result<Self, GalleryBenchError> {
        let queries = matrix(queries.iter())?.reversed_axes();
        Ok(Self { scores: vec![Vec::new(); queries.ncols()], queries, limit })
    }

    fn add(&mut self, images: &[GalleryImage]) -> Result<(), GalleryBenchError> {
        if images.is_empty() {
            return Ok(());
        }
        let scores = matrix(images.iter().map(|image| &image.embedding))?.dot(&self.queries);
        for row in scores.rows() {
            for (best, &score) in self.scores.iter_mut().zip(row) {
                let is_full = best.len() >= self.limit;
                if is_full && best.last().is_none_or(|&last| score <= last) {
                    continue;
                }
                best.insert(best.partition_point(|&other| other >= score), score);
                best.truncate(self.limit);
            }
        }
        Ok(())
    }

    fn lowest(&self) -> Vec<(f32, usize)> {
        self.scores.iter().map(|best| (best.last().copied().unwrap_or(f32::INFINITY), best.len())).collect()
    }
}

/// `[embeddings, dimension]`.
pub(crate) fn matrix<'a>(
    embeddings: impl ExactSizeIterator<Item = &'a Embedding>,
) -> Result<Array2<f32>, GalleryBenchError> {
    let rows = embeddings.len();
    let mut values = Vec::new();
    for embedding in embeddings {
        values.extend_from_slice(embedding.as_slice());
    }
    let dimension = values.len().checked_div(rows).unwrap_or_default();
    Array2::from_shape_vec((rows, dimension), values)
        .map_err(|error| GalleryBenchError::Malformed { what: format!("embeddings of different lengths: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic_gallery::{GalleryShape, SyntheticGallery};

    #[test]
    fn the_best_scores_are_those_of_sorting_all() {
        let shape = GalleryShape { dimension: 32, identities: 20, clusters: 0, seed: 3 };
        let gallery = SyntheticGallery::new(shape).unwrap();
        let (images, queries) = (gallery.images(0..200).unwrap(), gallery.queries(5, 200).unwrap());
        let mut best = BestScores::new(&queries, 10).unwrap();
        images.chunks(64).for_each(|page| best.add(page).unwrap());
        for (query, (lowest, count)) in queries.iter().zip(best.lowest()) {
            let mut scores: Vec<f32> = images.iter().map(|image| query.cosine(&image.embedding).unwrap()).collect();
            scores.sort_by(|left, right| right.total_cmp(left));
            assert_eq!(count, 10);
            assert!((lowest - scores[9]).abs() < TIE, "{lowest} {}", scores[9]);
        }
    }

    #[test]
    fn a_small_gallery_has_fewer_hits_than_asked_for() {
        let shape = GalleryShape { dimension: 8, identities: 2, clusters: 0, seed: 3 };
        let gallery = SyntheticGallery::new(shape).unwrap();
        let mut best = BestScores::new(&gallery.queries(1, 3).unwrap(), 10).unwrap();
        best.add(&gallery.images(0..3).unwrap()).unwrap();
        best.add(&[]).unwrap();
        assert_eq!(best.lowest()[0].1, 3);
    }
}
