//! Results of the engine as messages.

use qdrant_client::qdrant as proto;
use qdrant_edge as engine;
use std::collections::HashMap;
use tonic::Status;

pub(crate) fn point_id(id: engine::PointId) -> proto::PointId {
    match id {
        engine::PointId::NumId(number) => number.into(),
        engine::PointId::Uuid(uuid) => uuid.to_string().into(),
    }
}

pub(crate) fn scored_point(point: engine::ScoredPoint) -> Result<proto::ScoredPoint, Status> {
    Ok(proto::ScoredPoint {
        id: Some(point_id(point.id)),
        payload: payload(point.payload),
        score: point.score,
        version: point.version,
        vectors: point.vector.map(vectors).transpose()?,
        ..proto::ScoredPoint::default()
    })
}

pub(crate) fn retrieved_point(point: engine::Record) -> Result<proto::RetrievedPoint, Status> {
    Ok(proto::RetrievedPoint {
        id: Some(point_id(point.id)),
        payload: payload(point.payload),
        vectors: point.vector.map(vectors).transpose()?,
        ..proto::RetrievedPoint::default()
    })
}

fn payload(payload: Option<engine::Payload>) -> HashMap<String, proto::Value> {
    let Some(payload) = payload else { return HashMap::new() };
    payload.0.into_iter().map(|(key, value)| (key, value.into())).collect()
}

fn vectors(vectors: engine::VectorStructInternal) -> Result<proto::VectorsOutput, Status> {
    use proto::vectors_output::VectorsOptions;
    let engine::VectorStructInternal::Single(data) = vectors else {
        return Err(Status::internal("a point with something else than one dense vector"));
    };
    let dense = proto::vector_output::Vector::Dense(proto::DenseVector { data });
    let output = proto::VectorOutput { vector: Some(dense), ..proto::VectorOutput::default() };
    Ok(proto::VectorsOutput { vectors_options: Some(VectorsOptions::Vector(output)) })
}

pub(crate) fn payload_schema(index: &engine::PayloadIndexInfo) -> proto::PayloadSchemaInfo {
    use engine::PayloadSchemaType as Known;
    use proto::PayloadSchemaType as Reported;
    let data_type = match index.data_type {
        Known::Keyword => Reported::Keyword,
        Known::Integer => Reported::Integer,
        Known::Float => Reported::Float,
        Known::Geo => Reported::Geo,
        Known::Text => Reported::Text,
        Known::Bool => Reported::Bool,
        Known::Datetime => Reported::Datetime,
        Known::Uuid => Reported::Uuid,
    };
    proto::PayloadSchemaInfo { data_type: data_type.into(), params: None, points: Some(index.points as u64) }
}
