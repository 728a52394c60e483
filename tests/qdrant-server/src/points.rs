//! Qdrant's `Points` service; its queries are in `queries.rs`.

use crate::engine::{Collection, Engine, engine_error};
use crate::faults::Faults;
use crate::from_proto::{self, Selection, limit};
use crate::service::{implement_service, refuse_unknown_fields};
use crate::to_proto;
use qdrant_client::qdrant as proto;
use qdrant_edge as engine;
use std::mem::take;
use std::sync::Arc;
use tonic::Status;

/// What a scroll returns when it names no limit.
const DEFAULT_LIMIT: u64 = 10;

pub(crate) struct PointsService {
    pub(crate) engine: Arc<Engine>,
    pub(crate) faults: Arc<Faults>,
}

implement_service!(
    proto::points_server::Points, for PointsService,
    served: [
        upsert(UpsertPoints) -> PointsOperationResponse,
        delete(DeletePoints) -> PointsOperationResponse,
        get(GetPoints) -> GetResponse,
        create_field_index(CreateFieldIndexCollection) -> PointsOperationResponse,
        scroll(ScrollPoints) -> ScrollResponse,
        count(CountPoints) -> CountResponse,
        overwrite_payload(SetPayloadPoints) -> PointsOperationResponse,
        query(QueryPoints) -> QueryResponse,
    ],
    refused: [
        update_vectors(UpdatePointVectors) -> PointsOperationResponse,
        delete_vectors(DeletePointVectors) -> PointsOperationResponse,
        set_payload(SetPayloadPoints) -> PointsOperationResponse,
        delete_payload(DeletePayloadPoints) -> PointsOperationResponse,
        clear_payload(ClearPayloadPoints) -> PointsOperationResponse,
        delete_field_index(DeleteFieldIndexCollection) -> PointsOperationResponse,
        create_vector_name(CreateVectorNameRequest) -> PointsOperationResponse,
        delete_vector_name(DeleteVectorNameRequest) -> PointsOperationResponse,
        search(SearchPoints) -> SearchResponse,
        search_batch(SearchBatchPoints) -> SearchBatchResponse,
        search_groups(SearchPointGroups) -> SearchGroupsResponse,
        recommend(RecommendPoints) -> RecommendResponse,
        recommend_batch(RecommendBatchPoints) -> RecommendBatchResponse,
        recommend_groups(RecommendPointGroups) -> RecommendGroupsResponse,
        discover(DiscoverPoints) -> DiscoverResponse,
        discover_batch(DiscoverBatchPoints) -> DiscoverBatchResponse,
        update_batch(UpdateBatchPoints) -> UpdateBatchResponse,
        query_batch(QueryBatchPoints) -> QueryBatchResponse,
        query_groups(QueryPointGroups) -> QueryGroupsResponse,
        facet(FacetCounts) -> FacetResponse,
        search_matrix_pairs(SearchMatrixPoints) -> SearchMatrixPairsResponse,
        search_matrix_offsets(SearchMatrixPoints) -> SearchMatrixOffsetsResponse,
    ],
);

impl PointsService {
    fn upsert(&self, mut request: proto::UpsertPoints) -> Result<proto::PointsOperationResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let points = take(&mut request.points);
        let condition = request.update_filter.take().map(from_proto::filter).transpose()?;
        let update_mode = from_proto::update_mode(request.update_mode.take())?;
        // Every write is applied in the order of its arrival.
        (request.wait, request.ordering) = (None, None);
        refuse_unknown_fields("upsert", &request)?;
        if points.is_empty() {
            return Err(Status::invalid_argument("Wrong input: Empty update request"));
        }
        let points = points.into_iter().map(from_proto::point).collect::<Result<Vec<_>, _>>()?;
        let insert = engine::PointInsertOperations::PointsList(points);
        let upsert = if condition.is_none() && update_mode.is_none() {
            engine::PointOperations::UpsertPoints(insert)
        } else {
            let condition = condition.unwrap_or_default();
            let conditional = engine::ConditionalInsertOperation { points_op: insert, condition, update_mode };
            engine::PointOperations::UpsertPointsConditional(conditional)
        };
        update(&collection, engine::UpdateOperation::PointOperation(upsert))
    }

    fn delete(&self, mut request: proto::DeletePoints) -> Result<proto::PointsOperationResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let selection = from_proto::selection(request.points.take())?;
        (request.wait, request.ordering) = (None, None);
        refuse_unknown_fields("delete", &request)?;
        let delete = match selection {
            Selection::Points(ids) => engine::PointOperations::DeletePoints { ids },
            Selection::Filter(filter) => engine::PointOperations::DeletePointsByFilter(filter),
        };
        update(&collection, engine::UpdateOperation::PointOperation(delete))
    }

    fn get(&self, mut request: proto::GetPoints) -> Result<proto::GetResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let ids = from_proto::point_ids(take(&mut request.ids))?;
        let with_payload = from_proto::with_payload(request.with_payload.take())?;
        let with_vectors = from_proto::with_vectors(request.with_vectors.take())?;
        refuse_unknown_fields("get", &request)?;
        let points = collection.shard.retrieve(&ids, Some(with_payload), Some(with_vectors)).map_err(engine_error)?;
        let result = points.into_iter().map(to_proto::retrieved_point).collect::<Result<_, _>>()?;
        Ok(proto::GetResponse { result, ..proto::GetResponse::default() })
    }

    fn create_field_index(
        &self,
        mut request: proto::CreateFieldIndexCollection,
    ) -> Result<proto::PointsOperationResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let field_name = from_proto::payload_key(&take(&mut request.field_name))?;
        let field_type = from_proto::index_type(request.field_type.take())?;
        request.wait = None;
        refuse_unknown_fields("create field index", &request)?;
        let create =
            engine::CreateIndex { field_name, field_schema: Some(engine::PayloadFieldSchema::FieldType(field_type)) };
        let operation = engine::FieldIndexOperations::CreateIndex(create);
        update(&collection, engine::UpdateOperation::FieldIndexOperation(operation))
    }

    fn scroll(&self, mut request: proto::ScrollPoints) -> Result<proto::ScrollResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let scroll = engine::ScrollRequest {
            offset: request.offset.take().map(from_proto::point_id).transpose()?,
            limit: Some(limit(request.limit.take().map(u64::from), DEFAULT_LIMIT)?),
            filter: request.filter.take().map(from_proto::filter).transpose()?,
            with_payload: Some(from_proto::with_payload(request.with_payload.take())?),
            with_vector: from_proto::with_vectors(request.with_vectors.take())?,
            order_by: None,
        };
        refuse_unknown_fields("scroll", &request)?;
        let (points, next) = collection.shard.scroll(scroll).map_err(engine_error)?;
        let result = points.into_iter().map(to_proto::retrieved_point).collect::<Result<_, _>>()?;
        let next_page_offset = next.map(to_proto::point_id);
        Ok(proto::ScrollResponse { next_page_offset, result, ..proto::ScrollResponse::default() })
    }

    fn count(&self, mut request: proto::CountPoints) -> Result<proto::CountResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let filter = request.filter.take().map(from_proto::filter).transpose()?;
        let exact = request.exact.take().unwrap_or(true);
        refuse_unknown_fields("count", &request)?;
        let count = collection.shard.count(engine::CountRequest { filter, exact }).map_err(engine_error)?;
        let result = Some(proto::CountResult { count: count as u64 });
        Ok(proto::CountResponse { result, ..proto::CountResponse::default() })
    }

    fn overwrite_payload(
        &self,
        mut request: proto::SetPayloadPoints,
    ) -> Result<proto::PointsOperationResponse, Status> {
        let collection = self.engine.collection(&take(&mut request.collection_name))?;
        let payload = from_proto::payload(take(&mut request.payload));
        let (points, filter) = match from_proto::selection(request.points_selector.take())? {
            Selection::Points(ids) => (Some(ids), None),
            Selection::Filter(filter) => (None, Some(filter)),
        };
        request.wait = None;
        refuse_unknown_fields("overwrite payload", &request)?;
        let overwrite =
            engine::PayloadOps::OverwritePayload(engine::SetPayloadOp { payload, points, filter, key: None });
        update(&collection, engine::UpdateOperation::PayloadOperation(overwrite))
    }
}

/// Every write is applied when it is answered, whether or not the request asked to wait.
fn update(
    collection: &Collection,
    operation: engine::UpdateOperation,
) -> Result<proto::PointsOperationResponse, Status> {
    collection.shard.update(operation).map_err(engine_error)?;
    let result = proto::UpdateResult { operation_id: Some(0), status: proto::UpdateStatus::Completed.into() };
    Ok(proto::PointsOperationResponse { result: Some(result), ..proto::PointsOperationResponse::default() })
}
