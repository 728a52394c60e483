//! Groups by their mean embeddings, without reading every image.
//!
//! The groups of the nearest images are candidates: all of their images are read, page after page, and pooled here. A
//! group of which no image came along has images of at most the cosine `c` of the last one that came. The mean of such
//! images has at most the cosine `c / r` where it is `r` long before it is brought to unit length (1 where all images of the
//! group are alike, less the less they have in common), and `c` where that is negative. How long the means of groups are that
//! were not read is not known; the shortest of those that were read is taken for it. Where the last group that is wanted
//! scores higher than that, the ranking is settled. Otherwise the search goes deeper, [`IMAGES_OF_A_GROUP`] images for each
//! group at last, and what lies deeper is given up: a search that is to be exact reads all.

use super::QdrantStore;
use super::best_images::IMAGES_OF_A_GROUP;
use super::groups::{GatheredGroups, reaches};
use crate::grouping::{GroupKey, sort_groups};
use crate::{Generation, GroupBy, GroupHit, Grouping, NearestQuery, Pool, StoreError};
use std::collections::HashSet;

/// Groups whose images are asked for at once.
const GROUPS_PER_REQUEST: usize = 256;

impl QdrantStore {
    pub(super) async fn groups_by_mean(
        &self,
        generation: &Generation,
        query: NearestQuery,
        by: GroupBy,
    ) -> Result<Vec<GroupHit>, StoreError> {
        if query.exact {
            return self.nearest_of_all_groups(generation, &query, Grouping { by, pool: Pool::Mean }).await;
        }
        let limit = self.checked_limit(generation, &query).await?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        // The mean of a group may be nearer than each of its images.
        let of_images = NearestQuery { min_score: None, with_embeddings: false, ..query.clone() };
        let mut known: HashSet<GroupKey> = HashSet::new();
        let mut found: Vec<GroupHit> = Vec::new();
        let mut shortest = 1.0_f64;
        for images in IMAGES_OF_A_GROUP {
            let asked = limit.saturating_mul(images).saturating_add(1);
            let hits = self.query(generation, &of_images, asked).await?;
            let (is_all, last_cosine) = (hits.len() < asked, hits.last().map_or(-1.0, |hit| hit.score));
            let keys = hits.iter().filter_map(|hit| by.key(&hit.metadata));
            let new: Vec<GroupKey> = keys.filter(|key| known.insert(key.clone())).collect();
            for groups in new.chunks(GROUPS_PER_REQUEST) {
                let mut gathered = GatheredGroups::new();
                self.gather_means(generation, &query, by, groups, &mut gathered).await?;
                for (group, length) in gathered.into_values().filter_map(|gathered| gathered.into_hit(&query)) {
                    shortest = shortest.min(length);
                    found.extend(Some(group).filter(|group| reaches(&query, group)));
                }
                sort_groups(&mut found);
                found.truncate(limit);
            }
            let last_wanted = found.get(limit - 1).map(|group| group.score).or(query.min_score);
            if is_all || is_settled(last_wanted, last_cosine, shortest) {
                break;
            }
        }
        Ok(found)
    }
}

/// Whether no group whose images all are at most this near can come before the last one that is wanted.
fn is_settled(last_wanted: Option<f32>, last_cosine: f32, shortest_mean: f64) -> bool {
    let highest = if last_cosine > 0.0 { f64::from(last_cosine) / shortest_mean } else { f64::from(last_cosine) };
    last_wanted.is_some_and(|score| highest < f64::from(score))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_may_be_nearer_than_its_images() {
        assert!(is_settled(Some(0.5), 0.3, 0.8), "0.375 at most");
        assert!(!is_settled(Some(0.37), 0.3, 0.8));
        assert!(!is_settled(Some(0.5), 0.5, 1.0), "equally near ones are told apart by their ids");
        assert!(is_settled(Some(-0.1), -0.2, 0.5), "the mean of images that point away points further away");
        assert!(!is_settled(None, -1.0, 1.0), "there are fewer than are wanted");
    }
}
