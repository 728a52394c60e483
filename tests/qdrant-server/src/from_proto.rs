//! Requests as the engine's types. What has no counterpart here is refused.

use crate::service::refuse_unknown_fields;
use qdrant_client::qdrant as proto;
use qdrant_edge as engine;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use tonic::Status;

pub(crate) fn point_id(id: proto::PointId) -> Result<engine::PointId, Status> {
    use proto::point_id::PointIdOptions;
    match id.point_id_options {
        Some(PointIdOptions::Num(number)) => Ok(engine::PointId::NumId(number)),
        Some(PointIdOptions::Uuid(text)) => match text.parse() {
            Ok(uuid) => Ok(engine::PointId::Uuid(uuid)),
            Err(_) => Err(Status::invalid_argument(format!("Unable to parse UUID: {text}"))),
        },
        None => Err(Status::invalid_argument("No ID options provided")),
    }
}

pub(crate) fn point_ids(ids: Vec<proto::PointId>) -> Result<Vec<engine::PointId>, Status> {
    ids.into_iter().map(point_id).collect()
}

pub(crate) fn point(point: proto::PointStruct) -> Result<engine::PointStructPersisted, Status> {
    let id = point_id(point.id.ok_or_else(|| Status::invalid_argument("Empty ID is not allowed"))?)?;
    let vector = engine::Vectors::from(engine::Vector::new_dense(point_vector(point.vectors)?));
    Ok(engine::PointStructPersisted { id, vector: vector.0.into(), payload: Some(payload(point.payload)) })
}

fn point_vector(vectors: Option<proto::Vectors>) -> Result<Vec<f32>, Status> {
    use proto::vector::Vector as Kind;
    use proto::vectors::VectorsOptions;
    match vectors.and_then(|vectors| vectors.vectors_options) {
        Some(VectorsOptions::Vector(proto::Vector { vector: Some(Kind::Dense(dense)), .. })) => Ok(dense.data),
        Some(VectorsOptions::Vector(_) | VectorsOptions::Vectors(_)) => only("one unnamed dense vector per point"),
        None => Err(Status::invalid_argument("Expected some vectors")),
    }
}

pub(crate) fn payload(payload: HashMap<String, proto::Value>) -> engine::Payload {
    engine::Payload(payload.into_iter().map(|(key, value)| (key, value.into())).collect())
}

pub(crate) fn payload_key(key: &str) -> Result<engine::JsonPath, Status> {
    key.parse().map_err(|()| Status::invalid_argument(format!("Unable to parse payload key: {key}")))
}

pub(crate) enum Selection {
    Points(Vec<engine::PointId>),
    Filter(engine::Filter),
}

pub(crate) fn selection(selector: Option<proto::PointsSelector>) -> Result<Selection, Status> {
    use proto::points_selector::PointsSelectorOneOf;
    match selector.and_then(|selector| selector.points_selector_one_of) {
        Some(PointsSelectorOneOf::Points(list)) => Ok(Selection::Points(point_ids(list.ids)?)),
        Some(PointsSelectorOneOf::Filter(conditions)) => Ok(Selection::Filter(filter(conditions)?)),
        None => Err(Status::invalid_argument("PointsSelector is missing")),
    }
}

/// Which points an upsert writes.
pub(crate) fn update_mode(mode: Option<i32>) -> Result<Option<engine::UpdateMode>, Status> {
    mode.map(|mode| match proto::UpdateMode::try_from(mode) {
        Ok(proto::UpdateMode::Upsert) => Ok(engine::UpdateMode::Upsert),
        Ok(proto::UpdateMode::InsertOnly) => Ok(engine::UpdateMode::InsertOnly),
        Ok(proto::UpdateMode::UpdateOnly) => Ok(engine::UpdateMode::UpdateOnly),
        Err(_) => Err(Status::invalid_argument("unknown update mode")),
    })
    .transpose()
}

pub(crate) fn query_vector(query: Option<proto::Query>) -> Result<Vec<f32>, Status> {
    use proto::query::Variant as Kind;
    use proto::vector_input::Variant as Input;
    match query.and_then(|query| query.variant) {
        Some(Kind::Nearest(proto::VectorInput { variant: Some(Input::Dense(dense)) })) => Ok(dense.data),
        Some(_) | None => only("queries for the nearest of one dense vector"),
    }
}

pub(crate) fn filter(filter: proto::Filter) -> Result<engine::Filter, Status> {
    let list = |conditions: Vec<proto::Condition>| {
        let converted = conditions.into_iter().map(condition).collect::<Result<Vec<_>, Status>>()?;
        Ok::<_, Status>((!converted.is_empty()).then_some(converted))
    };
    if filter.min_should.is_some() {
        return only("filters of must, must_not and should");
    }
    let mut converted = engine::Filter::new();
    converted.must = list(filter.must)?;
    converted.must_not = list(filter.must_not)?;
    converted.should = list(filter.should)?;
    Ok(converted)
}

fn condition(condition: proto::Condition) -> Result<engine::Condition, Status> {
    use proto::condition::ConditionOneOf as Kind;
    match condition.condition_one_of {
        Some(Kind::Field(field)) => field_condition(field),
        Some(Kind::Filter(nested)) => Ok(engine::Condition::Filter(filter(nested)?)),
        Some(Kind::HasId(wanted)) => {
            let ids = point_ids(wanted.has_id)?;
            Ok(engine::Condition::HasId(engine::HasIdCondition::from_iter(ids)))
        }
        Some(Kind::IsEmpty(field)) => condition_from_json(json!({ "is_empty": { "key": field.key } })),
        Some(Kind::IsNull(field)) => condition_from_json(json!({ "is_null": { "key": field.key } })),
        Some(Kind::Nested(_) | Kind::HasVector(_) | Kind::Slice(_)) => only("conditions on fields and point ids"),
        None => Err(Status::invalid_argument("Malformed Condition type")),
    }
}

fn field_condition(mut field: proto::FieldCondition) -> Result<engine::Condition, Status> {
    use proto::r#match::MatchValue;
    let mut condition = Map::from_iter([("key".to_owned(), Json::from(std::mem::take(&mut field.key)))]);
    match field.r#match.take().map(|matched| matched.match_value) {
        Some(Some(value)) => {
            let value = match value {
                MatchValue::Keyword(keyword) => json!({ "value": keyword }),
                MatchValue::Integer(integer) => json!({ "value": integer }),
                MatchValue::Boolean(boolean) => json!({ "value": boolean }),
                MatchValue::Keywords(keywords) => json!({ "any": keywords.strings }),
                MatchValue::Integers(integers) => json!({ "any": integers.integers }),
                MatchValue::ExceptKeywords(keywords) => json!({ "except": keywords.strings }),
                MatchValue::ExceptIntegers(integers) => json!({ "except": integers.integers }),
                MatchValue::Text(_)
                | MatchValue::Phrase(_)
                | MatchValue::TextAny(_)
                | MatchValue::Prefix(_)
                | MatchValue::Substring(_) => return only("matches of whole values"),
            };
            condition.insert("match".to_owned(), value);
        }
        Some(None) => return Err(Status::invalid_argument("Malformed Match condition")),
        None => {}
    }
    if let Some(range) = field.range.take() {
        let range = json!({ "lt": range.lt, "lte": range.lte, "gt": range.gt, "gte": range.gte });
        condition.insert("range".to_owned(), range);
    }
    if field != proto::FieldCondition::default() {
        return only("field conditions of match and range");
    }
    condition_from_json(Json::Object(condition))
}

/// The engine's conditions have no public constructors for all this, but they read the JSON of the REST interface.
fn condition_from_json(condition: Json) -> Result<engine::Condition, Status> {
    serde_json::from_value(condition).map_err(|error| Status::invalid_argument(error.to_string()))
}

pub(crate) fn with_payload(
    selector: Option<proto::WithPayloadSelector>,
) -> Result<engine::WithPayloadInterface, Status> {
    use proto::with_payload_selector::SelectorOptions;
    match selector.and_then(|selector| selector.selector_options) {
        None => Ok(engine::WithPayloadInterface::Bool(false)),
        Some(SelectorOptions::Enable(wanted)) => Ok(engine::WithPayloadInterface::Bool(wanted)),
        Some(SelectorOptions::Include(wanted)) => {
            let keys = wanted.fields.iter().map(|key| payload_key(key)).collect::<Result<_, _>>()?;
            Ok(engine::WithPayloadInterface::Fields(keys))
        }
        Some(SelectorOptions::Exclude(_)) => only("whole payloads and named fields"),
    }
}

pub(crate) fn with_vectors(selector: Option<proto::WithVectorsSelector>) -> Result<engine::WithVector, Status> {
    use proto::with_vectors_selector::SelectorOptions;
    match selector.and_then(|selector| selector.selector_options) {
        None => Ok(false.into()),
        Some(SelectorOptions::Enable(wanted)) => Ok(wanted.into()),
        Some(SelectorOptions::Include(_)) => only("all vectors or none"),
    }
}

pub(crate) fn index_type(field_type: Option<i32>) -> Result<engine::PayloadSchemaType, Status> {
    use proto::FieldType;
    match field_type.map(FieldType::try_from) {
        Some(Ok(FieldType::Keyword)) => Ok(engine::PayloadSchemaType::Keyword),
        Some(Ok(FieldType::Integer)) => Ok(engine::PayloadSchemaType::Integer),
        Some(Ok(FieldType::Float)) => Ok(engine::PayloadSchemaType::Float),
        Some(Ok(FieldType::Bool)) => Ok(engine::PayloadSchemaType::Bool),
        Some(Ok(FieldType::Geo | FieldType::Text | FieldType::Datetime | FieldType::Uuid)) => {
            only("indexes of keywords, integers, floats and booleans")
        }
        Some(Err(_)) | None => Err(Status::invalid_argument("Malformed field type")),
    }
}

/// How many results are wanted.
pub(crate) fn limit(limit: Option<u64>, default: u64) -> Result<usize, Status> {
    match usize::try_from(limit.unwrap_or(default)) {
        Ok(limit) if limit > 0 => Ok(limit),
        Ok(_) | Err(_) => Err(Status::invalid_argument("limit: must be greater than or equal to 1")),
    }
}

/// How a query is to search.
pub(crate) fn search_params(params: Option<proto::SearchParams>) -> Result<Option<engine::SearchParams>, Status> {
    let Some(mut params) = params else { return Ok(None) };
    let quantization = params.quantization.take().map(|quantization| engine::QuantizationSearchParams {
        ignore: quantization.ignore.unwrap_or_default(),
        rescore: quantization.rescore,
        oversampling: quantization.oversampling,
    });
    if quantization.and_then(|quantization| quantization.oversampling).is_some_and(|factor| factor < 1.0) {
        return Err(Status::invalid_argument("oversampling: must be greater than or equal to 1"));
    }
    let hnsw_ef = params.hnsw_ef.take().map(usize::try_from).transpose();
    let known = engine::SearchParams {
        hnsw_ef: hnsw_ef.map_err(|error| Status::invalid_argument(format!("hnsw_ef: {error}")))?,
        exact: params.exact.take().unwrap_or_default(),
        quantization,
        ..engine::SearchParams::default()
    };
    refuse_unknown_fields("search parameter", &params)?;
    Ok(Some(known))
}

pub(crate) fn only<T>(known: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("the test server knows only {known}")))
}
