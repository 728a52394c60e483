//! Hits that stand for a group of images: a person, or the passage of one before a camera.

use crate::{Hit, ImageMetadata};
use descry_model::Embedding;

/// What a hit stands for besides an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// The images of one person. Images without person are left out.
    Person,
    /// The images of one track of one camera: a tracker counts anew for each camera, so the same name before two cameras
    /// means two tracks. Images without camera are taken for one camera's. Images without track are left out.
    Track,
}

/// How a group is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pool {
    /// By its best image.
    Best,
    /// By the mean embedding of those of its images that meet the filter, brought to unit length. A group whose
    /// embeddings cancel each other out has no direction, and is left out. A store that does not find everything may take
    /// the mean of some of very many images, unless the query is exact; [`GroupHit::images`] says of how many.
    Mean,
}

/// Which groups are ranked, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grouping {
    /// What makes a group.
    pub by: GroupBy,
    /// How it is scored.
    pub pool: Pool,
}

/// A found group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupHit {
    /// The group's best image; its score is its own cosine.
    pub best: Hit,
    /// The group's score: by [`Pool::Best`] that of its best image, by [`Pool::Mean`] the cosine of the mean embedding.
    pub score: f32,
    /// The embedding that the score comes from, where the query asked for embeddings.
    pub embedding: Option<Embedding>,
    /// How many of its images were pooled, where that is known: by [`Pool::Mean`] always.
    pub images: Option<u64>,
}

impl GroupHit {
    /// A group by its best image alone.
    #[must_use]
    pub fn of_best(best: Hit) -> Self {
        Self { score: best.score, embedding: best.embedding.clone(), images: None, best }
    }
}

/// What tells one group from another.
pub(crate) type GroupKey = (Option<String>, String);

impl GroupBy {
    /// The group of an image, if it has one.
    pub(crate) fn key(self, metadata: &ImageMetadata) -> Option<GroupKey> {
        match self {
            Self::Person => metadata.person_id.clone().map(|person| (None, person)),
            Self::Track => metadata.track_id.clone().map(|track| (metadata.camera_id.clone(), track)),
        }
    }
}

/// Groups in their order: by falling score, equal ones by rising id of the best image.
pub(crate) fn sort_groups(groups: &mut [GroupHit]) {
    groups.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.best.image_id.cmp(&b.best.image_id)));
}

/// The sum of the embeddings of a group, of which only the direction counts.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddingSum {
    /// `[dimension]`: float64, so that the order of the images makes no difference.
    values: Vec<f64>,
    pub(crate) images: u64,
}

/// A mean shorter than this is rounding, and has no direction.
const SHORTEST_MEAN: f64 = 1e-6;

impl EmbeddingSum {
    pub(crate) fn new(dimension: usize) -> Self {
        Self { values: vec![0.0; dimension], images: 0 }
    }

    /// # Shapes
    /// - `embedding`: `[dimension]` f32, unit length
    pub(crate) fn add(&mut self, embedding: &[f32]) {
        self.images += 1;
        self.values.iter_mut().zip(embedding).for_each(|(sum, value)| *sum += f64::from(*value));
    }

    /// The mean brought to unit length, and how long it was, 0..=1: 1 where all images are alike. `None` without direction.
    pub(crate) fn mean(&self) -> Option<(Embedding, f64)> {
        let count = self.images.max(1) as f64;
        let mean: Vec<f32> = self.values.iter().map(|sum| (sum / count) as f32).collect();
        let length = mean.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if length < SHORTEST_MEAN {
            return None;
        }
        Embedding::normalized(mean).ok().map(|embedding| (embedding, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_the_direction_of_the_sum() {
        let mut sum = EmbeddingSum::new(2);
        sum.add(&[1.0, 0.0]);
        sum.add(&[0.0, 1.0]);
        let (mean, length) = sum.mean().unwrap();
        let half = std::f64::consts::FRAC_1_SQRT_2;
        assert!((length - half).abs() < 1e-6);
        assert!(mean.as_slice().iter().all(|value| (f64::from(*value) - half).abs() < 1e-6));
        sum.add(&[-1.0, 0.0]);
        sum.add(&[0.0, -1.0]);
        assert!(sum.mean().is_none(), "no direction is left");
    }

    #[test]
    fn a_track_counts_within_its_camera() {
        let image = |camera: Option<&str>, track: &str| ImageMetadata {
            camera_id: camera.map(str::to_owned),
            track_id: Some(track.to_owned()),
            ..ImageMetadata::default()
        };
        let keys = [image(Some("a"), "b/1"), image(Some("a/b"), "1"), image(None, "1"), image(Some(""), "1")];
        let keys: std::collections::HashSet<_> = keys.iter().filter_map(|image| GroupBy::Track.key(image)).collect();
        assert_eq!(keys.len(), 4, "ids that look alike stay apart");
        assert_eq!(GroupBy::Track.key(&ImageMetadata::default()), None);
    }
}
