//! Groups by their mean embeddings, without reading every image.
//!
//! The groups of the nearest images are candidates: their images are read and pooled here. Each stage ranks twice as many
//! groups as the one before, with [`CANDIDATES_OF_A_RANK`] times as many candidates as ranks. What stages there are does not
//! depend on how many hits are asked for, only how many of them are gone through; and what a later stage finds comes behind
//! what an earlier one ranked. So every ranking is the beginning of every longer one, and pages of hits go on where the last
//! page ended. A group is missed where its nearest image lies behind those of so many others: a search that is to be exact
//! reads all.

use super::QdrantStore;
use super::group_search::GroupSearch;
use super::pace::Purpose;
use super::ranked_group::RankedGroup;
use super::search::reaches;
use crate::{Generation, GroupBy, GroupHit, Grouping, NearestQuery, Pool, StoreError};
use std::cmp::Ordering;

/// Groups that the first stage ranks.
const FIRST_RANKS: usize = 32;

/// Candidates for each rank.
const CANDIDATES_OF_A_RANK: usize = 4;

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
        let mut search = GroupSearch::new(self, generation, &of_images, by, Purpose::Candidates);
        let (mut ranking, mut ranks) = (StagedRanking::default(), FIRST_RANKS);
        loop {
            let known = search.found().len();
            search.advance_to(ranks.saturating_mul(CANDIDATES_OF_A_RANK)).await?;
            let candidates = search.found().get(known..).unwrap_or_default();
            let pooled = self.by_their_means(generation, &query, by, candidates).await?;
            ranking.rank(pooled, if search.is_at_end() { usize::MAX } else { ranks });
            let is_below = |last: &RankedGroup| !reaches(&query, last.score);
            if search.is_at_end() || ranking.ranked.len() >= limit || ranking.ranked.last().is_some_and(is_below) {
                break;
            }
            ranks = ranks.saturating_mul(2);
        }
        let mut groups = ranking.ranked;
        groups.retain(|group| reaches(&query, group.score));
        groups.truncate(limit);
        self.told(generation, &query, by, groups).await
    }
}

/// A ranking that grows at its end alone.
#[derive(Debug, Default)]
struct StagedRanking {
    ranked: Vec<RankedGroup>,
    /// What came and has no rank yet, in its order.
    waiting: Vec<RankedGroup>,
}

impl StagedRanking {
    /// Fills the ranks up to this number. What comes too late for a better rank is left out.
    fn rank(&mut self, candidates: Vec<RankedGroup>, ranks: usize) {
        let last = self.ranked.last();
        let comes_behind = |group: &RankedGroup| last.is_none_or(|last| last.order(group) == Ordering::Less);
        self.waiting.extend(candidates.into_iter().filter(comes_behind));
        self.waiting.sort_by(RankedGroup::order);
        let free = ranks.saturating_sub(self.ranked.len()).min(self.waiting.len());
        self.ranked.extend(self.waiting.drain(..free));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ranking_is_the_beginning_of_every_longer_one() {
        let groups = |scores: &[(u32, f32)]| {
            let group =
                |(id, score): &(u32, f32)| RankedGroup::of_image((None, id.to_string()), id.to_string(), *score);
            scores.iter().map(group).collect::<Vec<_>>()
        };
        let mut ranking = StagedRanking::default();
        let mut ids = |candidates: &[(u32, f32)], ranks| {
            ranking.rank(groups(candidates), ranks);
            ranking.ranked.iter().map(|group| group.image_id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&[(1, 0.3), (2, 0.9), (3, 0.5), (4, 0.5)], 2), ["2", "3"]);
        assert_eq!(ids(&[(5, 0.95), (6, 0.4), (0, 0.5)], 4), ["2", "3", "4", "6"], "5 and 0 come too late");
        assert_eq!(ids(&[], usize::MAX), ["2", "3", "4", "6", "1"], "whoever waited has the last ranks");
    }
}
