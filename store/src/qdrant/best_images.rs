//! The nearest image of each person or track.
//!
//! The server can group persons, at the price of several searches within one request: it fills each group until it has its
//! size, and asks again where there are too few. Most often the groups that are wanted are all among the first images of a
//! plain search, which are grouped here. Where they are not, because a few groups have very many images, the server does.
//! It groups by one field alone, and a track is told by two, so all images are read then.

use super::QdrantStore;
use super::collection::collection_name;
use super::points::{PayloadField, hit_from_point};
use super::search::{MAX_TIED_IMAGES, least_score, nearest_to, reaches_least_score, search_params, sort};
use crate::StoreError;
use crate::{Generation, GroupBy, GroupHit, Grouping, Hit, NearestQuery, Pool};
use qdrant_client::qdrant::QueryPointGroups;
use std::collections::BTreeSet;

/// How many images for each group that is wanted are looked at, in the first attempt and in the last one.
pub(super) const IMAGES_OF_A_GROUP: [usize; 2] = [8, 64];

/// Images of one person among which ties are broken here, where the server groups.
const GROUPED_IMAGES: u64 = 4;

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
        for images in IMAGES_OF_A_GROUP {
            let asked = limit.saturating_mul(images).saturating_add(1);
            if asked > MAX_TIED_IMAGES {
                break;
            }
            let hits = self.query(generation, &query, asked).await?;
            let is_all = hits.len() < asked;
            if let Some(mut groups) = first_of_each(hits, by, limit, is_all) {
                groups.retain(|hit| reaches_least_score(&query, hit));
                return Ok(groups.into_iter().map(GroupHit::of_best).collect());
            }
        }
        match by {
            GroupBy::Person => {
                let persons = self.grouped_by_server(generation, &query, limit).await?;
                Ok(persons.into_iter().map(GroupHit::of_best).collect())
            }
            GroupBy::Track => self.nearest_of_all_groups(generation, &query, Grouping { by, pool: Pool::Best }).await,
        }
    }

    async fn grouped_by_server(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        limit: usize,
    ) -> Result<Vec<Hit>, StoreError> {
        let address = generation.address();
        let request = QueryPointGroups {
            collection_name: collection_name(&address),
            query: Some(nearest_to(query)),
            filter: self.conditions(generation, &query.filter)?,
            params: Some(search_params(generation, query)),
            score_threshold: least_score(query),
            with_payload: Some(true.into()),
            with_vectors: query.with_embeddings.then(|| true.into()),
            limit: Some(limit as u64),
            group_size: Some(GROUPED_IMAGES),
            group_by: PayloadField::PersonId.name().to_owned(),
            ..QueryPointGroups::default()
        };
        let answer = self.read("searching", Some(&address), |client| client.query_groups(request.clone())).await?;
        let mut hits = Vec::new();
        for group in answer.result.map(|result| result.groups).unwrap_or_default() {
            let images = group.hits.into_iter().map(|point| hit_from_point(&address, point));
            let mut images = images.collect::<Result<Vec<_>, _>>()?;
            sort(&mut images);
            hits.extend(images.into_iter().next());
        }
        hits.retain(|hit| reaches_least_score(query, hit));
        sort(&mut hits);
        Ok(hits)
    }
}

/// The best image of each of the first `limit` groups, of images in their order. `None` where images that were not asked
/// for could change that: another group's, or one of equal score.
fn first_of_each(hits: Vec<Hit>, by: GroupBy, limit: usize, is_all: bool) -> Option<Vec<Hit>> {
    let last_score = hits.last().map(|hit| hit.score);
    let mut seen = BTreeSet::new();
    let mut groups = hits;
    groups.retain(|hit| by.key(&hit.metadata).is_some_and(|group| seen.insert(group)));
    if !is_all {
        let cut = groups.get(limit - 1)?.score;
        if last_score.is_none_or(|last| last >= cut) {
            return None;
        }
    }
    groups.truncate(limit);
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageMetadata;

    fn hits(images: &[(&str, Option<&str>, f32)]) -> Vec<Hit> {
        let hit = |(image_id, person_id, score): &(&str, Option<&str>, f32)| Hit {
            image_id: (*image_id).to_owned(),
            score: *score,
            metadata: ImageMetadata { person_id: person_id.map(str::to_owned), ..ImageMetadata::default() },
            embedding: None,
        };
        images.iter().map(hit).collect()
    }

    #[test]
    fn persons_are_taken_from_images_that_decide() {
        let images = [("1", Some("ann"), 0.9), ("2", None, 0.8), ("3", Some("ann"), 0.7), ("4", Some("bob"), 0.6)];
        let check = |images: &[_], limit, is_all| {
            let persons = first_of_each(hits(images), GroupBy::Person, limit, is_all)?;
            Some(persons.into_iter().map(|hit| hit.image_id).collect::<Vec<_>>())
        };
        assert_eq!(check(&images, 1, false), Some(vec!["1".to_owned()]));
        assert_eq!(check(&images, 2, false), None, "others may be as near as bob");
        assert_eq!(check(&images, 2, true), Some(vec!["1".to_owned(), "4".to_owned()]));
        assert_eq!(check(&images, 3, false), None, "a third person may follow");
        assert_eq!(check(&images, 3, true), Some(vec!["1".to_owned(), "4".to_owned()]));
        assert_eq!(check(&[], 3, true), Some(Vec::new()));
    }
}
