//! What callers with scopes of some galleries see of all, and what they may bring.

use super::{ALL, Tokens, With};
use crate::services::text_search;
use crate::stands::alone::SearchAlone;
use descry_client::{ClientError, Connection};
use descry_model::Fingerprint;
use descry_proto::search::v1::search_batch_response::result::Outcome;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{
    CreateGalleryRequest, GetGalleryRequest, IndexEmbeddingsRequest, ListGalleriesRequest, SearchBatchRequest,
    StoredImage,
};
use descry_retry::Again;
use tonic::Code;
use tonic::transport::Channel;

fn gallery(name: &str) -> CreateGalleryRequest {
    let fingerprint = Fingerprint::of_parts([("any", b"model".as_slice())]).to_string();
    let name = name.to_owned();
    CreateGalleryRequest { name, fingerprint, embedding_dimension: 2, ..CreateGalleryRequest::default() }
}

async fn connect(service: &SearchAlone, token: &str) -> Connection {
    Connection::to(&service.url).await.unwrap().with_token(token).unwrap()
}

#[tokio::test]
async fn a_list_has_the_galleries_that_one_may_see() {
    let tokens = Tokens::new();
    let (all, some) = (tokens.allow(&ALL), tokens.allow(&["search:lobby", "index:site-*"]));
    let nothing = tokens.allow(&["encode"]);
    let service = SearchAlone::start(|search| search.access = tokens.settings()).await;
    let owner = connect(&service, &all).await;
    for name in ["lobby", "site-1", "site-2", "yard"] {
        owner.create_gallery(gallery(name)).await.unwrap();
    }
    let names = async |token: &str| {
        let galleries = connect(&service, token).await.galleries().await.unwrap();
        galleries.into_iter().map(|gallery| gallery.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&all).await, ["lobby", "site-1", "site-2", "yard"]);
    assert_eq!(names(&some).await, ["lobby", "site-1", "site-2"]);
    assert_eq!(names(&nothing).await, Vec::<String>::new());
    // Pages, too, are of these alone.
    let channel = Channel::from_shared(service.url.clone()).unwrap().connect_lazy();
    let mut client = SearchServiceClient::with_interceptor(channel, With(some));
    let mut request = ListGalleriesRequest { page_size: 2, ..ListGalleriesRequest::default() };
    let first = client.list_galleries(request.clone()).await.unwrap().into_inner();
    request.page_token = first.next_page_token;
    let second = client.list_galleries(request).await.unwrap().into_inner();
    assert_eq!((first.galleries.len(), second.galleries.len(), second.next_page_token.as_str()), (2, 1, ""));
    // One that is denied and one that is missing are the same, to whoever may know of neither and to whoever may know of all.
    let asked = async |token: &str, name: &str| {
        let channel = Channel::from_shared(service.url.clone()).unwrap().connect_lazy();
        let mut client = SearchServiceClient::with_interceptor(channel, With(token.to_owned()));
        let status = client.get_gallery(GetGalleryRequest { name: name.to_owned() }).await.unwrap_err();
        (status.code(), status.message().to_owned(), status.details().to_vec())
    };
    assert_eq!(asked(&nothing, "cellar").await, asked(&all, "cellar").await);
    let (code, message, _) = asked(&nothing, "yard").await;
    assert_eq!((code, message.replace("yard", "cellar")), (Code::NotFound, asked(&all, "cellar").await.1));
}

#[tokio::test]
async fn a_search_that_is_denied_leaves_the_others_of_its_batch() {
    let tokens = Tokens::new();
    let (all, some) = (tokens.allow(&ALL), tokens.allow(&["search:lobby", "index:yard"]));
    let service = SearchAlone::start(|search| search.access = tokens.settings()).await;
    let owner = connect(&service, &all).await;
    for name in ["lobby", "yard", "cellar"] {
        owner.create_gallery(gallery(name)).await.unwrap();
    }
    let searches = ["lobby", "yard", "cellar", "attic"].map(|name| text_search(name, "a man", 1)).to_vec();
    let channel = Channel::from_shared(service.url.clone()).unwrap().connect_lazy();
    let mut client = SearchServiceClient::with_interceptor(channel, With(some));
    let results = client.search_batch(SearchBatchRequest { searches }).await.unwrap().into_inner().results;
    let codes = results.into_iter().map(|result| match result.outcome {
        Some(Outcome::Error(error)) => Code::from(error.code),
        _ => Code::Ok,
    });
    let codes: Vec<_> = codes.collect();
    // There is no encoder here, so that what is allowed goes on to miss it.
    assert_eq!(codes, [Code::Unavailable, Code::PermissionDenied, Code::NotFound, Code::NotFound]);
}

#[tokio::test]
async fn what_is_used_up_comes_back_and_is_said_to() {
    let tokens = Tokens::new();
    let all = tokens.allow(&ALL);
    let service = SearchAlone::start(|search| {
        search.access = tokens.settings();
        search.access.max_images_per_day = 3;
    })
    .await;
    let owner = connect(&service, &all).await;
    let made = owner.create_gallery(gallery("lobby")).await.unwrap();
    let images = |count: usize| {
        let image = |number: usize| StoredImage {
            image_id: format!("image-{number}"),
            embedding: vec![0.6, 0.8],
            ..StoredImage::default()
        };
        let (gallery, fingerprint) = ("lobby".to_owned(), made.fingerprint.clone());
        let images = (0..count).map(image).collect();
        IndexEmbeddingsRequest { gallery, fingerprint, images, ..IndexEmbeddingsRequest::default() }
    };
    let mut client = owner.service();
    assert_eq!(client.index_embeddings(images(2)).await.unwrap().into_inner().results.len(), 2);
    let status = client.index_embeddings(images(2)).await.unwrap_err();
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("images of this day"), "{status}");
    let Again::After(delay) = Again::of(&status) else { panic!("{status:?}") };
    assert!((28_000..=28_801).contains(&delay.as_secs()), "a third of a day: {delay:?}");
    client.index_embeddings(images(1)).await.unwrap();
    let status = client.index_embeddings(images(4)).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("send fewer at once"), "{status}");
    // What brings no images goes on.
    owner.gallery("lobby").await.unwrap();
}

#[tokio::test]
async fn requests_of_a_minute_are_counted_by_who_makes_them() {
    let tokens = Tokens::new();
    let (first, other) = (tokens.add("first", &ALL, None).reveal(), tokens.add("other", &ALL, None).reveal());
    let again = tokens.add("first", &ALL, None).reveal();
    let service = SearchAlone::start(|search| {
        search.access = tokens.settings();
        search.access.max_requests_per_minute = 5;
    })
    .await;
    let connection = connect(&service, &first).await;
    for _ in 0..5 {
        connection.galleries().await.unwrap();
    }
    // Another token of the same name is the same caller.
    for token in [&first, &again] {
        let error = connect(&service, token).await.galleries().await.unwrap_err();
        let ClientError::Refused { .. } = &error else { panic!("{error:?}") };
        assert_eq!(error.code(), Some(Code::ResourceExhausted), "{error}");
    }
    connect(&service, &other).await.galleries().await.unwrap();
}
