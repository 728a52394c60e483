//! The images of groups, read page by page: the names of each, and its embedding.

use super::QdrantStore;
use super::collection::collection_name;
use super::group_names::{name_fields, names_from_payload, these_groups};
use super::points::embedding_from;
use super::ranked_group::RankedGroup;
use crate::grouping::{EmbeddingSum, GroupKey};
use crate::{Generation, GroupBy, NearestQuery, StoreError};
use descry_model::Embedding;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use qdrant_client::qdrant::{Filter, PointId, ScrollPoints};
use std::collections::HashMap;

/// The most images of which a mean is taken, where the search is not exact. Pages come in the order of ids that are hashes, so
/// these are a sample that nobody chose, and the same one for each search.
pub(super) const MAX_POOLED_IMAGES: u64 = 256;

/// Groups whose images come on the same pages, and how many such questions are asked at the same time.
const GROUPS_OF_A_QUESTION: usize = 32;
const CONCURRENT_QUESTIONS: usize = 4;

/// Most images of a page, and bytes of its embeddings.
const PAGE_IMAGES: usize = 500;
const PAGE_BYTES: usize = 2 << 20;

/// An image of a group.
pub(super) struct GroupImage {
    pub(super) group: GroupKey,
    pub(super) image_id: String,
    pub(super) embedding: Embedding,
}

impl QdrantStore {
    /// Some of the images that meet a filter and are in groups, and where to go on.
    pub(super) async fn group_images(
        &self,
        generation: &Generation,
        by: GroupBy,
        filter: Filter,
        after: Option<PointId>,
    ) -> Result<(Vec<GroupImage>, Option<PointId>), StoreError> {
        let address = generation.address();
        let fitting = PAGE_BYTES / (generation.dimension * size_of::<f32>()).max(1);
        let scroll = ScrollPoints {
            collection_name: collection_name(&address),
            filter: Some(filter),
            offset: after,
            limit: Some(fitting.clamp(1, PAGE_IMAGES) as u32),
            with_payload: Some(name_fields(by).into()),
            with_vectors: Some(true.into()),
            ..ScrollPoints::default()
        };
        let answer =
            self.read("reading the images of groups", Some(&address), |client| client.scroll(scroll.clone())).await?;
        let mut images = Vec::with_capacity(answer.result.len());
        for point in answer.result {
            if let Some((group, image_id)) = names_from_payload(&address, by, point.payload)? {
                let embedding = embedding_from(&address, point.vectors.unwrap_or_default())?;
                images.push(GroupImage { group, image_id, embedding });
            }
        }
        Ok((images, answer.next_page_offset))
    }

    /// Groups by the means of at most [`MAX_POOLED_IMAGES`] of their images that meet the query's filter. Those of which no
    /// image is left, or whose mean has no direction, are left out.
    pub(super) async fn by_their_means(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        by: GroupBy,
        groups: &[RankedGroup],
    ) -> Result<Vec<RankedGroup>, StoreError> {
        let questions = groups.chunks(GROUPS_OF_A_QUESTION).map(|groups| self.pooled(generation, query, by, groups));
        let questions: Vec<_> = questions.collect();
        let pooled: Vec<Vec<RankedGroup>> =
            futures::stream::iter(questions).buffered(CONCURRENT_QUESTIONS).try_collect().await?;
        Ok(pooled.into_iter().flatten().collect())
    }

    async fn pooled(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        by: GroupBy,
        groups: &[RankedGroup],
    ) -> Result<Vec<RankedGroup>, StoreError> {
        let filter = self.conditions(generation, &query.filter)?;
        let mut sums: HashMap<&GroupKey, EmbeddingSum> = HashMap::new();
        let mut after = None;
        loop {
            // A group that has enough is not asked for again, so that it takes no page from others.
            let is_open = |group: &&RankedGroup| {
                sums.get(&group.group).is_none_or(|sum: &EmbeddingSum| sum.images < MAX_POOLED_IMAGES)
            };
            let open: HashMap<&GroupKey, &GroupKey> =
                groups.iter().filter(is_open).map(|group| (&group.group, &group.group)).collect();
            if open.is_empty() {
                break;
            }
            let of_open = these_groups(by, filter.clone(), open.keys().copied());
            let (images, next) = self.group_images(generation, by, of_open, after).await?;
            for image in images {
                let Some(&group) = open.get(&image.group) else { continue };
                let sum = sums.entry(group).or_insert_with(|| EmbeddingSum::new(generation.dimension));
                if sum.images < MAX_POOLED_IMAGES {
                    sum.add(image.embedding.as_slice());
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let by_mean = |group: &RankedGroup| group.clone().by_mean(sums.get(&group.group)?, query);
        Ok(groups.iter().filter_map(by_mean).collect())
    }
}
