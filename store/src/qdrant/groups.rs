//! Groups by reading all of them: every image that is in one and meets the filter, page after page.

use super::QdrantStore;
use super::group_images::GroupImage;
use super::group_names::{all_groups_but, name_bytes};
use super::ranked_group::RankedGroup;
use super::search::reaches;
use crate::grouping::{EmbeddingSum, GroupKey};
use crate::{Generation, GroupHit, Grouping, NearestQuery, Pool, StoreError};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// Bytes that the groups of one pass may take. Where all take more, the images are read in several passes, each for the
/// groups of its share.
const MAX_GROUPS_BYTES: usize = 256 << 20;

impl QdrantStore {
    /// Groups by scoring each of them.
    pub(super) async fn nearest_of_all_groups(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        grouping: Grouping,
    ) -> Result<Vec<GroupHit>, StoreError> {
        let limit = self.checked_limit(generation, query).await?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut shares = 1_u64;
        let found = loop {
            if let Some(found) = self.nearest_by_shares(generation, query, grouping, (limit, shares)).await? {
                break found;
            }
            shares *= 2;
        };
        self.told(generation, query, grouping.by, found).await
    }

    /// Reads all images once for each share of the groups; `None` where the groups of a share take too much room.
    async fn nearest_by_shares(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        grouping: Grouping,
        (limit, shares): (usize, u64),
    ) -> Result<Option<Vec<RankedGroup>>, StoreError> {
        let mut found = Vec::new();
        for share in 0..shares {
            let Some(gathered) = self.gather(generation, query, grouping, (share, shares)).await? else {
                return Ok(None);
            };
            found.extend(gathered.scored(query).filter(|group| reaches(query, group.score)));
            found.sort_by(RankedGroup::order);
            found.truncate(limit);
        }
        Ok(Some(found))
    }

    /// The groups of one share; `None` where they take too much room.
    async fn gather(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        Grouping { by, pool }: Grouping,
        (share, shares): (u64, u64),
    ) -> Result<Option<Gathered>, StoreError> {
        let filter = all_groups_but(by, self.conditions(generation, &query.filter)?, []);
        let mut gathered = Gathered { groups: HashMap::new(), bytes: 0, pool };
        let mut after = None;
        loop {
            let (images, next) = self.group_images(generation, by, filter.clone(), after).await?;
            let of_share = images.into_iter().filter(|image| share_of(&image.group, shares) == share);
            of_share.for_each(|image| gathered.add(image, query));
            if gathered.bytes > MAX_GROUPS_BYTES && gathered.groups.len() > 1 {
                return Ok(None);
            }
            after = next;
            if after.is_none() {
                return Ok(Some(gathered));
            }
        }
    }
}

/// What is known of groups while their images come.
struct Gathered {
    groups: HashMap<GroupKey, (RankedGroup, Option<EmbeddingSum>)>,
    /// What they take in memory, about.
    bytes: usize,
    pool: Pool,
}

impl Gathered {
    fn add(&mut self, image: GroupImage, query: &NearestQuery) {
        let GroupImage { group, image_id, embedding } = image;
        let cosine = embedding.cosine(&query.embedding).unwrap_or_default();
        let image = RankedGroup::of_image(group, image_id, cosine);
        let (best, sum) = match self.groups.get_mut(&image.group) {
            Some(known) => known,
            None => {
                let sum = (self.pool == Pool::Mean).then(|| EmbeddingSum::new(embedding.dimension()));
                let sum_bytes = if sum.is_some() { embedding.dimension() * size_of::<f64>() } else { 0 };
                // The name is kept twice.
                self.bytes += 2 * name_bytes(&image.group) + image.image_id.len() + sum_bytes;
                self.bytes += size_of::<(GroupKey, RankedGroup, Option<EmbeddingSum>)>();
                self.groups.entry(image.group.clone()).or_insert_with(|| (image.clone(), sum))
            }
        };
        if image.order(best).is_lt() {
            self.bytes = (self.bytes + image.image_id.len()).saturating_sub(best.image_id.len());
            *best = image;
        }
        if let Some(sum) = sum {
            sum.add(embedding.as_slice());
        }
    }

    /// The groups by their scores; those whose mean has no direction are left out.
    fn scored(self, query: &NearestQuery) -> impl Iterator<Item = RankedGroup> {
        self.groups.into_values().filter_map(|(best, sum)| match sum {
            None => Some(best),
            Some(sum) => best.by_mean(&sum, query),
        })
    }
}

/// The share that a group belongs to: always the same one, so that each pass sees whole groups.
fn share_of(group: &GroupKey, shares: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(group) % shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::{Embedding, Fingerprint};

    #[test]
    fn the_room_of_groups_is_what_they_take() {
        let embedding = |values: &[f32]| Embedding::normalized(values.to_vec()).unwrap();
        let query = NearestQuery::new(embedding(&[1.0, 0.0]), Fingerprint::of_parts([]), 1);
        let mut gathered = Gathered { groups: HashMap::new(), bytes: 0, pool: Pool::Best };
        let mut add = |person: &str, image_id: &str, values: &[f32]| {
            let group = (None, person.to_owned());
            let image = GroupImage { group, image_id: image_id.to_owned(), embedding: embedding(values) };
            gathered.add(image, &query);
            gathered.bytes
        };
        let (name, id) = ("p".repeat(1_000), "i".repeat(500));
        let one = add(&name, &id, &[1.0, 1.0]);
        assert!((2_500..3_500).contains(&one), "{one}");
        assert_eq!(add(&name, "further away", &[0.0, 1.0]), one);
        assert_eq!(add(&name, "nearer", &[1.0, 0.0]), one - 494);
        assert!(add("q", "r", &[1.0, 0.0]) < one, "short names take little");
    }
}
