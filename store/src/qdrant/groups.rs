//! Groups scored by all of their images: read page by page, and pooled here.

use super::QdrantStore;
use crate::grouping::{EmbeddingSum, GroupKey, sort_groups};
use crate::{Generation, GroupHit, Grouping, Hit, NearestQuery, PageRequest, Pool, StoreError, VectorStore as _};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// Images of one page, with their embeddings.
const PAGE_IMAGES: usize = 1_000;

/// Bytes that the sums of one pass may take. Where the groups need more, the images are read in several passes, each for
/// the groups of its share.
const MAX_SUM_BYTES: usize = 256 << 20;

/// What is known of a group while its images come.
struct Gathered {
    sum: Option<EmbeddingSum>,
    best: Hit,
}

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
        'again: loop {
            let mut found = Vec::new();
            for share in 0..shares {
                let Some(gathered) = self.gather(generation, query, grouping, (share, shares)).await? else {
                    shares *= 2;
                    continue 'again;
                };
                found.extend(gathered.into_values().filter_map(|gathered| group_hit(query, gathered)));
                sort_groups(&mut found);
                found.truncate(query.limit);
            }
            return Ok(found);
        }
    }

    /// The groups of one share; `None` where their sums would take too much room.
    async fn gather(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        grouping: Grouping,
        (share, shares): (u64, u64),
    ) -> Result<Option<HashMap<GroupKey, Gathered>>, StoreError> {
        let bytes_per_group = match grouping.pool {
            Pool::Best => 0,
            Pool::Mean => query.embedding.dimension() * size_of::<f64>(),
        };
        let mut gathered: HashMap<GroupKey, Gathered> = HashMap::new();
        let mut after = None;
        loop {
            let request = PageRequest { filter: query.filter.clone(), after, limit: PAGE_IMAGES };
            let page = self.page(generation, request).await?;
            for image in page.images {
                let Some(key) = grouping.by.key(&image.metadata).filter(|key| share_of(key, shares) == share) else {
                    continue;
                };
                let score = image.embedding.cosine(&query.embedding).unwrap_or_default().clamp(-1.0, 1.0) + 0.0;
                let embedding = image.embedding;
                let sum = (grouping.pool == Pool::Mean).then(|| EmbeddingSum::new(embedding.dimension()));
                let kept = query.with_embeddings.then(|| embedding.clone());
                let hit = Hit { image_id: image.image_id, score, metadata: image.metadata, embedding: kept };
                let group = gathered.entry(key).or_insert_with(|| Gathered { sum, best: hit.clone() });
                if let Some(sum) = &mut group.sum {
                    sum.add(embedding.as_slice());
                }
                if (hit.score, &group.best.image_id) > (group.best.score, &hit.image_id) {
                    group.best = hit;
                }
            }
            if gathered.len() * bytes_per_group > MAX_SUM_BYTES && gathered.len() > 1 {
                return Ok(None);
            }
            after = page.next;
            if after.is_none() {
                return Ok(Some(gathered));
            }
        }
    }
}

/// The share that a group belongs to: always the same one, so that each pass sees whole groups.
fn share_of(key: &GroupKey, shares: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key) % shares
}

fn group_hit(query: &NearestQuery, Gathered { sum, best }: Gathered) -> Option<GroupHit> {
    let group = match sum {
        None => GroupHit::of_best(best),
        Some(sum) => {
            let (mean, _) = sum.mean()?;
            let score = mean.cosine(&query.embedding).unwrap_or_default().clamp(-1.0, 1.0) + 0.0;
            let embedding = query.with_embeddings.then_some(mean);
            GroupHit { best, score, embedding, images: Some(sum.images) }
        }
    };
    query.min_score.is_none_or(|least| group.score >= least).then_some(group)
}
