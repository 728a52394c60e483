//! Cosine scores of captions against a gallery, a block of captions at a time.

use std::cmp::Ordering;
use std::num::NonZeroUsize;
use std::thread;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use crate::{EmbeddingSide, EvaluationError};

/// Scores held at once by one thread, 16 MiB: 20,000 captions against 20,000 images would be 1.6 GB.
const BLOCK_SCORES: usize = 4 << 20;

/// Captions in a block beyond which the matrix product gains nothing from more.
const MAX_BLOCK_CAPTIONS: usize = 256;

/// How far a row's length may be from 1. Embeddings that were normalised and then stored as float16 stay within it.
const LENGTH_TOLERANCE: f64 = 1e-3;

/// How the work is cut up; results do not depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partition {
    /// Captions scored by one matrix product, at least 1.
    pub(crate) block_captions: usize,
    /// Threads, each with its own block of scores, at least 1.
    pub(crate) threads: usize,
}

impl Partition {
    /// As many threads as the machine offers, blocks of bounded size.
    pub(crate) fn for_gallery(images: usize) -> Self {
        Self {
            block_captions: (BLOCK_SCORES / images.max(1)).clamp(1, MAX_BLOCK_CAPTIONS),
            threads: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

/// Calls `evaluate` once per caption with its number and its scores, and returns what it gave in caption order.
///
/// # Shapes
/// - `captions`: `[queries, dimension]` f32
/// - `images`: `[gallery, dimension]` f32
/// - scores given to `evaluate`: `[gallery]` f32
pub(crate) fn map_captions<T: Send + Clone + Default>(
    captions: ArrayView2<'_, f32>,
    images: ArrayView2<'_, f32>,
    partition: Partition,
    evaluate: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    let mut results = vec![T::default(); captions.nrows()];
    let captions_per_thread = captions.nrows().div_ceil(partition.threads).max(1);
    thread::scope(|scope| {
        for (part, results) in results.chunks_mut(captions_per_thread).enumerate() {
            let evaluate = &evaluate;
            scope.spawn(move || {
                let mut scores = Array2::zeros((partition.block_captions.min(results.len()), images.nrows()));
                for (block, results) in results.chunks_mut(partition.block_captions).enumerate() {
                    let start = part * captions_per_thread + block * partition.block_captions;
                    let mut scores = scores.slice_mut(s![..results.len(), ..]);
                    let queries = captions.slice(s![start..start + results.len(), ..]);
                    general_mat_mul(1.0, &queries, &images.t(), 0.0, &mut scores);
                    for ((offset, result), scores) in results.iter_mut().enumerate().zip(scores.rows()) {
                        *result = evaluate(start + offset, scores.as_slice().unwrap_or_default());
                    }
                }
            });
        }
    });
    results
}

/// Which of two images comes first in a ranking: the higher score, and of equal scores the earlier in the gallery.
pub(crate) fn ranking_order(scores: &[f32], left: usize, right: usize) -> Ordering {
    // Rows of unit length have no NaN scores, so every two of them compare.
    scores[right].partial_cmp(&scores[left]).unwrap_or(Ordering::Equal).then(left.cmp(&right))
}

/// Refuses embeddings whose dot products would not be cosines.
pub(crate) fn check_embeddings(
    captions: ArrayView2<'_, f32>,
    images: ArrayView2<'_, f32>,
) -> Result<(), EvaluationError> {
    if captions.ncols() != images.ncols() {
        return Err(EvaluationError::DimensionMismatch { captions: captions.ncols(), images: images.ncols() });
    }
    for (side, embeddings) in [(EmbeddingSide::Caption, captions), (EmbeddingSide::Image, images)] {
        for (row, values) in embeddings.rows().into_iter().enumerate() {
            let length = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            if length.is_nan() || (length - 1.0).abs() > LENGTH_TOLERANCE {
                return Err(EvaluationError::NotUnitLength { side, row, length });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_do_not_depend_on_the_partition() {
        let captions = Array2::from_shape_fn((23, 3), |(row, column)| ((row * 7 + column * 3) % 5) as f32 - 2.0);
        let images = Array2::from_shape_fn((11, 3), |(row, column)| ((row * 5 + column) % 7) as f32 - 3.0);
        let expected: Vec<(usize, Vec<f32>)> =
            captions.dot(&images.t()).rows().into_iter().map(|scores| scores.to_vec()).enumerate().collect();
        for (block_captions, threads) in [(1, 1), (4, 1), (23, 1), (100, 3), (3, 4), (5, 64)] {
            let partition = Partition { block_captions, threads };
            let found =
                map_captions(captions.view(), images.view(), partition, |caption, scores| (caption, scores.to_vec()));
            assert_eq!(found, expected, "{partition:?}");
        }
    }

    #[test]
    fn blocks_stay_small_whatever_the_gallery() {
        for images in [0, 1, 20_000, 10_000_000] {
            let partition = Partition::for_gallery(images);
            assert!((1..=MAX_BLOCK_CAPTIONS).contains(&partition.block_captions));
            assert!(partition.threads >= 1);
            assert!(partition.block_captions == 1 || partition.block_captions * images <= BLOCK_SCORES);
        }
    }
}
