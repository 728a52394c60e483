//! Groups scored by all of their images: read page by page, and pooled here.

use super::QdrantStore;
use crate::grouping::{EmbeddingSum, GroupKey, sort_groups};
use crate::{
    GalleryImage, Generation, GroupBy, GroupHit, Grouping, Hit, NearestQuery, PageRequest, Pool, SearchFilter,
    StoreError, VectorStore as _,
};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// Images of one page, with their embeddings.
const PAGE_IMAGES: usize = 1_000;

/// Bytes that the sums of one pass may take. Where the groups need more, the images are read in several passes, each for
/// the groups of its share.
const MAX_SUM_BYTES: usize = 256 << 20;

/// What is known of a group while its images come.
pub(super) struct Gathered {
    /// Where means are asked for.
    sum: Option<EmbeddingSum>,
    best: Hit,
}

pub(super) type GatheredGroups = HashMap<GroupKey, Gathered>;

impl QdrantStore {
    /// Groups by scoring each of them: every image that meets the filter is read.
    pub(super) async fn nearest_of_all_groups(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        grouping: Grouping,
    ) -> Result<Vec<GroupHit>, StoreError> {
        generation.require_model(&query.fingerprint, query.embedding.dimension())?;
        self.conditions(generation, &query.filter)?;
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        let mut shares = 1_u64;
        loop {
            if let Some(found) = self.nearest_by_shares(generation, query, grouping, shares).await? {
                return Ok(found);
            }
            shares *= 2;
        }
    }

    /// Reads all images once for each share of the groups; `None` where the sums of a share would take too much room.
    async fn nearest_by_shares(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        grouping: Grouping,
        shares: u64,
    ) -> Result<Option<Vec<GroupHit>>, StoreError> {
        let mut found = Vec::new();
        for share in 0..shares {
            let Some(gathered) = self.gather(generation, query, grouping, (share, shares)).await? else {
                return Ok(None);
            };
            let scored = gathered.into_values().filter_map(|gathered| gathered.into_hit(query));
            found.extend(scored.map(|(group, _)| group).filter(|group| reaches(query, group)));
            sort_groups(&mut found);
            found.truncate(query.limit);
        }
        Ok(Some(found))
    }

    /// The groups of one share; `None` where their sums would take too much room.
    async fn gather(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        grouping: Grouping,
        (share, shares): (u64, u64),
    ) -> Result<Option<GatheredGroups>, StoreError> {
        let bytes_per_group = match grouping.pool {
            Pool::Best => 0,
            Pool::Mean => query.embedding.dimension() * size_of::<f64>(),
        };
        let mut gathered = GatheredGroups::new();
        let mut request = PageRequest { filter: query.filter.clone(), after: None, limit: PAGE_IMAGES };
        loop {
            let page = self.page(generation, request.clone()).await?;
            for image in page.images {
                if let Some(key) = grouping.by.key(&image.metadata).filter(|key| share_of(key, shares) == share) {
                    add(&mut gathered, key, image, query, grouping.pool);
                }
            }
            if gathered.len() * bytes_per_group > MAX_SUM_BYTES && gathered.len() > 1 {
                return Ok(None);
            }
            request.after = page.next;
            if request.after.is_none() {
                return Ok(Some(gathered));
            }
        }
    }

    /// Adds whole groups by the means of all of their images that meet the query's filter.
    pub(super) async fn gather_means(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        by: GroupBy,
        groups: &[GroupKey],
        gathered: &mut GatheredGroups,
    ) -> Result<(), StoreError> {
        let of_groups: HashSet<&GroupKey> = groups.iter().collect();
        let filter = SearchFilter { all: vec![by.filter(groups), query.filter.clone()], ..SearchFilter::default() };
        let mut request = PageRequest { filter, after: None, limit: PAGE_IMAGES };
        loop {
            let page = self.page(generation, request.clone()).await?;
            for image in page.images {
                if let Some(key) = by.key(&image.metadata).filter(|key| of_groups.contains(key)) {
                    add(gathered, key, image, query, Pool::Mean);
                }
            }
            request.after = page.next;
            if request.after.is_none() {
                return Ok(());
            }
        }
    }
}

fn add(gathered: &mut GatheredGroups, key: GroupKey, image: GalleryImage, query: &NearestQuery, pool: Pool) {
    let GalleryImage { image_id, embedding, metadata } = image;
    let score = embedding.cosine(&query.embedding).unwrap_or_default().clamp(-1.0, 1.0) + 0.0;
    let kept = query.with_embeddings.then(|| embedding.clone());
    let hit = Hit { image_id, score, metadata, embedding: kept };
    let group = match gathered.entry(key) {
        Entry::Occupied(group) => {
            let group = group.into_mut();
            if (hit.score, &group.best.image_id) > (group.best.score, &hit.image_id) {
                group.best = hit;
            }
            group
        }
        Entry::Vacant(place) => {
            let sum = (pool == Pool::Mean).then(|| EmbeddingSum::new(embedding.dimension()));
            place.insert(Gathered { sum, best: hit })
        }
    };
    if let Some(sum) = &mut group.sum {
        sum.add(embedding.as_slice());
    }
}

/// The share that a group belongs to: always the same one, so that each pass sees whole groups.
fn share_of(key: &GroupKey, shares: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key) % shares
}

impl Gathered {
    /// The group's score and what it comes from, and how long the mean was: 1 where all images are alike. `None` where it
    /// has no direction.
    pub(super) fn into_hit(self, query: &NearestQuery) -> Option<(GroupHit, f64)> {
        let Self { sum, best } = self;
        let Some(sum) = sum else { return Some((GroupHit::of_best(best), 1.0)) };
        let (mean, length) = sum.mean()?;
        let score = mean.cosine(&query.embedding).unwrap_or_default().clamp(-1.0, 1.0) + 0.0;
        let embedding = query.with_embeddings.then_some(mean);
        Some((GroupHit { best, score, embedding, images: Some(sum.images) }, length))
    }
}

/// Whether a group may be told of.
pub(super) fn reaches(query: &NearestQuery, group: &GroupHit) -> bool {
    query.min_score.is_none_or(|least| group.score >= least)
}
