//! Queries of the `Points` service.

use crate::engine::engine_error;
use crate::from_proto::{self, limit};
use crate::points::PointsService;
use crate::service::refuse_unknown_fields;
use crate::to_proto;
use qdrant_client::qdrant as proto;
use qdrant_edge as engine;
use std::mem::take;
use tonic::Status;

/// What a query returns when it names no limit.
const DEFAULT_LIMIT: u64 = 10;

impl PointsService {
    pub(crate) fn query(&self, mut request: proto::QueryPoints) -> Result<proto::QueryResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let params = from_proto::search_params(request.params.take())?;
        let is_exact = params.is_some_and(|params| params.exact);
        let misses = if is_exact { 0 } else { self.faults.misses() };
        let query = engine::QueryRequest {
            prefetches: Vec::new(),
            query: Some(nearest(request.query.take())?),
            filter: request.filter.take().map(from_proto::filter).transpose()?,
            score_threshold: request.score_threshold.take().map(Into::into),
            limit: limit(request.limit.take(), DEFAULT_LIMIT)?.saturating_add(misses),
            offset: 0,
            params,
            with_vector: from_proto::with_vectors(request.with_vectors.take())?,
            with_payload: from_proto::with_payload(request.with_payload.take())?,
        };
        refuse_unknown_fields("query", &request)?;
        let points = collection.shard.query(query).map_err(engine_error)?;
        let result = points.into_iter().skip(misses).map(to_proto::scored_point).collect::<Result<_, _>>()?;
        Ok(proto::QueryResponse { result, ..proto::QueryResponse::default() })
    }
}

fn nearest(query: Option<proto::Query>) -> Result<engine::ScoringQuery, Status> {
    let query = from_proto::query_vector(query)?.into();
    let nearest = engine::NamedQuery { query, using: Some(String::new()) };
    Ok(engine::ScoringQuery::Vector(engine::QueryEnum::Nearest(nearest)))
}
