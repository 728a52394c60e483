//! Images: pages, changes, removal, and embeddings that were computed elsewhere.

use super::{check, nested};
use crate::queries::{LOBBY_IMAGES, Lobby};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{
    AttributeCondition, DeleteImagesRequest, Filter, GetGalleryRequest, ImageMetadata, IndexEmbeddingsRequest,
    ListImagesRequest, StoredImage, UpdateImagesRequest,
};
use prost_types::Timestamp;
use tonic::Code;

/// What no metadata may be.
fn bad_metadata() -> Vec<(ImageMetadata, &'static str)> {
    let usual = ImageMetadata::default;
    let attributes = |count: usize, bytes: usize| {
        let attributes = (0..count).map(|number| (format!("a{number}"), "x".repeat(bytes))).collect();
        ImageMetadata { attributes, ..usual() }
    };
    let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
    vec![
        (ImageMetadata { person_id: Some(String::new()), ..usual() }, "person_id"),
        (ImageMetadata { camera_id: Some("c".repeat(600)), ..usual() }, "camera_id"),
        (ImageMetadata { captured_at: time(0, -1), ..usual() }, "captured_at"),
        (ImageMetadata { captured_at: time(i64::MAX, 0), ..usual() }, "captured_at"),
        (attributes(65, 1), "attributes"),
        (attributes(1, 20_000), "attributes"),
        (ImageMetadata { attributes: [(String::new(), "x".to_owned())].into(), ..usual() }, "attributes"),
    ]
}

pub(super) async fn pages_and_changes(lobby: &mut Lobby) {
    let page = || ListImagesRequest { gallery: "lobby".to_owned(), ..ListImagesRequest::default() };
    let undeclared = AttributeCondition { name: "shift".to_owned(), values: vec!["night".to_owned()] };
    let undeclared = Filter { attributes: vec![undeclared], ..Filter::default() };
    let deep = nested(Filter { camera_ids: vec!["c5".to_owned()], ..Filter::default() }, 40);
    for (request, code, word) in [
        (ListImagesRequest { page_size: 1_025, ..page() }, Code::InvalidArgument, "page_size"),
        (ListImagesRequest { page_size: u32::MAX, ..page() }, Code::InvalidArgument, "page_size"),
        (ListImagesRequest { page_token: "no place".to_owned(), ..page() }, Code::InvalidArgument, "page_token"),
        (ListImagesRequest { page_token: "1 OR 1=1".to_owned(), ..page() }, Code::InvalidArgument, "page_token"),
        (ListImagesRequest { filter: Some(undeclared.clone()), ..page() }, Code::InvalidArgument, "shift"),
        (ListImagesRequest { filter: Some(deep.clone()), ..page() }, Code::InvalidArgument, "nested"),
        (ListImagesRequest { gallery: "lobby.999".to_owned(), ..page() }, Code::NotFound, "no generation 999"),
        (ListImagesRequest { gallery: "a/b".to_owned(), ..page() }, Code::InvalidArgument, "gallery"),
    ] {
        check(lobby.client.list_images(request).await, code, word);
    }
    let full = ListImagesRequest { page_size: 1_024, ..page() };
    let images = lobby.client.list_images(full).await.unwrap().into_inner().images;
    assert_eq!(images.len(), LOBBY_IMAGES as usize);

    let known = lobby.images[0].image_id.clone();
    let change = |metadata: ImageMetadata| Change { image_id: known.clone(), metadata: Some(metadata) };
    let update = |gallery: &str, changes: Vec<Change>| UpdateImagesRequest {
        gallery: gallery.to_owned(),
        changes,
        ..Default::default()
    };
    let good = change(ImageMetadata { camera_id: Some("c77".to_owned()), ..ImageMetadata::default() });
    for (bad, word) in bad_metadata() {
        let request = update("lobby", vec![good.clone(), change(bad)]);
        let status = lobby.client.update_images(request).await.unwrap_err();
        assert!(status.message().contains("changes[1]"), "{status}");
        check::<()>(Err(status), Code::InvalidArgument, word);
    }
    let many = update("lobby", vec![good.clone(); 1_025]);
    check(lobby.client.update_images(many).await, Code::InvalidArgument, "1025");
    let nowhere = update("lobby.999", vec![good]);
    check(lobby.client.update_images(nowhere).await, Code::NotFound, "no generation 999");

    let delete = |gallery: &str, image_ids: Vec<String>, filter: Option<Filter>| DeleteImagesRequest {
        gallery: gallery.to_owned(),
        image_ids,
        filter,
    };
    for (request, code, word) in [
        (delete("lobby.999", vec![known.clone()], None), Code::NotFound, "no generation 999"),
        (delete("lobby", Vec::new(), Some(undeclared)), Code::InvalidArgument, "shift"),
        (delete("lobby", Vec::new(), Some(deep)), Code::InvalidArgument, "nested"),
        (delete("lobby", vec![known.clone(); 10_001], None), Code::InvalidArgument, "image_ids"),
    ] {
        check(lobby.client.delete_images(request).await, code, word);
    }
}

pub(super) async fn embeddings(lobby: &mut Lobby) {
    let gallery = GetGalleryRequest { name: "lobby".to_owned() };
    let fingerprint = lobby.client.get_gallery(gallery.clone()).await.unwrap().into_inner().fingerprint;
    let stored = |image_id: &str, embedding: Vec<f32>| StoredImage {
        image_id: image_id.to_owned(),
        embedding,
        ..StoredImage::default()
    };
    let usual = || stored("good", vec![1.0; 128]);
    let write = |gallery: &str, fingerprint: &str, images: Vec<StoredImage>| IndexEmbeddingsRequest {
        gallery: gallery.to_owned(),
        fingerprint: fingerprint.to_owned(),
        images,
        ..Default::default()
    };
    let other = "5a".repeat(32);
    for (request, code, word) in [
        (write("lobby", "", vec![usual()]), Code::InvalidArgument, "fingerprint"),
        (write("lobby", "5a", vec![usual()]), Code::InvalidArgument, "fingerprint"),
        (write("lobby", &"zz".repeat(32), vec![usual()]), Code::InvalidArgument, "fingerprint"),
        (write("lobby", &other, vec![usual()]), Code::FailedPrecondition, other.as_str()),
        (write("lobby", &other, vec![usual()]), Code::FailedPrecondition, fingerprint.as_str()),
        (write("lobby", &fingerprint, vec![usual(); 1_025]), Code::InvalidArgument, "1025 images, at most 1024"),
        (write("lobby.999", &fingerprint, vec![usual()]), Code::NotFound, "no generation 999"),
        (write("nowhere", &fingerprint, Vec::new()), Code::NotFound, "nowhere"),
    ] {
        check(lobby.client.index_embeddings(request).await, code, word);
    }

    // Bad images among good ones are answered one by one.
    let mut mixed = vec![
        (usual(), None),
        (stored("nan", vec![f32::NAN; 128]), Some((Code::InvalidArgument, "embedding"))),
        (stored("infinite", vec![f32::INFINITY; 128]), Some((Code::InvalidArgument, "embedding"))),
        (stored("zero", vec![0.0; 128]), Some((Code::InvalidArgument, "embedding"))),
        (stored("none", Vec::new()), Some((Code::InvalidArgument, "embedding"))),
        (stored("short", vec![1.0; 127]), Some((Code::FailedPrecondition, "128, got 127"))),
        (stored("long", vec![1.0; 129]), Some((Code::FailedPrecondition, "128, got 129"))),
        (stored("", vec![1.0; 128]), Some((Code::InvalidArgument, "image_id"))),
        (stored("control\u{7}", vec![1.0; 128]), Some((Code::InvalidArgument, "image_id"))),
        (StoredImage { content_sha256: "5a".to_owned(), ..usual() }, Some((Code::InvalidArgument, "content_sha256"))),
        (StoredImage { content_sha256: "z".repeat(64), ..usual() }, Some((Code::InvalidArgument, "content_sha256"))),
        (stored("last", vec![-3.0; 128]), None),
    ];
    for (metadata, word) in bad_metadata() {
        let image = StoredImage { metadata: Some(metadata), ..usual() };
        mixed.push((image, Some((Code::InvalidArgument, word))));
    }
    let images: Vec<StoredImage> = mixed.iter().map(|(image, _)| image.clone()).collect();
    let reply = lobby.client.index_embeddings(write("lobby", &fingerprint, images)).await.unwrap().into_inner();
    assert_eq!(reply.results.len(), mixed.len());
    for (result, (image, refusal)) in reply.results.iter().zip(&mixed) {
        assert_eq!(result.image_id, image.image_id);
        match (&result.outcome, refusal) {
            (Some(Outcome::Indexed(done)), None) => assert!(!done.unchanged),
            (Some(Outcome::Error(error)), Some((code, word))) => {
                assert!(error.code == *code as i32 && error.message.contains(word), "{word}: {error:?}");
            }
            (outcome, _) => panic!("{}: {outcome:?}", image.image_id),
        }
    }
    let images = lobby.client.get_gallery(gallery).await.unwrap().into_inner().images;
    assert_eq!(images, u64::from(LOBBY_IMAGES) + 2, "the two good ones");
}
