//! One query against one generation: the hits in their order, without what repeats a better one, and what their scores
//! mean.

use super::groups::alone;
use super::parts::WeightedParts;
use super::query::{Fusion, RankedHit, SearchSpec};
use super::reciprocal_rank::fuse;
use crate::SearchError;
use crate::calibration::Calibration;
use crate::recall::RecallProbe;
use descry_model::Embedding;
use descry_store::{Generation, GroupHit, NearestQuery, Pool, VectorStore};

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
        let Self { search, parts, .. } = *self;
        if self.is_fused() {
            return self.rank_by_parts(wanted).await;
        }
        let several = parts.parts().len() > 1;
        let mut query = self.nearest_query(parts.sum().clone(), wanted);
        query.with_embeddings = several || search.suppress_duplicates_above.is_some();
        let hits = self.nearest(query).await?;
        Ok(hits
            .into_iter()
            .map(|found| {
                let contributions = match &found.embedding {
                    Some(embedding) if several => parts.contributions(embedding),
                    Some(_) | None => vec![found.score],
                };
                let is_pooled = search.grouping.is_some_and(|grouping| grouping.pool == Pool::Mean);
                let image_score = is_pooled.then_some(found.best.score);
                RankedHit { image_score, ..RankedHit::new(found, contributions) }
            })
            .collect())
    }

    /// What is asked for, images or groups.
    async fn nearest(&self, query: NearestQuery) -> Result<Vec<GroupHit>, SearchError> {
        let Self { store, search, generation, probe, .. } = *self;
        if let Some(grouping) = search.grouping {
            return Ok(store.nearest_groups(generation, query, grouping).await?);
        }
        let hits = store.nearest(generation, query.clone()).await?;
        // What parts find for themselves, before they are fused, is no answer to anybody.
        if !self.is_fused() {
            probe.offer(generation, &query);
        }
        Ok(hits.into_iter().map(alone).collect())
    }

    /// Each part ranks for itself, and the rankings are fused.
    async fn rank_by_parts(&self, wanted: usize) -> Result<Vec<RankedHit>, SearchError> {
        let deepest = self.max_hits.max(LEAST_FUSION_DEPTH);
        let depth = wanted.saturating_mul(FUSION_DEPTH).clamp(LEAST_FUSION_DEPTH, deepest);
        let rankings = self.parts.parts().iter().map(|(embedding, weight)| {
            let mut query = self.nearest_query(embedding.clone(), depth);
            query.with_embeddings = true;
            async move { Ok::<_, SearchError>((*weight, self.nearest(query).await?)) }
        });
        let by = self.search.grouping.map(|grouping| grouping.by);
        let fused = fuse(futures::future::try_join_all(rankings).await?, by);
        let mut hits: Vec<RankedHit> =
            fused.into_iter().map(|fused| RankedHit::new(fused.found, fused.contributions)).collect();
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
            let score = match &hit.found.embedding {
                Some(embedding) if self.is_fused() => parts.sum().cosine(embedding).unwrap_or_default(),
                Some(_) | None => hit.found.score,
            };
            hit.match_probability = calibration.match_probability(score, search.grouping);
        }
        // Whoever accepted a hit knows better than any score.
        if search.has_accepted_hits {
            return Ok(None);
        }
        // However hits are put together, whether somebody is there is told by the nearest of all images, of persons or not.
        let is_whole = !search.filter.restricts() && search.min_score.is_none() && search.grouping.is_none();
        let best = match hits.first() {
            Some(first) if is_whole && !self.is_fused() => Some(first.found.score),
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

/// Keeps, of hits by falling score, the first `wanted` that are less similar than `above` to every kept one. Hits without
/// embedding are kept.
fn suppress(hits: Vec<RankedHit>, above: f32, wanted: usize) -> Vec<RankedHit> {
    let mut kept: Vec<RankedHit> = Vec::with_capacity(hits.len());
    for hit in hits {
        let repeats = |better: &RankedHit| {
            let (Some(a), Some(b)) = (&better.found.embedding, &hit.found.embedding) else { return false };
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
        let hit = |image_id: &str, values: &[f32]| {
            let hit = Hit {
                image_id: image_id.to_owned(),
                score: 0.0,
                metadata: ImageMetadata::default(),
                embedding: Some(Embedding::normalized(values.to_vec()).unwrap()),
            };
            RankedHit::new(alone(hit), Vec::new())
        };
        let hits = vec![hit("a", &[1.0, 0.0]), hit("b", &[1.0, 0.01]), hit("c", &[0.0, 1.0]), hit("d", &[0.001, 1.0])];
        assert_eq!(suppress(hits.clone(), 0.99, 1).len(), 1);
        let kept = suppress(hits, 0.99, 9);
        assert_eq!(kept.iter().map(|hit| hit.found.best.image_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }
}
