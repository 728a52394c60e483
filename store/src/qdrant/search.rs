//! Queries.

use super::QdrantStore;
use super::collection::collection_name;
use super::points::hit_from_point;
use crate::StoreError;
use crate::{Generation, Hit, NearestQuery};
use qdrant_client::qdrant::{QuantizationSearchParams, Query, QueryPoints, SearchParams, VectorInput};

/// Up to this limit a query is sent as it is; above, it is first cut to the size of the gallery, because Qdrant
/// reserves memory by the limit.
const UNCHECKED_LIMIT: usize = 1_000;

/// How far beyond the limit a query looks for images that tie with the last hit.
pub const MAX_TIED_IMAGES: usize = 4_096;

/// Candidates from compressed vectors for each hit, before whole vectors decide, where nothing else is said.
const OVERSAMPLING: f32 = 3.0;

/// Images that a walk through the graph keeps in view, where nothing else is said. Where the server's own default, the 100
/// that the graph is built with, finds 0.95 of the ten nearest, 256 find 0.988 and these 0.998 (`docs/SCALE.md`).
const HNSW_EF: u32 = 512;

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
                hits.retain(|hit| reaches(&query, hit.score));
                hits.truncate(limit);
                return Ok(hits);
            }
            asked = asked.saturating_mul(4).min(most);
        }
    }

    /// A limit that the server can reserve memory for.
    pub(super) async fn checked_limit(
        &self,
        generation: &Generation,
        query: &NearestQuery,
    ) -> Result<usize, StoreError> {
        generation.require_model(&query.fingerprint, query.embedding.dimension())?;
        self.conditions(generation, &query.filter)?;
        if query.limit <= UNCHECKED_LIMIT {
            return Ok(query.limit);
        }
        let images = self.count_points(&generation.address(), None).await?;
        Ok(query.limit.min(usize::try_from(images).unwrap_or(usize::MAX)))
    }

    /// Hits in their order, whatever their score is.
    async fn query(&self, generation: &Generation, query: &NearestQuery, limit: usize) -> Result<Vec<Hit>, StoreError> {
        let address = generation.address();
        let request = self.nearest_request(generation, query, limit)?;
        let answer = self.read("searching", Some(&address), |client| client.query(request.clone())).await?;
        let hits = answer.result.into_iter().map(|point| hit_from_point(&address, point));
        let mut hits = hits.collect::<Result<Vec<_>, _>>()?;
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.image_id.cmp(&b.image_id)));
        Ok(hits)
    }

    /// The question for the nearest images, with all that is known of them.
    pub(super) fn nearest_request(
        &self,
        generation: &Generation,
        query: &NearestQuery,
        limit: usize,
    ) -> Result<QueryPoints, StoreError> {
        let nearest_to = VectorInput::new_dense(query.embedding.as_slice().to_vec());
        Ok(QueryPoints {
            collection_name: collection_name(&generation.address()),
            query: Some(Query::new_nearest(nearest_to)),
            filter: self.conditions(generation, &query.filter)?,
            params: Some(search_params(generation, query)),
            // The server leaves out hits of the threshold itself in some versions, and keeps them in others.
            score_threshold: query.min_score.map(f32::next_down),
            limit: Some(limit as u64),
            with_payload: Some(true.into()),
            with_vectors: query.with_embeddings.then(|| true.into()),
            ..QueryPoints::default()
        })
    }
}

/// Whether a hit of this score may be told.
pub(super) fn reaches(query: &NearestQuery, score: f32) -> bool {
    query.min_score.is_none_or(|least| score >= least)
}

fn search_params(generation: &Generation, query: &NearestQuery) -> SearchParams {
    let settings = &generation.settings.qdrant;
    let accuracy = query.accuracy.or(settings.accuracy);
    let quantization = settings.quantization.map(|_| QuantizationSearchParams {
        rescore: Some(accuracy.rescore.unwrap_or(true)),
        oversampling: Some(f64::from(accuracy.oversampling.unwrap_or(OVERSAMPLING))),
        ..QuantizationSearchParams::default()
    });
    if query.exact {
        return SearchParams { exact: Some(true), quantization, ..SearchParams::default() };
    }
    let hnsw_ef = u64::from(accuracy.hnsw_ef.unwrap_or(HNSW_EF));
    SearchParams { hnsw_ef: Some(hnsw_ef), quantization, ..SearchParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GallerySettings, QdrantGallerySettings, Quantization, SearchAccuracy};
    use descry_model::{Embedding, Fingerprint};

    #[test]
    fn the_search_says_how_thoroughly_then_the_gallery_then_the_store() {
        let mut generation = Generation {
            gallery: "street".to_owned(),
            number: 1,
            fingerprint: Fingerprint::of_parts([]),
            dimension: 1,
            created_at_ms: 0,
            settings: GallerySettings::default(),
        };
        let embedding = Embedding::normalized(vec![1.0]).unwrap();
        let mut query = NearestQuery::new(embedding, Fingerprint::of_parts([]), 10);
        let params = search_params(&generation, &query);
        assert_eq!((params.hnsw_ef, params.exact, params.quantization), (Some(u64::from(HNSW_EF)), None, None));

        let accuracy = SearchAccuracy { hnsw_ef: Some(300), oversampling: Some(4.5), rescore: None };
        let quantization = Some(Quantization::Int8);
        generation.settings.qdrant =
            QdrantGallerySettings { quantization, accuracy, ..QdrantGallerySettings::default() };
        query.accuracy = SearchAccuracy { hnsw_ef: Some(40), rescore: Some(false), ..SearchAccuracy::default() };
        let params = search_params(&generation, &query);
        let compressed = params.quantization.unwrap();
        assert_eq!(params.hnsw_ef, Some(40));
        assert_eq!((compressed.rescore, compressed.oversampling), (Some(false), Some(4.5)));

        query.exact = true;
        let params = search_params(&generation, &query);
        assert_eq!((params.hnsw_ef, params.exact), (None, Some(true)));
    }
}
