//! The numbers that papers on text-based person retrieval report.

use std::collections::HashMap;

use ndarray::ArrayView2;
use serde::Serialize;

use crate::similarity::{Partition, check_embeddings, map_captions, ranking_order};
use crate::{EmbeddingSide, EvaluationError};

/// Text-to-image retrieval quality, all captions against all images.
///
/// A caption is *matched* when the gallery has an image of its identity. Every mean is over matched captions only: the
/// metrics of the others are undefined (published code divides by zero there, and the published splits have none).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetrievalMetrics {
    /// Percentage of matched captions with an image of their identity ranked first.
    pub rank1: f64,
    /// Percentage of matched captions with an image of their identity among the first 5.
    pub rank5: f64,
    /// Percentage of matched captions with an image of their identity among the first 10.
    pub rank10: f64,
    /// Mean average precision, in percent: how early all images of the identity come.
    pub map: f64,
    /// Mean inverse negative penalty, in percent: how early the last image of the identity comes.
    pub minp: f64,
    /// Captions asked, matched or not.
    pub queries: usize,
    /// Images ranked for every caption.
    pub gallery: usize,
    /// Captions among `queries` without any image of their identity, left out of the means.
    #[serde(rename = "unmatched")]
    pub unmatched_queries: usize,
}

/// Ranks the gallery by cosine for every caption and averages how well the right images rank.
///
/// Ties rank by gallery order. Memory beyond the inputs is bounded by a block of scores per thread; the whole score
/// matrix never exists.
///
/// # Shapes
/// - `captions`: `[queries, dimension]` f32, rows L2-normalised; `caption_identities`: `[queries]`
/// - `images`: `[gallery, dimension]` f32, rows L2-normalised; `image_identities`: `[gallery]`
///
/// # Errors
/// - [`EvaluationError::LengthMismatch`], [`EvaluationError::DimensionMismatch`]: the inputs do not fit together
/// - [`EvaluationError::NotUnitLength`]: a row is not normalised, or holds NaN or infinity
/// - [`EvaluationError::NothingToScore`]: there are no captions or no images
/// - [`EvaluationError::NothingMatches`]: no caption has an image of its identity
pub fn retrieval_metrics(
    captions: ArrayView2<'_, f32>,
    caption_identities: &[i64],
    images: ArrayView2<'_, f32>,
    image_identities: &[i64],
) -> Result<RetrievalMetrics, EvaluationError> {
    check_inputs(captions, caption_identities, images, image_identities.len())?;
    let gallery = images.nrows();
    let images_of = group_by_identity(image_identities);
    let outcomes = map_captions(captions, images, Partition::for_gallery(gallery), |caption, scores| {
        let relevant = images_of.get(&caption_identities[caption])?;
        CaptionOutcome::from_ranks(&relevant_ranks(scores, relevant))
    });
    average(&outcomes, gallery)
}

/// Refuses what cannot be scored: captions, whose they are, images, and how many identities of images there are.
pub(crate) fn check_inputs(
    captions: ArrayView2<'_, f32>,
    caption_identities: &[i64],
    images: ArrayView2<'_, f32>,
    image_identities: usize,
) -> Result<(), EvaluationError> {
    check_identities(EmbeddingSide::Caption, captions, caption_identities.len())?;
    check_identities(EmbeddingSide::Image, images, image_identities)?;
    let (queries, gallery) = (captions.nrows(), images.nrows());
    if queries == 0 || gallery == 0 {
        return Err(EvaluationError::NothingToScore { queries, gallery });
    }
    check_embeddings(captions, images)
}

/// How well one matched caption did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CaptionOutcome {
    /// Rank of the best relevant image, from 1.
    first_rank: usize,
    /// Mean over relevant images of the precision at their rank, 0 to 1.
    average_precision: f64,
    /// Number of relevant images over the rank of the last, 0 to 1.
    inverse_negative_penalty: f64,
}

impl CaptionOutcome {
    /// `None` without relevant images. `ranks` ascend, from 1.
    pub(crate) fn from_ranks(ranks: &[usize]) -> Option<Self> {
        let (&first_rank, &last_rank) = (ranks.first()?, ranks.last()?);
        let precisions = ranks.iter().enumerate().map(|(before, &rank)| (before + 1) as f64 / rank as f64);
        Some(Self {
            first_rank,
            average_precision: precisions.sum::<f64>() / ranks.len() as f64,
            inverse_negative_penalty: ranks.len() as f64 / last_rank as f64,
        })
    }
}

/// Ranks of the relevant images, ascending from 1, without sorting the gallery.
pub(crate) fn relevant_ranks(scores: &[f32], relevant: &[usize]) -> Vec<usize> {
    let mut relevant = relevant.to_vec();
    relevant.sort_unstable_by(|&left, &right| ranking_order(scores, left, right));
    let Some(lowest_score) = relevant.last().map(|&last| scores[last]) else { return Vec::new() };
    // Images that come after the previous relevant image and not after this one, itself included.
    let mut ranks = vec![0; relevant.len()];
    for (image, &score) in scores.iter().enumerate() {
        if score < lowest_score {
            continue;
        }
        let position = relevant.partition_point(|&other| ranking_order(scores, other, image).is_lt());
        if let Some(count) = ranks.get_mut(position) {
            *count += 1;
        }
    }
    let mut rank = 0;
    for count in &mut ranks {
        rank += *count;
        *count = rank;
    }
    ranks
}

pub(crate) fn average(
    outcomes: &[Option<CaptionOutcome>],
    gallery: usize,
) -> Result<RetrievalMetrics, EvaluationError> {
    let matched: Vec<&CaptionOutcome> = outcomes.iter().flatten().collect();
    let queries = outcomes.len();
    if matched.is_empty() {
        return Err(EvaluationError::NothingMatches { queries, gallery });
    }
    let mean_percent = |value: fn(&CaptionOutcome) -> f64| {
        matched.iter().copied().map(value).sum::<f64>() * 100.0 / matched.len() as f64
    };
    let found_within = |count: usize| {
        matched.iter().filter(|outcome| outcome.first_rank <= count).count() as f64 * 100.0 / matched.len() as f64
    };
    Ok(RetrievalMetrics {
        rank1: found_within(1),
        rank5: found_within(5),
        rank10: found_within(10),
        map: mean_percent(|outcome| outcome.average_precision),
        minp: mean_percent(|outcome| outcome.inverse_negative_penalty),
        queries,
        gallery,
        unmatched_queries: queries - matched.len(),
    })
}

pub(crate) fn group_by_identity(identities: &[i64]) -> HashMap<i64, Vec<usize>> {
    let mut groups: HashMap<i64, Vec<usize>> = HashMap::new();
    for (image, &identity) in identities.iter().enumerate() {
        groups.entry(identity).or_default().push(image);
    }
    groups
}

fn check_identities(
    side: EmbeddingSide,
    embeddings: ArrayView2<'_, f32>,
    identities: usize,
) -> Result<(), EvaluationError> {
    let embeddings = embeddings.nrows();
    if embeddings == identities {
        Ok(())
    } else {
        Err(EvaluationError::LengthMismatch { side, embeddings, identities })
    }
}
