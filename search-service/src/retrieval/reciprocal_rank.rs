//! Rankings of several parts become one by weighted reciprocal ranks (Cormack, Clarke and Büttcher, SIGIR 2009).

use descry_store::Hit;
use std::collections::HashMap;

/// How much the first ranks differ from the next; the authors' value.
const SMOOTHING: f32 = 60.0;

/// An image with what each part gives it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FusedHit {
    pub(super) hit: Hit,
    pub(super) contributions: Vec<f32>,
}

/// Fuses rankings, each with the weight of its part. Hits carry the fused score. Images that no part of positive weight
/// ranked are left out: being unlike something is no reason.
pub(super) fn fuse(rankings: Vec<(f32, Vec<Hit>)>) -> Vec<FusedHit> {
    let parts = rankings.len();
    let mut fused: HashMap<String, (FusedHit, bool)> = HashMap::new();
    for (part, (weight, hits)) in rankings.into_iter().enumerate() {
        for (rank, hit) in hits.into_iter().enumerate() {
            let contribution = weight / (SMOOTHING + 1.0 + rank as f32);
            let (found, is_wanted) = fused
                .entry(hit.image_id.clone())
                .or_insert_with(|| (FusedHit { hit, contributions: vec![0.0; parts] }, false));
            found.contributions[part] = contribution;
            *is_wanted |= weight > 0.0;
        }
    }
    let mut hits: Vec<FusedHit> = fused.into_values().filter(|(_, wanted)| *wanted).map(|(found, _)| found).collect();
    for found in &mut hits {
        found.hit.score = found.contributions.iter().sum();
    }
    hits.sort_by(|a, b| b.hit.score.total_cmp(&a.hit.score).then_with(|| a.hit.image_id.cmp(&b.hit.image_id)));
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_store::ImageMetadata;

    fn ranking(ids: &[&str]) -> Vec<Hit> {
        let hit = |id: &&str| Hit {
            image_id: (*id).to_owned(),
            score: 0.5,
            metadata: ImageMetadata::default(),
            embedding: None,
        };
        ids.iter().map(hit).collect()
    }

    #[test]
    fn images_count_by_their_ranks() {
        let fused = fuse(vec![(1.0, ranking(&["a", "b", "c"])), (1.0, ranking(&["b", "d"]))]);
        let ids: Vec<&str> = fused.iter().map(|found| found.hit.image_id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "d", "c"]);
        assert_eq!(fused[0].contributions, [1.0 / 62.0, 1.0 / 61.0]);
        assert_eq!(fused[0].hit.score, 1.0 / 62.0 + 1.0 / 61.0);
        assert_eq!(fused[1].contributions, [1.0 / 61.0, 0.0]);
    }

    #[test]
    fn a_negative_part_only_lowers() {
        let fused = fuse(vec![(1.0, ranking(&["a", "b"])), (-1.0, ranking(&["a", "x"]))]);
        let ids: Vec<&str> = fused.iter().map(|found| found.hit.image_id.as_str()).collect();
        assert_eq!(ids, ["b", "a"]);
    }
}
