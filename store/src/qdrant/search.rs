//! Queries.

use super::QdrantStore;
use super::collection::collection_name;
use super::points::{PayloadField, hit_from_point};
use crate::StoreError;
use crate::{Generation, Hit, NearestQuery};
use qdrant_client::qdrant::{
    QuantizationSearchParams, Query, QueryPointGroups, QueryPoints, SearchParams, VectorInput,
};

/// Up to this limit a query is sent as it is; above, it is first cut to the size of the gallery, because Qdrant
/// reserves memory by the limit.
const UNCHECKED_LIMIT: usize = 1_000;

/// How far beyond the limit a query looks for images that tie with the last hit.
pub const MAX_TIED_IMAGES: usize = 4_096;

/// Candidates from compressed vectors for each hit, before whole vectors decide.
const OVERSAMPLING: f64 = 3.0;

/// Images of one person among which ties are broken here.
const IMAGES_PER_PERSON: u64 = 4;

impl QdrantStore {
    pub(super) async fn nearest_images(
        &self,
        generation: &Generation,
        query: NearestQuery,
    ) -> Result<Vec<Hit>, StoreError> {
        let limit = self.checked_limit(generation, &query).await?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        // Ties with the last hit may hide behind the limit: ask for more until a worse image shows that all are seen.
        let most = limit.saturating_add(MAX_TIED_IMAGES);
        let mut asked = limit.saturating_add(1);
        loop {
            let mut hits = self.query(generation, &query, asked).await?;
            let all_ties_seen = hits.len() < asked
                || hits.last().zip(hits.get(limit - 1)).is_none_or(|(last, cut)| last.score < cut.score);
            if all_ties_seen || asked >= most {
                hits.retain(|hit| reaches_least_score(&query, hit));
                hits.truncate(limit);
                return Ok(hits);
            }
            asked = asked.saturating_mul(4).min(most);
        }
    }

    pub(super) async fn nearest_of_persons(
        &self,
        generation: &Generation,
        query: NearestQuery,
    ) -> Result<Vec<Hit>, StoreError> {
        let limit = self.checked_limit(generation, &query).await?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let address = generation.address();
        let request = QueryPointGroups {
            collection_name: collection_name(&address),
            query: Some(nearest_to(&query)),
            filter: self.conditions(generation, &query.filter)?,
            params: search_params(generation, &query),
            score_threshold: least_score(&query),
            with_payload: Some(true.into()),
            with_vectors: query.with_embeddings.then(|| true.into()),
            limit: Some(limit as u64),
            group_size: Some(IMAGES_PER_PERSON),
            group_by: PayloadField::PersonId.name().to_owned(),
            ..QueryPointGroups::default()
        };
        let answer = self.call("searching", Some(&address), || self.client.query_groups(request.clone())).await?;
        let mut hits = Vec::new();
        for group in answer.result.map(|result| result.groups).unwrap_or_default() {
            let images = group.hits.into_iter().map(|point| hit_from_point(&address, point));
            let mut images = images.collect::<Result<Vec<_>, _>>()?;
            sort(&mut images);
            hits.extend(images.into_iter().next());
        }
        hits.retain(|hit| reaches_least_score(&query, hit));
        sort(&mut hits);
        Ok(hits)
    }

    /// A limit that the server can reserve memory for.
    async fn checked_limit(&self, generation: &Generation, query: &NearestQuery) -> Result<usize, StoreError> {
        generation.require_model(&query.fingerprint, query.embedding.dimension())?;
        self.conditions(generation, &query.filter)?;
        if query.limit <= UNCHECKED_LIMIT {
            return Ok(query.limit);
        }
        let images = self.count_points(&generation.address(), None).await?;
        Ok(query.limit.min(usize::try_from(images).unwrap_or(usize::MAX)))
    }

    async fn query(&self, generation: &Generation, query: &NearestQuery, limit: usize) -> Result<Vec<Hit>, StoreError> {
        let address = generation.address();
        let request = QueryPoints {
            collection_name: collection_name(&address),
            query: Some(nearest_to(query)),
            filter: self.conditions(generation, &query.filter)?,
            params: search_params(generation, query),
            score_threshold: least_score(query),
            limit: Some(limit as u64),
            with_payload: Some(true.into()),
            with_vectors: query.with_embeddings.then(|| true.into()),
            ..QueryPoints::default()
        };
        let answer = self.call("searching", Some(&address), || self.client.query(request.clone())).await?;
        let hits = answer.result.into_iter().map(|point| hit_from_point(&address, point));
        let mut hits = hits.collect::<Result<Vec<_>, _>>()?;
        sort(&mut hits);
        Ok(hits)
    }
}

fn reaches_least_score(query: &NearestQuery, hit: &Hit) -> bool {
    query.min_score.is_none_or(|least| hit.score >= least)
}

fn sort(hits: &mut [Hit]) {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.image_id.cmp(&b.image_id)));
}

fn nearest_to(query: &NearestQuery) -> Query {
    Query::new_nearest(VectorInput::new_dense(query.embedding.as_slice().to_vec()))
}

/// The server leaves out hits of the threshold itself in some versions, and keeps them in others.
fn least_score(query: &NearestQuery) -> Option<f32> {
    query.min_score.map(f32::next_down)
}

fn search_params(generation: &Generation, query: &NearestQuery) -> Option<SearchParams> {
    let quantization = generation.settings.qdrant.quantization.map(|_| QuantizationSearchParams {
        rescore: Some(true),
        oversampling: Some(OVERSAMPLING),
        ..QuantizationSearchParams::default()
    });
    let exact = query.exact.then_some(true);
    (exact.is_some() || quantization.is_some()).then(|| SearchParams { exact, quantization, ..SearchParams::default() })
}
