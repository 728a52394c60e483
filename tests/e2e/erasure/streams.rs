//! Matches that were found and not told yet when somebody is erased.

use super::{GALLERY, creating, image, person, write, writing};
use crate::stands::computed::ComputedModel;
use crate::stands::polling::PATIENCE;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{CreateWatchRequest, QueryPart, WatchMatchesRequest};
use descry_search::{SearchConfig, SearchService, add_search_service};
use descry_serving::{GrpcChannel, in_process_channel};
use prost_types::Timestamp;
use tonic::service::RoutesBuilder;

/// So long that few matches fit into what a connection sends ahead of its reader, which nobody can take back.
const NOTE_BYTES: usize = 15_000;
const SENT_AHEAD: u32 = 12;

#[tokio::test]
async fn nobody_is_told_of_somebody_who_was_erased_meanwhile() {
    let model = ComputedModel::named("first");
    let encoder = model.clone().serve().await;
    let data = tempfile::tempdir().unwrap();
    let mut config = SearchConfig::load(None).unwrap();
    config.encoder.url = encoder;
    config.embedded.path = data.path().join("galleries.sqlite3");
    config.watches.poll_interval_ms = 10;
    let service = SearchService::open(&config, None).await.unwrap();
    let mut routes = RoutesBuilder::default();
    add_search_service(&mut routes, service, usize::MAX);
    // Without a network between, what is not asked for is not sent.
    let channel: GrpcChannel = in_process_channel(routes.routes(), descry_proto::DESCRIPTOR_SET).unwrap();
    let mut client = SearchServiceClient::new(channel);
    client.create_gallery(creating(&model)).await.unwrap();
    let everybody = CreateWatchRequest {
        gallery: GALLERY.to_owned(),
        name: "everybody".to_owned(),
        parts: vec![QueryPart { what: Some(What::Text("anybody".to_owned())), weight: Some(1.0) }],
        min_score: -1.0,
        filter: None,
    };
    client.create_watch(everybody).await.unwrap();
    let images = (0..20).map(|number| {
        let person = if number % 2 == 1 { "erased" } else { "kept" };
        let mut image = image(&model, &format!("{number:02}.jpg"), (person, "", ""), &format!("content {number}"));
        let attributes = &mut image.metadata.as_mut().unwrap().attributes;
        attributes.insert("note".to_owned(), "long ".repeat(NOTE_BYTES / 5));
        image
    });
    write(&mut client, writing(&model, images.collect())).await;

    let since = Some(Timestamp { seconds: 1, nanos: 0 });
    let follow = WatchMatchesRequest { gallery: GALLERY.to_owned(), since, ..WatchMatchesRequest::default() };
    let mut matches = client.watch_matches(follow).await.unwrap().into_inner();
    let mut next = async || {
        let found = tokio::time::timeout(PATIENCE, matches.message()).await.unwrap().unwrap().unwrap();
        found.hit.unwrap().image_id
    };
    // All of them are found at one look, and the others wait now.
    let mut told = vec![next().await];
    client.erase_images(person("erased")).await.unwrap();
    while told.last().is_none_or(|last| last != "18.jpg") {
        told.push(next().await);
    }
    let number = |image_id: &String| image_id[..2].parse::<u32>().unwrap();
    assert!(told.iter().map(number).filter(|number| *number >= SENT_AHEAD).all(|number| number % 2 == 0), "{told:?}");
}
