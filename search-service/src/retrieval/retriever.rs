//! Encodes queries, asks the store, and says what hits mean.

use super::duplicates::suppress;
use super::encoding::encode;
use super::feedback::refined;
use super::parts::WeightedParts;
use super::query::{Fusion, RankedHit, Ranking, SearchSpec, Sighting};
use super::reciprocal_rank::fuse;
use crate::SearchError;
use crate::calibration::Calibrations;
use crate::config::RequestLimits;
use crate::encoder_pool::EncoderPool;
use crate::validation::{check_id, invalid};
use crate::vector_store::{Gallery, Hit, NearestQuery, PageRequest, SearchFilter, VectorStore};
use descry_model::Embedding;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How much deeper than asked each part ranks before rankings are fused.
const FUSION_DEPTH: usize = 5;
const LEAST_FUSION_DEPTH: usize = 100;

/// Images of one ranking of persons that are reported as sightings, all persons together.
const MAX_SIGHTINGS: usize = 10_000;

/// Encodes queries and asks the store.
#[derive(Clone)]
pub(crate) struct Retriever {
    encoders: EncoderPool,
    store: Arc<dyn VectorStore>,
    calibrations: Calibrations,
    limits: RequestLimits,
}

impl Retriever {
    pub(crate) fn new(
        encoders: EncoderPool,
        store: Arc<dyn VectorStore>,
        calibrations: Calibrations,
        limits: RequestLimits,
    ) -> Self {
        Self { encoders, store, calibrations, limits }
    }

    /// Ranks the images of a gallery, or its persons.
    pub(crate) async fn search(&self, mut search: SearchSpec) -> Result<Ranking, SearchError> {
        search.check(&self.limits)?;
        self.answer(&search).await
    }

    async fn answer(&self, search: &SearchSpec) -> Result<Ranking, SearchError> {
        match self.attempt(search).await {
            // An encoder was restarted with another model since it was last asked, or the gallery was switched.
            Err(SearchError::FingerprintMismatch { .. }) => {
                self.encoders.forget();
                self.attempt(search).await
            }
            ranking => ranking,
        }
    }

    /// Ranks the rest after some hits were judged.
    pub(crate) async fn refine(
        &self,
        mut search: SearchSpec,
        accepted: Vec<String>,
        rejected: Vec<String>,
    ) -> Result<Ranking, SearchError> {
        let judged = accepted.len() + rejected.len();
        if judged > self.limits.max_judged {
            let reason = format!("{judged} judged images, at most {} are allowed", self.limits.max_judged);
            return Err(invalid("accepted_ids", reason));
        }
        for (field, ids) in [("accepted_ids", &accepted), ("rejected_ids", &rejected)] {
            ids.iter().try_for_each(|id| check_id(field, id, &self.limits))?;
        }
        if let Some(both) = accepted.iter().find(|id| rejected.contains(id)) {
            return Err(invalid("rejected_ids", format!("{both:?} is accepted as well")));
        }
        // The judged images are no parts of the caller's query: its own limit does not count them.
        search.check(&self.limits)?;
        self.answer(&refined(search, accepted, rejected)).await
    }

    /// The embedding that a query looks for, and the generation that it was made for.
    pub(crate) async fn embedding_of(&self, mut search: SearchSpec) -> Result<(Embedding, Gallery), SearchError> {
        search.check(&self.limits)?;
        let generation = self.store.identity(&search.gallery).await?;
        let (parts, _) = encode(&self.encoders, &*self.store, &search, &generation).await?;
        Ok((parts.sum().clone(), generation))
    }

    async fn attempt(&self, search: &SearchSpec) -> Result<Ranking, SearchError> {
        let generation = self.store.identity(&search.gallery).await?;
        let (parts, truncated) = encode(&self.encoders, &*self.store, search, &generation).await?;
        let hits = self.rank(search, &generation, &parts).await?;
        let mut ranking =
            Ranking { hits, fingerprint: generation.fingerprint.clone(), truncated, not_in_gallery: None };
        self.judge(&generation, &parts, search, &mut ranking).await?;
        ranking.hits.drain(..search.offset.min(ranking.hits.len()));
        ranking.hits.truncate(search.limit);
        if search.group_by_person {
            self.add_sightings(search, &generation, &mut ranking.hits).await?;
        }
        Ok(ranking)
    }

    /// The hits up to the last one asked for, from the first.
    async fn rank(
        &self,
        search: &SearchSpec,
        generation: &Gallery,
        parts: &WeightedParts,
    ) -> Result<Vec<RankedHit>, SearchError> {
        let wanted = search.offset + search.limit;
        let Some(above) = search.suppress_duplicates_above else {
            return self.rank_once(search, generation, parts, wanted).await;
        };
        // Duplicates make room for others: look further until enough are left, or there are no more.
        let most = self.limits.max_hits.saturating_mul(4);
        let mut asked = wanted.saturating_mul(2).min(most).max(wanted);
        loop {
            let hits = self.rank_once(search, generation, parts, asked).await?;
            let is_all = hits.len() < asked || asked >= most;
            let kept = off_the_runtime(move || suppress(hits, above, wanted)).await?;
            if kept.len() >= wanted || is_all {
                return Ok(kept);
            }
            asked = asked.saturating_mul(2).min(most);
        }
    }

    async fn rank_once(
        &self,
        search: &SearchSpec,
        generation: &Gallery,
        parts: &WeightedParts,
        wanted: usize,
    ) -> Result<Vec<RankedHit>, SearchError> {
        let several = parts.parts().len() > 1;
        if search.fusion == Fusion::ReciprocalRank && several {
            return self.rank_by_parts(search, generation, parts, wanted).await;
        }
        let mut query = self.nearest_query(search, generation, parts.sum().clone(), wanted);
        query.with_embeddings = several || search.suppress_duplicates_above.is_some();
        let address = generation.address();
        let hits = if search.group_by_person {
            self.store.nearest_persons(&address, query).await?
        } else {
            self.store.nearest(&address, query).await?
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

    async fn rank_by_parts(
        &self,
        search: &SearchSpec,
        generation: &Gallery,
        parts: &WeightedParts,
        wanted: usize,
    ) -> Result<Vec<RankedHit>, SearchError> {
        let deepest = self.limits.max_hits.max(LEAST_FUSION_DEPTH);
        let depth = wanted.saturating_mul(FUSION_DEPTH).clamp(LEAST_FUSION_DEPTH, deepest);
        let address = generation.address();
        let rankings = parts.parts().iter().map(|(embedding, weight)| {
            let mut query = self.nearest_query(search, generation, embedding.clone(), depth);
            query.with_embeddings = true;
            let address = &address;
            async move { Ok::<_, SearchError>((*weight, self.store.nearest(address, query).await?)) }
        });
        let fused = fuse(futures::future::try_join_all(rankings).await?);
        let mut hits: Vec<RankedHit> = fused.into_iter().map(|found| ranked(found.hit, found.contributions)).collect();
        if search.group_by_person {
            let mut seen = HashSet::new();
            hits.retain(|hit| hit.hit.metadata.person_id.clone().is_some_and(|person| seen.insert(person)));
        }
        hits.truncate(wanted);
        Ok(hits)
    }

    fn nearest_query(
        &self,
        search: &SearchSpec,
        generation: &Gallery,
        embedding: Embedding,
        limit: usize,
    ) -> NearestQuery {
        NearestQuery {
            filter: search.filter.clone(),
            min_score: search.min_score,
            exact: search.exact,
            ..NearestQuery::new(embedding, generation.fingerprint.clone(), limit)
        }
    }

    /// Turns scores into probabilities, where the gallery is calibrated for this model.
    async fn judge(
        &self,
        generation: &Gallery,
        parts: &WeightedParts,
        search: &SearchSpec,
        ranking: &mut Ranking,
    ) -> Result<(), SearchError> {
        let Some(calibration) = self.calibrations.of(generation).await? else { return Ok(()) };
        let fused = search.fusion == Fusion::ReciprocalRank && parts.parts().len() > 1;
        for hit in &mut ranking.hits {
            let cosine = match &hit.hit.embedding {
                Some(embedding) if fused => parts.sum().cosine(embedding).unwrap_or_default(),
                Some(_) | None => hit.hit.score,
            };
            hit.match_probability = Some(calibration.match_probability(cosine));
        }
        // Whoever accepted a hit knows better than any score.
        if search.has_accepted_hits {
            return Ok(());
        }
        let is_whole =
            search.filter == SearchFilter::default() && search.min_score.is_none() && !search.group_by_person;
        let best = match ranking.hits.first() {
            Some(first) if is_whole && !fused => Some(first.hit.score),
            // Of the whole gallery, whatever this search looked at.
            _ => {
                let query = NearestQuery::new(parts.sum().clone(), generation.fingerprint.clone(), 1);
                self.store.nearest(&generation.address(), query).await?.first().map(|hit| hit.score)
            }
        };
        ranking.not_in_gallery = Some(best.map_or(1.0, |cosine| 1.0 - calibration.presence_probability(cosine)));
        Ok(())
    }

    async fn add_sightings(
        &self,
        search: &SearchSpec,
        generation: &Gallery,
        hits: &mut [RankedHit],
    ) -> Result<(), SearchError> {
        let person_ids: Vec<String> = hits.iter().filter_map(|hit| hit.hit.metadata.person_id.clone()).collect();
        if person_ids.is_empty() {
            return Ok(());
        }
        let filter = SearchFilter { person_ids, all: vec![search.filter.clone()], ..SearchFilter::default() };
        let request = PageRequest { filter, after: None, limit: MAX_SIGHTINGS };
        let page = self.store.listing(&generation.address(), request).await?;
        let mut sightings: HashMap<String, Vec<Sighting>> = HashMap::new();
        for (image_id, metadata) in page.images {
            if let Some(person_id) = metadata.person_id {
                let (camera_id, captured_at_ms) = (metadata.camera_id, metadata.captured_at_ms);
                let sighting = Sighting { image_id, camera_id, captured_at_ms };
                sightings.entry(person_id).or_default().push(sighting);
            }
        }
        for hit in hits {
            let person_id = hit.hit.metadata.person_id.clone().unwrap_or_default();
            hit.sightings = sightings.remove(&person_id).unwrap_or_default();
            hit.sightings
                .sort_by(|a, b| a.captured_at_ms.cmp(&b.captured_at_ms).then_with(|| a.image_id.cmp(&b.image_id)));
        }
        Ok(())
    }
}

/// Runs work that takes a while where it keeps no request waiting.
async fn off_the_runtime<Found: Send + 'static>(
    work: impl FnOnce() -> Found + Send + 'static,
) -> Result<Found, SearchError> {
    let failed = |source| SearchError::Store { activity: "comparing hits", source: Box::new(source) };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn ranked(hit: Hit, contributions: Vec<f32>) -> RankedHit {
    RankedHit { hit, contributions, match_probability: None, sightings: Vec::new() }
}
