//! A group that has a score, before it is told with all that is known of its best image.

use crate::grouping::{EmbeddingSum, GroupKey};
use crate::{Hit, NearestQuery};
use descry_model::Embedding;
use std::cmp::Ordering;

/// A group by its names and scores.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RankedGroup {
    pub(super) group: GroupKey,
    /// Its image that is nearest to the query.
    pub(super) image_id: String,
    /// The cosine of that image.
    pub(super) image_score: f32,
    /// Its own score.
    pub(super) score: f32,
    /// Where its score is that of a mean.
    pub(super) mean: Option<GroupMean>,
    /// That image with all that is to be told of it, where it is read already.
    pub(super) best: Option<Hit>,
}

/// What a mean is of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GroupMean {
    /// The mean itself, where the query asks for embeddings.
    pub(super) embedding: Option<Embedding>,
    /// How many images were pooled.
    pub(super) images: u64,
}

impl RankedGroup {
    /// A group by one of its images.
    pub(super) fn of_image(group: GroupKey, image_id: String, cosine: f32) -> Self {
        let cosine = told_cosine(cosine);
        Self { group, image_id, image_score: cosine, score: cosine, mean: None, best: None }
    }

    /// A group by one of its images that is read whole.
    pub(super) fn of_hit(group: GroupKey, hit: Hit) -> Self {
        Self { best: Some(hit.clone()), ..Self::of_image(group, hit.image_id, hit.score) }
    }

    /// The group by the mean of its images; `None` where that has no direction.
    pub(super) fn by_mean(self, sum: &EmbeddingSum, query: &NearestQuery) -> Option<Self> {
        let (mean, _length) = sum.mean()?;
        let score = told_cosine(mean.cosine(&query.embedding).unwrap_or_default());
        let embedding = query.with_embeddings.then_some(mean);
        Some(Self { score, mean: Some(GroupMean { embedding, images: sum.images }), ..self })
    }

    /// By falling score, equal ones by rising id of the best image.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.image_id.cmp(&other.image_id))
    }
}

/// Rounding may exceed 1 a little. Adding zero turns -0 to 0, which would otherwise break ties.
pub(super) fn told_cosine(cosine: f32) -> f32 {
    cosine.clamp(-1.0, 1.0) + 0.0
}
