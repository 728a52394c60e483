//! Both services over gRPC: galleries, indexing, searching, health, reflection.

use descry_proto::encoder::v1::encode_result::Outcome as EncodeOutcome;
use descry_proto::encoder::v1::{EncodeImageRequest, EncodeTextRequest, GetModelRequest};
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_request::Query;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CreateGalleryRequest, DeleteGalleryRequest, DeleteImagesRequest, Filter, GetGalleryRequest, ImageMetadata,
    IndexImagesRequest, IndexImagesResponse, ListGalleriesRequest, SearchRequest,
};
use descry_tests::{TestStack, demo_folder};
use prost_types::Timestamp;
use std::collections::HashSet;
use std::fs;
use std::time::Duration;
use tonic::Code;
use tonic::client::GrpcService;
use tonic::codegen::{Body, Bytes, StdError};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Far longer than anything here takes: it turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn demo_images(count: usize) -> Vec<Image> {
    let folder = demo_folder().join("gallery/imgs/test");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= count);
    let image = |(index, path): (usize, &std::path::PathBuf)| {
        let name = path.file_name().unwrap().to_str().unwrap();
        // p2601_c3_0.jpg: person 2601, camera c3.
        let mut parts = name.trim_end_matches(".jpg").split('_');
        let metadata = ImageMetadata {
            person_id: parts.next().map(|person| person.trim_start_matches('p').to_owned()),
            camera_id: parts.next().map(str::to_owned),
            captured_at: Some(Timestamp { seconds: 1_700_000_000 + index as i64, nanos: 0 }),
            attributes: [("weather".to_owned(), "rain".to_owned())].into(),
            ..ImageMetadata::default()
        };
        Image { image_id: name.to_owned(), content: fs::read(path).unwrap().into(), metadata: Some(metadata) }
    };
    files.iter().take(count).enumerate().map(image).collect()
}

pub(crate) async fn index<Transport>(
    client: &mut SearchServiceClient<Transport>,
    gallery: &str,
    images: Vec<Image>,
) -> Vec<IndexImagesResponse>
where
    Transport: GrpcService<tonic::body::Body, Error: Into<StdError>>,
    Transport::ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    let start = Message::Start(Start { gallery: gallery.to_owned(), create: true, ..Start::default() });
    let messages = std::iter::once(start).chain(images.into_iter().map(Message::Image));
    let requests: Vec<_> = messages.map(|message| IndexImagesRequest { message: Some(message) }).collect();
    let mut replies = client.index_images(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut collected = Vec::new();
    while let Some(reply) = replies.message().await.unwrap() {
        collected.push(reply);
    }
    collected
}

pub(crate) fn text_search(gallery: &str, text: &str, limit: u32) -> SearchRequest {
    SearchRequest {
        gallery: gallery.to_owned(),
        query: Some(Query::Text(text.to_owned())),
        limit,
        ..SearchRequest::default()
    }
}

#[tokio::test]
async fn a_description_finds_the_person() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    let images = demo_images(200);
    let replies = index(&mut client, "lobby", images.clone()).await;
    assert_eq!(replies.len(), 200);
    assert!(replies.iter().all(|reply| matches!(&reply.outcome, Some(Outcome::Indexed(done)) if !done.unchanged)));

    let gallery = client.get_gallery(GetGalleryRequest { name: "lobby".to_owned() }).await.unwrap().into_inner();
    assert_eq!((gallery.images, gallery.embedding_dimension), (200, 128));

    let request = text_search("lobby", "a man in a white long coat and green trousers with a blue backpack", 4);
    let hits = client.search(request.clone()).await.unwrap().into_inner().hits;
    assert_eq!(hits.len(), 4);
    let metadata = hits[0].metadata.clone().unwrap();
    assert_eq!(metadata.person_id.as_deref(), Some("2602"));
    assert_eq!(metadata.attributes["weather"], "rain");
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));

    // The image itself is nearest to itself.
    let query = Some(Query::Image(images[7].content.clone()));
    let found = client.search(SearchRequest { query, ..request.clone() }).await.unwrap().into_inner().hits;
    assert_eq!(found[0].image_id, images[7].image_id);
    assert!((found[0].score - 1.0).abs() < 1e-4);

    // Filters, alone and together.
    let filtered = |filter: Filter| SearchRequest { filter: Some(filter), limit: 200, ..request.clone() };
    let camera = Filter { camera_ids: vec!["c1".to_owned()], ..Filter::default() };
    let hits = client.search(filtered(camera)).await.unwrap().into_inner().hits;
    let expected = images.iter().filter(|image| image.metadata.as_ref().unwrap().camera_id.as_deref() == Some("c1"));
    assert_eq!(hits.len(), expected.count());
    let person = Filter { person_ids: vec!["2602".to_owned()], ..Filter::default() };
    assert_eq!(client.search(filtered(person)).await.unwrap().into_inner().hits.len(), 4);
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let window =
        Filter { captured_from: time(1_700_000_010), captured_before: time(1_700_000_015), ..Filter::default() };
    assert_eq!(client.search(filtered(window)).await.unwrap().into_inner().hits.len(), 5);
    stack.stop().await;
}

#[tokio::test]
async fn indexing_again_changes_nothing() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    let mut images = demo_images(12);
    index(&mut client, "lobby", images.clone()).await;
    let unchanged = |replies: &[IndexImagesResponse]| {
        let count =
            |reply: &&IndexImagesResponse| matches!(&reply.outcome, Some(Outcome::Indexed(done)) if done.unchanged);
        replies.iter().filter(count).count()
    };
    assert_eq!(unchanged(&index(&mut client, "lobby", images.clone()).await), 12);
    // Other metadata or other bytes are written anew.
    images[0].metadata.as_mut().unwrap().camera_id = Some("c9".to_owned());
    images[1].content = images[2].content.clone();
    assert_eq!(unchanged(&index(&mut client, "lobby", images.clone()).await), 10);
    // Of one id sent twice in a stream the later one wins, also when it is what the store holds and chunks lie between.
    let other = Image { content: images[3].content.clone(), ..images[4].clone() };
    let between = demo_images(62).into_iter().skip(12);
    let sent = std::iter::once(other).chain(between).chain([images[4].clone()]).collect();
    assert_eq!(index(&mut client, "lobby", sent).await.len(), 52);
    let query = Some(Query::Image(images[4].content.clone()));
    let request = SearchRequest { query, ..text_search("lobby", "", 1) };
    assert_eq!(client.search(request).await.unwrap().into_inner().hits[0].image_id, images[4].image_id);

    let gallery = client.get_gallery(GetGalleryRequest { name: "lobby".to_owned() }).await.unwrap().into_inner();
    assert_eq!(gallery.images, 62);
    let delete = DeleteImagesRequest {
        gallery: "lobby".to_owned(),
        image_ids: vec![images[0].image_id.clone(), "unknown".to_owned()],
        ..DeleteImagesRequest::default()
    };
    assert_eq!(client.delete_images(delete).await.unwrap().into_inner().deleted, 1);
    stack.stop().await;
}

#[tokio::test]
async fn galleries_come_and_go() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    for name in ["b", "a"] {
        client
            .create_gallery(CreateGalleryRequest { name: name.to_owned(), ..CreateGalleryRequest::default() })
            .await
            .unwrap();
    }
    client
        .create_gallery(CreateGalleryRequest { name: "a".to_owned(), ..CreateGalleryRequest::default() })
        .await
        .unwrap();
    let galleries = client.list_galleries(ListGalleriesRequest::default()).await.unwrap().into_inner().galleries;
    assert_eq!(galleries.iter().map(|gallery| gallery.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let model = stack.encoder().await.get_model(GetModelRequest {}).await.unwrap().into_inner();
    assert_eq!(galleries[0].fingerprint, model.fingerprint);
    assert_eq!((model.family.as_str(), model.execution_provider.as_str()), ("dm-adapter", "openvino"));

    assert!(client.search(text_search("a", "a man", 5)).await.unwrap().into_inner().hits.is_empty());
    let delete = || DeleteGalleryRequest { name: "a".to_owned() };
    client.delete_gallery(delete()).await.unwrap();
    assert_eq!(client.delete_gallery(delete()).await.unwrap_err().code(), Code::NotFound);
    stack.stop().await;
}

#[tokio::test]
async fn a_bad_item_leaves_its_neighbours_alone() {
    let stack = TestStack::start().await;
    let mut client = stack.encoder().await;
    let texts = vec!["a man".to_owned(), String::new(), "a woman in red ".repeat(40)];
    let reply = client
        .encode_text(EncodeTextRequest { texts: texts.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let embedding = |index: usize| match &reply.results[index].outcome {
        Some(EncodeOutcome::Embedding(embedding)) => embedding.values.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(&reply.results[1].outcome, Some(EncodeOutcome::Error(error))
        if error.code == Code::InvalidArgument as i32 && error.message.contains("texts[1]")));
    assert_eq!([0, 1, 2].map(|index| reply.results[index].truncated), [false, false, true]);
    // Alone or in company: the same embedding.
    let alone = client
        .encode_text(EncodeTextRequest { texts: vec![texts[0].clone()], ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let Some(EncodeOutcome::Embedding(alone)) = &alone.results[0].outcome else { panic!("{alone:?}") };
    for (a, b) in alone.values.iter().zip(embedding(0)) {
        assert!((a - b).abs() < 1e-5);
    }
    let length: f32 = embedding(2).iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5);

    let images = vec![demo_images(1)[0].content.clone(), b"not an image".to_vec().into()];
    let reply = client.encode_image(EncodeImageRequest { images, ..Default::default() }).await.unwrap().into_inner();
    assert!(matches!(&reply.results[0].outcome, Some(EncodeOutcome::Embedding(_))));
    assert!(matches!(&reply.results[1].outcome, Some(EncodeOutcome::Error(error))
        if error.message.contains("images[1]")));
    stack.stop().await;
}

#[tokio::test]
async fn a_gallery_of_another_model_is_refused_with_both_names() {
    use descry_model::Fingerprint;
    use descry_store::VectorStore as _;
    use descry_store::{EmbeddedConfig, EmbeddedStore};
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("galleries.sqlite3");
    let other = Fingerprint::of_parts([("other", b"model".as_slice())]);
    {
        let store = EmbeddedStore::open(&path, EmbeddedConfig::default()).await.unwrap();
        store.create_gallery("old", &other, 128).await.unwrap();
        store.create_gallery("short", &other, 3).await.unwrap();
    }
    let stack = TestStack::start_with(|_, search| search.embedded.path.clone_from(&path)).await;
    let mut client = stack.search().await;
    let own = stack.encoder().await.get_model(GetModelRequest {}).await.unwrap().into_inner().fingerprint;
    for gallery in ["old", "short"] {
        let status = client.search(text_search(gallery, "a man", 5)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains(other.as_str()) && status.message().contains(&own), "{status}");
        let start = Message::Start(Start { gallery: gallery.to_owned(), create: true, ..Start::default() });
        let requests = vec![IndexImagesRequest { message: Some(start) }];
        let status = client.index_images(tokio_stream::iter(requests)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
    }
    let status = client
        .create_gallery(CreateGalleryRequest { name: "old".to_owned(), ..CreateGalleryRequest::default() })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    stack.stop().await;
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let stack = TestStack::start().await;
    for (url, service) in
        [(&stack.encoder_url, descry_encoder::SERVICE_NAME), (&stack.search_url, descry_search::SERVICE_NAME)]
    {
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        let mut watching = HealthClient::new(channel.clone())
            .watch(HealthCheckRequest { service: service.to_owned() })
            .await
            .unwrap()
            .into_inner();
        // The search service is ready once it has met its dependencies.
        let ready =
            async { while watching.message().await.unwrap().unwrap().status != i32::from(ServingStatus::Serving) {} };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();

        use tonic_reflection::pb::v1::ServerReflectionRequest;
        use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(channel);
        let replies = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
        let reply = replies.into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else { panic!("{reply:?}") };
        let names: HashSet<String> = list.service.into_iter().map(|service| service.name).collect();
        assert!(names.contains(service), "{names:?}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn without_an_encoder_searches_say_so() {
    use descry_model::Fingerprint;
    use descry_store::VectorStore as _;
    use descry_store::{EmbeddedConfig, EmbeddedStore};
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("galleries.sqlite3");
    {
        let store = EmbeddedStore::open(&path, EmbeddedConfig::default()).await.unwrap();
        let fingerprint = Fingerprint::of_parts([("any", b"model".as_slice())]);
        store.create_gallery("lobby", &fingerprint, 128).await.unwrap();
    }
    // A port that was free a moment ago: nobody answers there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let stack = TestStack::start_with(|_, search| {
        search.embedded.path = path;
        search.encoder.url = url;
    })
    .await;
    let status = stack.search().await.search(text_search("lobby", "a man", 5)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("encoder"), "{status}");
    // What needs no model still answers.
    let listed = stack.search().await.list_galleries(ListGalleriesRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.galleries.len(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn open_streams_do_not_keep_the_services_from_stopping() {
    let stack = TestStack::start_with(|encoder, search| {
        encoder.server.drain_ms = 200;
        search.server.drain_ms = 200;
    })
    .await;
    let mut watches = Vec::new();
    for url in [&stack.encoder_url, &stack.search_url] {
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        let mut watching = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        watching.message().await.unwrap().unwrap();
        watches.push(watching);
    }
    // An index stream that has acknowledged an image and waits for more.
    let mut client = stack.search().await;
    let (requests, outgoing) = tokio::sync::mpsc::channel(8);
    let send = |message| requests.send(IndexImagesRequest { message: Some(message) });
    send(Message::Start(Start { gallery: "lobby".to_owned(), create: true, ..Start::default() })).await.unwrap();
    send(Message::Image(demo_images(1).remove(0))).await.unwrap();
    let mut replies =
        client.index_images(tokio_stream::wrappers::ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    assert!(matches!(replies.message().await.unwrap().unwrap().outcome, Some(Outcome::Indexed(_))));
    // And one that never says what it wants.
    let (_silent, outgoing) = tokio::sync::mpsc::channel::<IndexImagesRequest>(1);
    let mut other = stack.search().await;
    let silent = tokio::spawn(async move {
        other.index_images(tokio_stream::wrappers::ReceiverStream::new(outgoing)).await.map(|_| ())
    });

    tokio::time::timeout(PATIENCE, stack.stop()).await.unwrap();
    // The end of a stream is no success: images that were not answered must be sent again.
    assert_eq!(replies.message().await.unwrap_err().code(), Code::Unavailable);
    assert!(silent.await.unwrap().is_err());
}
