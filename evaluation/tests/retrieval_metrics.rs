//! Metrics against hand computation and against sorting the whole gallery.

#![expect(clippy::unwrap_used, reason = "the test exemption does not reach helper functions of an integration test")]

use descry_evaluation::{EmbeddingSide, EvaluationError, RetrievalMetrics, retrieval_metrics};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-9
}

#[test]
fn tiny_case_agrees_with_hand_computation() {
    // Scores of caption 0: 0.6, 1.0, 0.0, 0.8, so its images 0 and 2 rank 3rd and 4th.
    // Scores of caption 1: 0.8, 0.0, 1.0, 0.6, so its images 1 and 3 rank 4th and 3rd.
    // Scores of caption 2 as caption 0; image 1 alone would be its match.
    let captions = array![[1.0f32, 0.0], [0.0, 1.0], [1.0, 0.0]];
    let images = array![[0.6f32, 0.8], [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]];
    let metrics = retrieval_metrics(captions.view(), &[7, 8, 8], images.view(), &[7, 8, 7, 8]).unwrap();
    // Average precision: (1/3 + 2/4)/2 twice, then images at ranks 1 and 2: 1. Last ranks 4, 4 and 2.
    let missed = (1.0 / 3.0 + 2.0 / 4.0) / 2.0;
    assert!(close(metrics.map, 100.0 * (missed + missed + 1.0) / 3.0), "{metrics:?}");
    assert!(close(metrics.minp, 100.0 * (0.5 + 0.5 + 1.0) / 3.0), "{metrics:?}");
    assert!(close(metrics.rank1, 100.0 / 3.0), "{metrics:?}");
    assert_eq!((metrics.rank5, metrics.rank10), (100.0, 100.0));
    assert_eq!((metrics.queries, metrics.gallery, metrics.unmatched_queries), (3, 4, 0));
}

#[test]
fn ties_rank_by_gallery_order() {
    let caption = array![[1.0f32]];
    let images = Array2::ones((12, 1));
    for (right_image, expected) in [(0, (100.0, 100.0, 100.0)), (4, (0.0, 100.0, 100.0)), (9, (0.0, 0.0, 100.0))] {
        let mut identities = [0; 12];
        identities[right_image] = 1;
        let metrics = retrieval_metrics(caption.view(), &[1], images.view(), &identities).unwrap();
        assert_eq!((metrics.rank1, metrics.rank5, metrics.rank10), expected);
        assert!(close(metrics.minp, 100.0 / (right_image + 1) as f64));
    }
}

#[test]
fn captions_without_a_match_are_left_out_of_the_means() {
    let captions = array![[1.0f32, 0.0], [0.0, 1.0]];
    let images = array![[1.0f32, 0.0], [0.0, 1.0]];
    let metrics = retrieval_metrics(captions.view(), &[1, 99], images.view(), &[1, 2]).unwrap();
    assert_eq!((metrics.rank1, metrics.map, metrics.minp), (100.0, 100.0, 100.0));
    assert_eq!((metrics.queries, metrics.unmatched_queries), (2, 1));
    let error = retrieval_metrics(captions.view(), &[98, 99], images.view(), &[1, 2]).unwrap_err();
    assert!(matches!(error, EvaluationError::NothingMatches { queries: 2, gallery: 2 }), "{error}");
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let row = array![[1.0f32, 0.0]];
    let wide = array![[1.0f32, 0.0, 0.0]];
    let nobody = Array2::<f32>::zeros((0, 2));
    let error = retrieval_metrics(row.view(), &[1, 2], row.view(), &[1]).unwrap_err();
    assert_eq!(error.to_string(), "1 caption embeddings but 2 caption identities");
    let error = retrieval_metrics(row.view(), &[1], row.view(), &[]).unwrap_err();
    assert_eq!(error.to_string(), "1 image embeddings but 0 image identities");
    let error = retrieval_metrics(row.view(), &[1], wide.view(), &[1]).unwrap_err();
    assert!(matches!(error, EvaluationError::DimensionMismatch { captions: 2, images: 3 }), "{error}");
    for (captions, images) in [(&nobody, &row), (&row, &nobody), (&nobody, &nobody)] {
        let (queries, gallery) = (vec![1; captions.nrows()], vec![1; images.nrows()]);
        let error = retrieval_metrics(captions.view(), &queries, images.view(), &gallery).unwrap_err();
        assert!(matches!(error, EvaluationError::NothingToScore { .. }), "{error}");
    }
}

#[test]
fn rows_without_a_cosine_are_refused() {
    let good = array![[1.0f32, 0.0], [0.0, 1.0]];
    for values in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [0.0, 0.0], [3.0, 4.0]] {
        let bad = array![[1.0f32, 0.0], values];
        for (captions, images, expected) in [(&bad, &good, EmbeddingSide::Caption), (&good, &bad, EmbeddingSide::Image)]
        {
            let error = retrieval_metrics(captions.view(), &[1, 2], images.view(), &[1, 2]).unwrap_err();
            let EvaluationError::NotUnitLength { side, row: 1, .. } = error else { panic!("{error}") };
            assert_eq!(side, expected);
        }
    }
}

#[test]
fn reports_carry_the_published_names() {
    let row = array![[1.0f32]];
    let metrics = retrieval_metrics(row.view(), &[1], row.view(), &[1]).unwrap();
    let expected = r#"{"rank1":100.0,"rank5":100.0,"rank10":100.0,"map":100.0,"minp":100.0,"queries":1,"gallery":1,"unmatched":0}"#;
    assert_eq!(serde_json::to_string(&metrics).unwrap(), expected);
}

/// Sorts the whole gallery for every caption and reads the metrics off the sorted list.
fn by_sorting(
    captions: &Array2<f32>,
    queries: &[i64],
    images: &Array2<f32>,
    gallery: &[i64],
) -> Option<RetrievalMetrics> {
    let mut sums = [0.0; 5];
    let mut matched = 0;
    for (caption, identity) in captions.rows().into_iter().zip(queries) {
        let scores: Vec<f32> = images.rows().into_iter().map(|image| image.dot(&caption)).collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&left, &right| scores[right].partial_cmp(&scores[left]).unwrap());
        let hits: Vec<usize> = order
            .iter()
            .enumerate()
            .filter(|&(_, &image)| gallery[image] == *identity)
            .map(|(place, _)| place)
            .collect();
        let (Some(&first), Some(&last)) = (hits.first(), hits.last()) else { continue };
        matched += 1;
        for (sum, count) in sums.iter_mut().zip([1, 5, 10]) {
            *sum += f64::from(u8::from(first < count));
        }
        let precision = |place: usize| hits.iter().filter(|&&hit| hit <= place).count() as f64 / (place + 1) as f64;
        sums[3] += hits.iter().map(|&hit| precision(hit)).sum::<f64>() / hits.len() as f64;
        sums[4] += hits.len() as f64 / (last + 1) as f64;
    }
    let [rank1, rank5, rank10, map, minp] = sums.map(|sum| 100.0 * sum / f64::from(matched));
    let unmatched_queries = queries.len() - matched as usize;
    let (queries, gallery) = (queries.len(), gallery.len());
    (matched > 0).then_some(RetrievalMetrics { rank1, rank5, rank10, map, minp, queries, gallery, unmatched_queries })
}

/// Rows of ±½ in four dimensions: exactly unit length, exact products, and many ties.
fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = (Array2<f32>, Vec<i64>)> {
    proptest::collection::vec((any::<[bool; 4]>(), 0i64..12), count).prop_map(|rows| {
        let values =
            rows.iter().flat_map(|(signs, _)| signs.map(|positive| if positive { 0.5 } else { -0.5 })).collect();
        let identities: Vec<i64> = rows.iter().map(|&(_, identity)| identity).collect();
        (Array2::from_shape_vec((rows.len(), 4), values).unwrap(), identities)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counting_equals_sorting((captions, queries) in rows(1..30), (images, gallery) in rows(1..60)) {
        let found = retrieval_metrics(captions.view(), &queries, images.view(), &gallery);
        match by_sorting(&captions, &queries, &images, &gallery) {
            None => prop_assert!(matches!(found, Err(EvaluationError::NothingMatches { .. })), "{:?}", found),
            Some(expected) => {
                let found = found.unwrap();
                for (found, expected) in [
                    (found.rank1, expected.rank1),
                    (found.rank5, expected.rank5),
                    (found.rank10, expected.rank10),
                    (found.map, expected.map),
                    (found.minp, expected.minp),
                ] {
                    prop_assert!(close(found, expected), "{} is not {}", found, expected);
                }
                prop_assert_eq!(found.unmatched_queries, expected.unmatched_queries);
            }
        }
    }
}
