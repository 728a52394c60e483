//! The nearest image of each person or track, and what is known of the images that stand for groups.

use super::QdrantStore;
use super::group_search::GroupSearch;
use super::pace::Purpose;
use super::points::{embedding_from, image_from_payload};
use super::ranked_group::RankedGroup;
use super::search::reaches;
use crate::{Generation, GroupBy, GroupHit, Grouping, Hit, ImageMetadata, NearestQuery, Pool, StoreError};
use descry_model::Embedding;
use std::collections::HashMap;

impl QdrantStore {
    pub(super) async fn groups_by_best(
        &self,
        generation: &Generation,
        query: NearestQuery,
        by: GroupBy,
    ) -> Result<Vec<GroupHit>, StoreError> {
        let limit = self.checked_limit(generation, &query).await?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut search = GroupSearch::new(self, generation, &query, by, Purpose::Hits);
        search.advance_to(limit).await?;
        if search.is_cut_short() && search.found().len() < limit && query.exact {
            return self.nearest_of_all_groups(generation, &query, Grouping { by, pool: Pool::Best }).await;
        }
        let mut groups = search.into_found();
        groups.sort_by(RankedGroup::order);
        groups.retain(|group| reaches(&query, group.score));
        groups.truncate(limit);
        self.told(generation, &query, by, groups).await
    }

    /// Groups with what is known of their best images, in the same order. Those whose best image was removed meanwhile, or is in
    /// another group now, are left out.
    pub(super) async fn told(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        by: GroupBy,
        groups: Vec<RankedGroup>,
    ) -> Result<Vec<GroupHit>, StoreError> {
        let address = generation.address();
        let unread = groups.iter().filter(|group| group.best.is_none());
        let unread: Vec<String> = unread.map(|group| group.image_id.clone()).collect();
        let mut read: HashMap<String, (ImageMetadata, Option<Embedding>)> = HashMap::new();
        for point in self.get(generation, &unread, query.with_embeddings).await? {
            let embedding = point.vectors.map(|vectors| embedding_from(&address, vectors)).transpose()?;
            let (image_id, metadata) = image_from_payload(&address, point.payload)?;
            read.insert(image_id, (metadata, embedding));
        }
        let told = groups.into_iter().filter_map(|ranked| {
            let RankedGroup { group, image_id, image_score, score, mean, best } = ranked;
            let best = match best {
                Some(best) => best,
                None => {
                    let (metadata, embedding) = read.remove(&image_id)?;
                    Hit { image_id, score: image_score, metadata, embedding }
                }
            };
            if by.key(&best.metadata) != Some(group) {
                return None;
            }
            Some(match mean {
                None => GroupHit::of_best(best),
                Some(mean) => GroupHit { best, score, embedding: mean.embedding, images: Some(mean.images) },
            })
        });
        Ok(told.collect())
    }
}
