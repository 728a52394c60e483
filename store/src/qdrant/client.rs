//! The calls that are made of one node.
//!
//! The library's own client takes no CA and no certificate, so its connections are not used; its messages and generated calls are.

use super::connection::NodeConnection;
use http::Uri;
use qdrant_client::QdrantError;
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::{
    AliasOperations, ChangeAliases, CollectionExistsRequest, CollectionOperationResponse, CountPoints, CountResponse,
    CreateAlias, CreateCollection, CreateFieldIndexCollection, DeleteCollection, DeletePoints,
    GetCollectionInfoRequest, GetCollectionInfoResponse, GetPoints, GetResponse, ListAliasesRequest,
    ListAliasesResponse, ListCollectionsRequest, ListCollectionsResponse, PointsOperationResponse, QueryPoints,
    QueryResponse, ScrollPoints, ScrollResponse, SetPayloadPoints, UpsertPoints, alias_operations,
};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The codes of gRPC statuses with which a call of points is made once more at once: CANCELLED, UNKNOWN, INTERNAL, UNAVAILABLE. A
/// connection that broke while nothing was sent over it is noticed by the next call.
const ONCE_MORE: [i32; 4] = [1, 2, 13, 14];

/// One node.
pub(super) struct NodeClient {
    origin: Uri,
    /// Calls take turns. At least one.
    connections: Vec<NodeConnection>,
    turn: AtomicUsize,
}

type Answer<Reply> = Result<Reply, QdrantError>;

impl NodeClient {
    /// `connections` is not empty.
    pub(super) fn new(origin: Uri, connections: Vec<NodeConnection>) -> Self {
        Self { origin, connections, turn: AtomicUsize::new(0) }
    }

    fn connection(&self) -> NodeConnection {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        self.connections[turn].clone()
    }

    fn collections(&self) -> CollectionsClient<NodeConnection> {
        CollectionsClient::with_origin(self.connection(), self.origin.clone()).max_decoding_message_size(usize::MAX)
    }

    async fn points<Reply, Asked>(&self, ask: impl Fn(PointsClient<NodeConnection>) -> Asked) -> Answer<Reply>
    where
        Asked: Future<Output = Answer<Reply>>,
    {
        let client =
            || PointsClient::with_origin(self.connection(), self.origin.clone()).max_decoding_message_size(usize::MAX);
        match ask(client()).await {
            Err(QdrantError::ResponseError { status }) if ONCE_MORE.contains(&(status.code() as i32)) => {
                ask(client()).await
            }
            answer => answer,
        }
    }

    pub(super) async fn list_collections(&self) -> Answer<ListCollectionsResponse> {
        Ok(self.collections().list(ListCollectionsRequest {}).await?.into_inner())
    }

    pub(super) async fn collection_info(&self, collection_name: String) -> Answer<GetCollectionInfoResponse> {
        Ok(self.collections().get(GetCollectionInfoRequest { collection_name }).await?.into_inner())
    }

    pub(super) async fn collection_exists(&self, collection_name: &str) -> Answer<bool> {
        let request = CollectionExistsRequest { collection_name: collection_name.to_owned() };
        let answer = self.collections().collection_exists(request).await?.into_inner();
        Ok(answer.result.is_some_and(|result| result.exists))
    }

    pub(super) async fn create_collection(&self, request: CreateCollection) -> Answer<CollectionOperationResponse> {
        Ok(self.collections().create(request).await?.into_inner())
    }

    pub(super) async fn delete_collection(&self, collection_name: String) -> Answer<CollectionOperationResponse> {
        let request = DeleteCollection { collection_name, timeout: None };
        Ok(self.collections().delete(request).await?.into_inner())
    }

    pub(super) async fn create_alias(&self, alias: CreateAlias) -> Answer<CollectionOperationResponse> {
        let action = AliasOperations { action: Some(alias_operations::Action::CreateAlias(alias)) };
        let request = ChangeAliases { actions: vec![action], timeout: None };
        Ok(self.collections().update_aliases(request).await?.into_inner())
    }

    pub(super) async fn list_aliases(&self) -> Answer<ListAliasesResponse> {
        Ok(self.collections().list_aliases(ListAliasesRequest {}).await?.into_inner())
    }
}

/// Each call of points by its name here, its name in Qdrant's service, and its messages.
macro_rules! points_calls {
    ($($name:ident is $method:ident: $request:ty => $reply:ty;)*) => {
        impl NodeClient {
            $(pub(super) async fn $name(&self, request: $request) -> Answer<$reply> {
                let ask = |mut points: PointsClient<NodeConnection>| {
                    let request = request.clone();
                    async move { Ok(points.$method(request).await?.into_inner()) }
                };
                self.points(ask).await
            })*
        }
    };
}

points_calls! {
    create_field_index is create_field_index: CreateFieldIndexCollection => PointsOperationResponse;
    upsert_points is upsert: UpsertPoints => PointsOperationResponse;
    delete_points is delete: DeletePoints => PointsOperationResponse;
    overwrite_payload is overwrite_payload: SetPayloadPoints => PointsOperationResponse;
    scroll is scroll: ScrollPoints => ScrollResponse;
    get_points is get: GetPoints => GetResponse;
    count is count: CountPoints => CountResponse;
    query is query: QueryPoints => QueryResponse;
}
