//! Who may erase, and who may undo it.

use super::{Tokens, With};
use crate::erasure::{creating, image, outcome, person, writing};
use crate::stands::alone::SearchAlone;
use crate::stands::computed::ComputedModel;
use descry_client::Connection;
use descry_proto::search::v1::IndexEmbeddingsRequest;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use tonic::Code;
use tonic::transport::Channel;

#[tokio::test]
async fn a_caller_who_may_index_does_not_bring_back_what_was_erased() {
    let model = ComputedModel::named("first");
    let tokens = Tokens::new();
    let (owner, importer) = (tokens.allow(&["search:*", "index:*", "manage:*"]), tokens.allow(&["index:lobby"]));
    let service = SearchAlone::start(|config| config.access = tokens.settings()).await;
    let as_caller = async |token: &str| {
        let connection = Connection::to(&service.url).await.unwrap();
        connection.with_token(token).unwrap()
    };
    as_caller(&owner).await.create_gallery(creating(&model)).await.unwrap();
    as_caller(&owner).await.erase_images(person("erased")).await.unwrap();
    let refused = as_caller(&importer).await.erase_images(person("erased")).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::PermissionDenied));
    let channel = Channel::from_shared(service.url.clone()).unwrap().connect_lazy();
    let images = vec![image(&model, "1.jpg", ("erased", "", ""), "one")];
    let request = IndexEmbeddingsRequest { allow_erased: true, ..writing(&model, images) };
    let with = |token: &str| SearchServiceClient::with_interceptor(channel.clone(), With(token.to_owned()));
    let refused = with(&importer).index_embeddings(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let results = with(&owner).index_embeddings(request).await.unwrap().into_inner().results;
    assert_eq!(outcome(&results[0]), "let back");
}
