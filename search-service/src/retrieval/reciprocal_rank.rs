//! Rankings of several parts become one by weighted reciprocal ranks (Cormack, Clarke and Büttcher, SIGIR 2009).

use super::groups::Group;
use descry_store::{GroupBy, GroupHit};
use std::collections::HashMap;

/// How much the first ranks differ from the next; the authors' value.
const SMOOTHING: f32 = 60.0;

/// An image or group with what each part gives it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FusedHit {
    pub(super) found: GroupHit,
    pub(super) contributions: Vec<f32>,
}

/// Fuses rankings of images, or of groups, each with the weight of its part. Hits carry the fused score; the image that
/// stands for a group is that of the part that gives it most. What no part of positive weight ranked is left out: being
/// unlike something is no reason.
pub(super) fn fuse(rankings: Vec<(f32, Vec<GroupHit>)>, by: Option<GroupBy>) -> Vec<FusedHit> {
    let parts = rankings.len();
    let mut fused: HashMap<Key, (FusedHit, bool)> = HashMap::new();
    for (part, (weight, hits)) in rankings.into_iter().enumerate() {
        for (rank, hit) in hits.into_iter().enumerate() {
            let Some(key) = Key::of(&hit, by) else { continue };
            let contribution = weight / (SMOOTHING + 1.0 + rank as f32);
            let (fused, is_wanted) = fused
                .entry(key)
                .or_insert_with(|| (FusedHit { found: hit.clone(), contributions: vec![0.0; parts] }, false));
            if fused.contributions.iter().all(|other| contribution > *other) {
                fused.found = hit;
            }
            fused.contributions[part] = contribution;
            *is_wanted |= weight > 0.0;
        }
    }
    let mut hits: Vec<FusedHit> = fused.into_values().filter(|(_, wanted)| *wanted).map(|(found, _)| found).collect();
    for fused in &mut hits {
        fused.found.score = fused.contributions.iter().sum();
    }
    let order =
        |a: &GroupHit, b: &GroupHit| b.score.total_cmp(&a.score).then_with(|| a.best.image_id.cmp(&b.best.image_id));
    hits.sort_by(|a, b| order(&a.found, &b.found));
    hits
}

/// What is one and the same in several rankings.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Image(String),
    Group(Group),
}

impl Key {
    fn of(hit: &GroupHit, by: Option<GroupBy>) -> Option<Self> {
        match by {
            None => Some(Self::Image(hit.best.image_id.clone())),
            Some(by) => Group::of(&hit.best.metadata, by).map(Self::Group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::groups::alone;
    use descry_store::{Hit, ImageMetadata};

    /// Images of persons who are called as the first letters of the images' ids.
    fn ranking(ids: &[&str]) -> Vec<GroupHit> {
        let hit = |id: &&str| Hit {
            image_id: (*id).to_owned(),
            score: 0.5,
            metadata: ImageMetadata { person_id: Some(id[..1].to_owned()), ..ImageMetadata::default() },
            embedding: None,
        };
        ids.iter().map(hit).map(alone).collect()
    }

    #[test]
    fn images_count_by_their_ranks() {
        let fused = fuse(vec![(1.0, ranking(&["a", "b", "c"])), (1.0, ranking(&["b", "d"]))], None);
        let ids: Vec<&str> = fused.iter().map(|fused| fused.found.best.image_id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "d", "c"]);
        assert_eq!(fused[0].contributions, [1.0 / 62.0, 1.0 / 61.0]);
        assert_eq!(fused[0].found.score, 1.0 / 62.0 + 1.0 / 61.0);
        assert_eq!(fused[1].contributions, [1.0 / 61.0, 0.0]);
    }

    #[test]
    fn a_negative_part_only_lowers() {
        let fused = fuse(vec![(1.0, ranking(&["a", "b"])), (-1.0, ranking(&["a", "x"]))], None);
        let ids: Vec<&str> = fused.iter().map(|fused| fused.found.best.image_id.as_str()).collect();
        assert_eq!(ids, ["b", "a"]);
    }

    #[test]
    fn a_person_counts_by_other_images_too() {
        let rankings = vec![(1.0, ranking(&["b1", "a1"])), (1.0, ranking(&["a2", "c1"]))];
        let fused = fuse(rankings, Some(GroupBy::Person));
        let ids: Vec<&str> = fused.iter().map(|fused| fused.found.best.image_id.as_str()).collect();
        assert_eq!(ids, ["a2", "b1", "c1"]);
        assert_eq!(fused[0].contributions, [1.0 / 62.0, 1.0 / 61.0]);
    }
}
