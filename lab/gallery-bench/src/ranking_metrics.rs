//! The numbers that papers report, from rankings that somebody else made.

use crate::GalleryBenchError;
use descry_evaluation::{EvaluationError, RetrievalMetrics};
use std::collections::HashMap;

/// Scores rankings as `descry_evaluation::retrieval_metrics` scores embeddings. `rankings` hold, for each caption, the
/// rows of the images that were found, best first; an image that was not found adds nothing to the precision.
pub(crate) fn ranking_metrics(
    rankings: &[Vec<usize>],
    caption_identities: &[i64],
    image_identities: &[i64],
) -> Result<RetrievalMetrics, GalleryBenchError> {
    let mut images_of: HashMap<i64, usize> = HashMap::new();
    image_identities.iter().for_each(|&identity| *images_of.entry(identity).or_default() += 1);
    let mut scores = Vec::new();
    for (ranking, identity) in rankings.iter().zip(caption_identities) {
        let Some(&relevant) = images_of.get(identity) else { continue };
        let is_relevant = |row: &usize| image_identities.get(*row) == Some(identity);
        let ranks: Vec<usize> =
            ranking.iter().enumerate().filter(|(_, row)| is_relevant(row)).map(|(place, _)| place + 1).collect();
        scores.push(CaptionScore::new(&ranks, relevant));
    }
    let (queries, gallery) = (rankings.len(), image_identities.len());
    if scores.is_empty() {
        return Err(EvaluationError::NothingMatches { queries, gallery }.into());
    }
    let percent = |sum: f64| sum * 100.0 / scores.len() as f64;
    let within = |count: usize| {
        percent(scores.iter().filter(|score| score.first_rank.is_some_and(|rank| rank <= count)).count() as f64)
    };
    Ok(RetrievalMetrics {
        rank1: within(1),
        rank5: within(5),
        rank10: within(10),
        map: percent(scores.iter().map(|score| score.average_precision).sum()),
        minp: percent(scores.iter().map(|score| score.inverse_negative_penalty).sum()),
        queries,
        gallery,
        unmatched_queries: queries - scores.len(),
    })
}

/// How well a caption did whose person is in the gallery.
struct CaptionScore {
    first_rank: Option<usize>,
    average_precision: f64,
    inverse_negative_penalty: f64,
}

impl CaptionScore {
    /// `ranks` of the relevant images that were found, rising from 1; `relevant` are in the gallery.
    fn new(ranks: &[usize], relevant: usize) -> Self {
        let precisions = ranks.iter().enumerate().map(|(before, &rank)| (before + 1) as f64 / rank as f64);
        let all_found = ranks.last().filter(|_| ranks.len() == relevant);
        Self {
            first_rank: ranks.first().copied(),
            average_precision: precisions.sum::<f64>() / relevant as f64,
            inverse_negative_penalty: all_found.map_or(0.0, |&last| relevant as f64 / last as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact_search::matrix;
    use crate::synthetic_gallery::{GalleryShape, SyntheticGallery};

    #[test]
    fn whole_rankings_score_as_their_embeddings_do() {
        let shape = GalleryShape { dimension: 8, identities: 12, clusters: 0, seed: 5 };
        let gallery = SyntheticGallery::new(shape).unwrap();
        let (images, queries) = (gallery.images(0..40).unwrap(), gallery.queries(30, 40).unwrap());
        let image_identities: Vec<i64> = (0..40).map(|row| row % 12).collect();
        // Identity 99 is nobody's.
        let caption_identities: Vec<i64> = (0..30).map(|row| if row == 3 { 99 } else { row % 12 }).collect();
        let rankings: Vec<Vec<usize>> = queries
            .iter()
            .map(|query| {
                let score = |row: usize| query.cosine(&images[row].embedding).unwrap();
                let mut rows: Vec<usize> = (0..40).collect();
                rows.sort_by(|&left, &right| score(right).total_cmp(&score(left)));
                rows
            })
            .collect();
        let found = ranking_metrics(&rankings, &caption_identities, &image_identities).unwrap();
        let captions = matrix(queries.iter()).unwrap();
        let gallery = matrix(images.iter().map(|image| &image.embedding)).unwrap();
        let expected = descry_evaluation::retrieval_metrics(
            captions.view(),
            &caption_identities,
            gallery.view(),
            &image_identities,
        )
        .unwrap();
        let pairs = [
            (found.rank1, expected.rank1),
            (found.rank5, expected.rank5),
            (found.rank10, expected.rank10),
            (found.map, expected.map),
            (found.minp, expected.minp),
        ];
        for (found, expected) in pairs {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        assert_eq!((found.queries, found.gallery, found.unmatched_queries), (30, 40, 1));
    }

    #[test]
    fn what_was_not_found_adds_nothing() {
        let metrics = ranking_metrics(&[vec![0], vec![]], &[1, 2], &[1, 1, 2]).unwrap();
        assert_eq!((metrics.rank1, metrics.map, metrics.minp), (50.0, 25.0, 0.0));
        assert!(ranking_metrics(&[vec![0]], &[7], &[1]).is_err());
    }
}
