//! One query against one generation: the hits in their order, without what repeats a better one, and what their scores
//! mean.

use super::parts::WeightedParts;
use super::query::{Fusion, RankedHit, SearchSpec};
use super::reciprocal_rank::fuse;
use crate::SearchError;
use crate::calibration::Calibration;
use crate::recall::RecallProbe;
use descry_model::Embedding;
use descry_store::{Generation, GroupBy, Grouping, Hit, NearestQuery, Pool, SearchFilter, VectorStore};
use std::collections::HashSet;

/// How much deeper than asked each part ranks before rankings are fused.
const FUSION_DEPTH: usize = 5;
const LEAST_FUSION_DEPTH: usize = 100;

/// A query that is being answered.
#[derive(Clone, Copy)]
pub(super) struct Ranker<'a> {
    pub(super) store: &'a dyn VectorStore,
    pub(super) search: &'a SearchSpec,
    pub(super) generation: &'a Generation,
    pub(super) parts: &'a WeightedParts,
    /// Is told what was searched for.
    pub(super) probe: &'a RecallProbe,
    /// The deepest that any search may reach.
    pub(super) max_hits: usize,
}

impl Ranker<'_> {
    /// The hits up to the last one asked for, from the first.
    pub(super) async fn rank(&self) -> Result<Vec<RankedHit>, SearchError> {
        let wanted = self.search.offset + self.search.limit;
        let Some(above) = self.search.suppress_duplicates_above else {
            return self.rank_once(wanted).await;
        };
        // Duplicates make room for others: look further until enough are left, or there are no more.
        let most = self.max_hits.saturating_mul(4);
        let mut asked = wanted.saturating_mul(2).min(most).max(wanted);
        loop {
            let hits = self.rank_once(asked).await?;
            let is_all = hits.len() < asked || asked >= most;
            let kept = off_the_runtime(move || suppress(hits, above, wanted)).await?;
            if kept.len() >= wanted || is_all {
                return Ok(kept);
            }
            asked = asked.saturating_mul(2).min(most);
        }
    }

    async fn rank_once(&self, wanted: usize) -> Result<Vec<RankedHit>, SearchError> {
        let Self { store, search, generation, parts, probe, .. } = *self;
        if self.is_fused() {
            return self.rank_by_parts(wanted).await;
        }
        let several = parts.parts().len() > 1;
        let mut query = self.nearest_query(parts.sum().clone(), wanted);
        query.with_embeddings = several || search.suppress_duplicates_above.is_some();
        let hits = if search.group_by_person {
            {
                let by_person = Grouping { by: GroupBy::Person, pool: Pool::Best };
                let groups = store.nearest_groups(generation, query, by_person).await?;
                groups.into_iter().map(|group| group.best).collect()
            }
        } else {
            let hits = store.nearest(generation, query.clone()).await?;
            probe.offer(generation, &query);
            hits
        };
        Ok(hits
            .into_iter()
            .map(|hit| {
                let contributions = match &hit.embedding {
                    Some(embedding) if several => parts.contributions(embedding),
                    Some(_) | None => vec![hit.score],
                };
                ranked(hit, contributions)
            })
            .collect())
    }

    /// Each part ranks for itself, and the rankings are fused.
    async fn rank_by_parts(&self, wanted: usize) -> Result<Vec<RankedHit>, SearchError> {
        let Self { store, generation, .. } = *self;
        let deepest = self.max_hits.max(LEAST_FUSION_DEPTH);
        let depth = wanted.saturating_mul(FUSION_DEPTH).clamp(LEAST_FUSION_DEPTH, deepest);
        let rankings = self.parts.parts().iter().map(|(embedding, weight)| {
            let mut query = self.nearest_query(embedding.clone(), depth);
            query.with_embeddings = true;
            async move { Ok::<_, SearchError>((*weight, store.nearest(generation, query).await?)) }
        });
        let fused = fuse(futures::future::try_join_all(rankings).await?);
        let mut hits: Vec<RankedHit> = fused.into_iter().map(|found| ranked(found.hit, found.contributions)).collect();
        if self.search.group_by_person {
            let mut seen = HashSet::new();
            hits.retain(|hit| hit.hit.metadata.person_id.clone().is_some_and(|person| seen.insert(person)));
        }
        hits.truncate(wanted);
        Ok(hits)
    }

    fn nearest_query(&self, embedding: Embedding, limit: usize) -> NearestQuery {
        let SearchSpec { filter, min_score, exact, accuracy, .. } = self.search;
        NearestQuery {
            filter: filter.clone(),
            min_score: *min_score,
            exact: *exact,
            accuracy: *accuracy,
            ..NearestQuery::new(embedding, self.generation.fingerprint.clone(), limit)
        }
    }

    /// Turns scores into probabilities. Returns the one that nobody in the gallery matches.
    pub(super) async fn judge(
        &self,
        calibration: &Calibration,
        hits: &mut [RankedHit],
    ) -> Result<Option<f32>, SearchError> {
        let Self { store, search, generation, parts, .. } = *self;
        for hit in hits.iter_mut() {
            let cosine = match &hit.hit.embedding {
                Some(embedding) if self.is_fused() => parts.sum().cosine(embedding).unwrap_or_default(),
                Some(_) | None => hit.hit.score,
            };
            hit.match_probability = Some(calibration.match_probability(cosine));
        }
        // Whoever accepted a hit knows better than any score.
        if search.has_accepted_hits {
            return Ok(None);
        }
        let is_whole =
            search.filter == SearchFilter::default() && search.min_score.is_none() && !search.group_by_person;
        let best = match hits.first() {
            Some(first) if is_whole && !self.is_fused() => Some(first.hit.score),
            // Of the whole gallery, whatever this search looked at.
            _ => {
                let query = NearestQuery::new(parts.sum().clone(), generation.fingerprint.clone(), 1);
                store.nearest(generation, query).await?.first().map(|hit| hit.score)
            }
        };
        Ok(Some(best.map_or(1.0, |cosine| 1.0 - calibration.presence_probability(cosine))))
    }

    fn is_fused(&self) -> bool {
        self.search.fusion == Fusion::ReciprocalRank && self.parts.parts().len() > 1
    }
}

/// Runs work that takes a while where it keeps no request waiting.
async fn off_the_runtime<Found: Send + 'static>(
    work: impl FnOnce() -> Found + Send + 'static,
) -> Result<Found, SearchError> {
    let failed = |error| SearchError::failed("comparing hits", error);
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn ranked(hit: Hit, contributions: Vec<f32>) -> RankedHit {
    RankedHit { hit, contributions, match_probability: None, sightings: Vec::new(), sighting_count: 0 }
}

/// Keeps, of hits by falling score, the first `wanted` that are less similar than `above` to every kept one. Hits without
/// embedding are kept.
fn suppress(hits: Vec<RankedHit>, above: f32, wanted: usize) -> Vec<RankedHit> {
    let mut kept: Vec<RankedHit> = Vec::with_capacity(hits.len());
    for hit in hits {
        let repeats = |better: &RankedHit| {
            let (Some(a), Some(b)) = (&better.hit.embedding, &hit.hit.embedding) else { return false };
            a.cosine(b).is_some_and(|cosine| cosine >= above)
        };
        if kept.len() == wanted {
            break;
        }
        if !kept.iter().any(repeats) {
            kept.push(hit);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::Embedding;
    use descry_store::{Hit, ImageMetadata};

    #[test]
    fn the_better_of_two_alike_is_kept() {
        let hit = |image_id: &str, values: &[f32]| RankedHit {
            hit: Hit {
                image_id: image_id.to_owned(),
                score: 0.0,
                metadata: ImageMetadata::default(),
                embedding: Some(Embedding::normalized(values.to_vec()).unwrap()),
            },
            contributions: Vec::new(),
            match_probability: None,
            sightings: Vec::new(),
            sighting_count: 0,
        };
        let hits = vec![hit("a", &[1.0, 0.0]), hit("b", &[1.0, 0.01]), hit("c", &[0.0, 1.0]), hit("d", &[0.001, 1.0])];
        assert_eq!(suppress(hits.clone(), 0.99, 1).len(), 1);
        let kept = suppress(hits, 0.99, 9);
        assert_eq!(kept.iter().map(|hit| hit.hit.image_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }
}
