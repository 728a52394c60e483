//! Queries of the `Points` service.

use crate::engine::{Collection, engine_error};
use crate::from_proto::{self, limit, only};
use crate::points::PointsService;
use crate::service::refuse_unknown_fields;
use crate::to_proto;
use qdrant_client::qdrant as proto;
use qdrant_edge as engine;
use serde_json::Value as Json;
use std::mem::take;
use tonic::Status;

/// What a query returns when it names no limit.
const DEFAULT_LIMIT: u64 = 10;

/// Groups and points of a group when a query of groups names no limits.
const DEFAULT_GROUP_LIMIT: u64 = 3;

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

    /// Ranks all points, so that no group is missed.
    pub(crate) fn query_groups(
        &self,
        mut request: proto::QueryPointGroups,
    ) -> Result<proto::QueryGroupsResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let group_by = group_field(take(&mut request.group_by))?;
        let group_limit = limit(request.limit.take(), DEFAULT_GROUP_LIMIT)?;
        let group_size = limit(request.group_size.take(), DEFAULT_GROUP_LIMIT)?;
        let engine::WithPayloadInterface::Bool(with_payload) = from_proto::with_payload(request.with_payload.take())?
        else {
            return only("whole payloads or none in groups");
        };
        let query = engine::QueryRequest {
            prefetches: Vec::new(),
            query: Some(nearest(request.query.take())?),
            filter: request.filter.take().map(from_proto::filter).transpose()?,
            score_threshold: request.score_threshold.take().map(Into::into),
            limit: number_of_points(&collection)?.max(1),
            offset: 0,
            params: from_proto::search_params(request.params.take())?,
            with_vector: from_proto::with_vectors(request.with_vectors.take())?,
            with_payload: engine::WithPayloadInterface::Bool(true),
        };
        refuse_unknown_fields("query of groups", &request)?;
        let points = collection.shard.query(query).map_err(engine_error)?;
        let groups = groups(points, &group_by, group_limit, group_size)?;
        let groups = groups.into_iter().map(|(name, points)| group(name, points, with_payload));
        let result = proto::GroupsResult { groups: groups.collect::<Result<_, _>>()? };
        Ok(proto::QueryGroupsResponse { result: Some(result), ..proto::QueryGroupsResponse::default() })
    }
}

fn nearest(query: Option<proto::Query>) -> Result<engine::ScoringQuery, Status> {
    let query = from_proto::query_vector(query)?.into();
    let nearest = engine::NamedQuery { query, using: Some(String::new()) };
    Ok(engine::ScoringQuery::Vector(engine::QueryEnum::Nearest(nearest)))
}

fn number_of_points(collection: &Collection) -> Result<usize, Status> {
    collection.shard.count(engine::CountRequest { filter: None, exact: true }).map_err(engine_error)
}

fn group_field(field: String) -> Result<String, Status> {
    if field.is_empty() {
        return Err(Status::invalid_argument("group_by: must not be empty"));
    }
    if field.contains(['.', '[', '"']) { only("groups by a field of the payload itself") } else { Ok(field) }
}

/// The points by falling score become groups by the score of their best point.
fn groups(
    points: Vec<engine::ScoredPoint>,
    field: &str,
    limit: usize,
    size: usize,
) -> Result<Vec<(String, Vec<engine::ScoredPoint>)>, Status> {
    let mut groups: Vec<(String, Vec<engine::ScoredPoint>)> = Vec::new();
    for point in points {
        let name = match point.payload.as_ref().and_then(|payload| payload.0.get(field)) {
            None | Some(Json::Null) => continue,
            Some(Json::String(name)) => name.clone(),
            Some(_) => return only("groups by texts"),
        };
        match groups.iter().position(|(other, _)| *other == name) {
            Some(place) if groups[place].1.len() < size => groups[place].1.push(point),
            None if groups.len() < limit => groups.push((name, vec![point])),
            Some(_) | None => {}
        }
    }
    Ok(groups)
}

fn group(name: String, points: Vec<engine::ScoredPoint>, with_payload: bool) -> Result<proto::PointGroup, Status> {
    let hits = points.into_iter().map(|point| {
        let payload = point.payload.filter(|_| with_payload);
        to_proto::scored_point(engine::ScoredPoint { payload, ..point })
    });
    let id = proto::GroupId { kind: Some(proto::group_id::Kind::StringValue(name)) };
    Ok(proto::PointGroup { id: Some(id), hits: hits.collect::<Result<_, _>>()?, lookup: None })
}
