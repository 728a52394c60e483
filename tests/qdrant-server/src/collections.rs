//! Qdrant's `Collections` service, and its health check.

use crate::creation::NewCollection;
use crate::engine::{Engine, Names, no_collection};
use crate::faults::Faults;
use crate::service::implement_service;
use crate::to_proto;
use qdrant_client::qdrant as proto;
use std::sync::Arc;
use tonic::Status;

/// The version that the server claims: that of the protocol it speaks a part of.
const VERSION: &str = "1.20.0";

pub(crate) struct CollectionsService {
    pub(crate) engine: Arc<Engine>,
    pub(crate) faults: Arc<Faults>,
}

pub(crate) struct HealthService {
    pub(crate) faults: Arc<Faults>,
}

implement_service!(
    proto::collections_server::Collections, for CollectionsService,
    served: [
        get(GetCollectionInfoRequest) -> GetCollectionInfoResponse,
        list(ListCollectionsRequest) -> ListCollectionsResponse,
        create(CreateCollection) -> CollectionOperationResponse,
        delete(DeleteCollection) -> CollectionOperationResponse,
        update_aliases(ChangeAliases) -> CollectionOperationResponse,
        list_aliases(ListAliasesRequest) -> ListAliasesResponse,
        collection_exists(CollectionExistsRequest) -> CollectionExistsResponse,
    ],
    refused: [
        update(UpdateCollection) -> CollectionOperationResponse,
        list_collection_aliases(ListCollectionAliasesRequest) -> ListAliasesResponse,
        collection_cluster_info(CollectionClusterInfoRequest) -> CollectionClusterInfoResponse,
        update_collection_cluster_setup(UpdateCollectionClusterSetupRequest) -> UpdateCollectionClusterSetupResponse,
        create_shard_key(CreateShardKeyRequest) -> CreateShardKeyResponse,
        delete_shard_key(DeleteShardKeyRequest) -> DeleteShardKeyResponse,
        list_shard_keys(ListShardKeysRequest) -> ListShardKeysResponse,
    ],
);

implement_service!(
    proto::qdrant_server::Qdrant, for HealthService,
    served: [health_check(HealthCheckRequest) -> HealthCheckReply],
    refused: [],
);

impl HealthService {
    fn health_check(&self, _request: proto::HealthCheckRequest) -> Result<proto::HealthCheckReply, Status> {
        let title = "Descry's Qdrant for tests".to_owned();
        Ok(proto::HealthCheckReply { title, version: VERSION.to_owned(), commit: None })
    }
}

impl CollectionsService {
    fn get(&self, request: proto::GetCollectionInfoRequest) -> Result<proto::GetCollectionInfoResponse, Status> {
        let collection = self.engine.collection(&request.collection_name)?;
        let info = collection.shard.info();
        let payload_schema =
            info.payload_schema.iter().map(|(key, index)| (key.to_string(), to_proto::payload_schema(index)));
        let result = proto::CollectionInfo {
            status: proto::CollectionStatus::Green.into(),
            optimizer_status: Some(proto::OptimizerStatus { ok: true, error: String::new() }),
            segments_count: info.segments_count as u64,
            config: Some(collection.config.clone()),
            payload_schema: payload_schema.collect(),
            points_count: Some(info.points_count as u64),
            indexed_vectors_count: Some(info.indexed_vectors_count as u64),
            ..proto::CollectionInfo::default()
        };
        Ok(proto::GetCollectionInfoResponse { result: Some(result), time: 0.0 })
    }

    fn list(&self, _request: proto::ListCollectionsRequest) -> Result<proto::ListCollectionsResponse, Status> {
        let names = self.engine.read();
        let collections = names.collections.keys().map(|name| proto::CollectionDescription { name: name.clone() });
        Ok(proto::ListCollectionsResponse { collections: collections.collect(), time: 0.0 })
    }

    fn create(&self, request: proto::CreateCollection) -> Result<proto::CollectionOperationResponse, Status> {
        self.engine.create(NewCollection::requested(request)?)?;
        done(true)
    }

    fn delete(&self, request: proto::DeleteCollection) -> Result<proto::CollectionOperationResponse, Status> {
        done(self.engine.delete(&request.collection_name)?)
    }

    fn update_aliases(&self, request: proto::ChangeAliases) -> Result<proto::CollectionOperationResponse, Status> {
        use proto::alias_operations::Action;
        let mut names = self.engine.write();
        for operation in request.actions {
            match operation.action {
                Some(Action::CreateAlias(create)) => create_alias(&mut names, create)?,
                Some(Action::RenameAlias(rename)) => {
                    let target = names.aliases.remove(&rename.old_alias_name);
                    let target = target.ok_or_else(|| no_collection(&rename.old_alias_name))?;
                    names.aliases.insert(rename.new_alias_name, target);
                }
                Some(Action::DeleteAlias(delete)) => {
                    names.aliases.remove(&delete.alias_name);
                }
                None => return Err(Status::invalid_argument("an alias operation without action")),
            }
        }
        done(true)
    }

    fn list_aliases(&self, _request: proto::ListAliasesRequest) -> Result<proto::ListAliasesResponse, Status> {
        let names = self.engine.read();
        let aliases = names.aliases.iter().map(|(alias, collection)| proto::AliasDescription {
            alias_name: alias.clone(),
            collection_name: collection.clone(),
        });
        Ok(proto::ListAliasesResponse { aliases: aliases.collect(), time: 0.0 })
    }

    fn collection_exists(
        &self,
        request: proto::CollectionExistsRequest,
    ) -> Result<proto::CollectionExistsResponse, Status> {
        let exists = self.engine.collection(&request.collection_name).is_ok();
        Ok(proto::CollectionExistsResponse { result: Some(proto::CollectionExists { exists }), time: 0.0 })
    }
}

/// Puts the collection in the place of what the alias stood for. All requests see names under one lock, so none sees
/// the alias missing.
fn create_alias(names: &mut Names, create: proto::CreateAlias) -> Result<(), Status> {
    let proto::CreateAlias { collection_name, alias_name } = create;
    if !names.collections.contains_key(&collection_name) {
        return Err(no_collection(&collection_name));
    }
    if names.collections.contains_key(&alias_name) {
        return Err(Status::invalid_argument(format!("Wrong input: Collection `{alias_name}` already exists!")));
    }
    names.aliases.insert(alias_name, collection_name);
    Ok(())
}

fn done(result: bool) -> Result<proto::CollectionOperationResponse, Status> {
    Ok(proto::CollectionOperationResponse { result, time: 0.0 })
}
