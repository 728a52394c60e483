//! Retrieval of people and tracks instead of images.

use std::collections::HashMap;
use std::hash::Hash;

use ndarray::{Array2, ArrayView2, Axis};

use crate::retrieval_metrics::{CaptionOutcome, average, check_inputs, group_by_identity, relevant_ranks};
use crate::similarity::{Partition, map_captions};
use crate::{EvaluationError, RetrievalMetrics};

/// How a group of images is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupPool {
    /// By the best of its images.
    Best,
    /// By the mean of its images' embeddings, brought to unit length.
    Mean,
}

/// Which images of a gallery belong together. Groups come in the order of their first images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageGroups {
    /// Of each group, its images' places in the gallery.
    members: Vec<Vec<usize>>,
    /// Of each group, whom its images show.
    identities: Vec<i64>,
    images: usize,
}

impl ImageGroups {
    /// One group for each person.
    #[must_use]
    pub fn of_people(image_identities: &[i64]) -> Self {
        Self::by(image_identities, image_identities.iter())
    }

    /// One group for each person and camera: what a tracker that loses nobody makes of a camera's images. `cameras` has
    /// the camera of each image.
    #[must_use]
    pub fn of_tracks(image_identities: &[i64], cameras: &[&str]) -> Self {
        Self::by(image_identities, image_identities.iter().zip(cameras))
    }

    fn by<Key: Hash + Eq>(image_identities: &[i64], keys: impl Iterator<Item = Key>) -> Self {
        let (mut members, mut identities) = (Vec::<Vec<usize>>::new(), Vec::new());
        let mut places = HashMap::new();
        for (image, (key, &identity)) in keys.zip(image_identities).enumerate() {
            let place = *places.entry(key).or_insert_with(|| {
                members.push(Vec::new());
                identities.push(identity);
                members.len() - 1
            });
            members[place].push(image);
        }
        Self { members, identities, images: image_identities.len() }
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// `[groups, dimension]`: means of unit length. Embeddings that cancel each other out leave a row of zeros, which is
    /// like nothing at all.
    fn means(&self, images: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut means = Array2::zeros((self.len(), images.ncols()));
        for (mut mean, members) in means.outer_iter_mut().zip(&self.members) {
            for &image in members {
                mean += &images.row(image);
            }
            let length = mean.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            if length > f64::EPSILON {
                mean.mapv_inplace(|value| (f64::from(value) / length) as f32);
            }
        }
        means
    }
}

/// As [`retrieval_metrics`](crate::retrieval_metrics), with groups of images in place of images: `gallery` counts groups,
/// and a group is right for a caption when it shows the caption's person. Ties rank by the order of groups.
///
/// By person exactly one group is right. Its average precision and its inverse negative penalty are then one and the
/// same, one over its rank, so mAP and mINP both are the mean reciprocal rank. Neither compares with that of images, which
/// asks for several right ones; Rank-1 with the best image is that of images by definition.
///
/// # Shapes
/// - `captions`: `[queries, dimension]` f32, rows L2-normalised; `caption_identities`: `[queries]`
/// - `images`: `[gallery, dimension]` f32, rows L2-normalised; `groups`: of so many images
///
/// # Errors
/// As for [`retrieval_metrics`](crate::retrieval_metrics).
pub fn grouped_metrics(
    captions: ArrayView2<'_, f32>,
    caption_identities: &[i64],
    images: ArrayView2<'_, f32>,
    groups: &ImageGroups,
    pool: GroupPool,
) -> Result<RetrievalMetrics, EvaluationError> {
    check_inputs(captions, caption_identities, images, groups.images)?;
    let groups_of = group_by_identity(&groups.identities);
    let outcome = |caption: usize, scores: &[f32]| {
        let relevant = groups_of.get(&caption_identities[caption])?;
        CaptionOutcome::from_ranks(&relevant_ranks(scores, relevant))
    };
    let outcomes = match pool {
        GroupPool::Best => {
            map_captions(captions, images, Partition::for_gallery(images.nrows()), |caption, of_images| {
                let best =
                    |members: &Vec<usize>| members.iter().map(|&image| of_images[image]).fold(f32::MIN, f32::max);
                outcome(caption, &groups.members.iter().map(best).collect::<Vec<f32>>())
            })
        }
        GroupPool::Mean => {
            let means = groups.means(images);
            map_captions(captions, means.view(), Partition::for_gallery(means.len_of(Axis(0))), outcome)
        }
    };
    average(&outcomes, groups.len())
}
