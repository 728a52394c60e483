//! The best images of every caption.

use ndarray::ArrayView2;

use crate::EvaluationError;
use crate::similarity::{Partition, check_embeddings, map_captions, ranking_order};

/// Ranks the gallery for every caption and keeps the first `count` images, best first.
///
/// Serves to compare a model's rankings with published ones, where metrics alone could agree by luck. Ties rank by
/// gallery order, as in [`retrieval_metrics`](crate::retrieval_metrics).
///
/// # Shapes
/// - `captions`: `[queries, dimension]` f32, rows L2-normalised
/// - `images`: `[gallery, dimension]` f32, rows L2-normalised
/// - returns: `queries` lists of `min(count, gallery)` row numbers of `images`
///
/// # Errors
/// [`EvaluationError::DimensionMismatch`] and [`EvaluationError::NotUnitLength`] when dot products would not be cosines.
pub fn top_images(
    captions: ArrayView2<'_, f32>,
    images: ArrayView2<'_, f32>,
    count: usize,
) -> Result<Vec<Vec<usize>>, EvaluationError> {
    check_embeddings(captions, images)?;
    let partition = Partition::for_gallery(images.nrows());
    Ok(map_captions(captions, images, partition, |_, scores| best(scores, count)))
}

fn best(scores: &[f32], count: usize) -> Vec<usize> {
    let mut ranking: Vec<usize> = (0..scores.len()).collect();
    if count < ranking.len() {
        ranking.select_nth_unstable_by(count, |&left, &right| ranking_order(scores, left, right));
        ranking.truncate(count);
        // A caption's list outlives this call; the rest of the gallery must not stay allocated with it.
        ranking.shrink_to_fit();
    }
    ranking.sort_unstable_by(|&left, &right| ranking_order(scores, left, right));
    ranking
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    #[test]
    fn ties_rank_by_gallery_order() {
        let captions = array![[1.0, 0.0], [0.0, 1.0]];
        let images = array![[0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [1.0, 0.0]];
        assert_eq!(top_images(captions.view(), images.view(), 3).unwrap(), [[1, 3, 2], [0, 2, 1]]);
    }

    #[test]
    fn short_galleries_give_short_lists() {
        let captions = array![[1.0]];
        let images = array![[-1.0], [1.0]];
        assert_eq!(top_images(captions.view(), images.view(), 10).unwrap(), [[1, 0]]);
        assert_eq!(top_images(captions.view(), images.view(), 0).unwrap(), [[0; 0]]);
        let nobody = Array2::zeros((0, 1));
        assert_eq!(top_images(captions.view(), nobody.view(), 10).unwrap(), [[0; 0]]);
        assert!(top_images(nobody.view(), images.view(), 10).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn equals_the_head_of_a_stable_sort(
            scores in proptest::collection::vec((-3i8..3).prop_map(f32::from), 0..40),
            count in 0usize..50,
        ) {
            let mut sorted: Vec<usize> = (0..scores.len()).collect();
            sorted.sort_by(|&left, &right| scores[right].total_cmp(&scores[left]));
            sorted.truncate(count);
            prop_assert_eq!(best(&scores, count), sorted);
        }
    }
}
