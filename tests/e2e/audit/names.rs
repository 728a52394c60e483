//! Names that are kept hashed: nowhere in the log, and found again by who has the key alone.

use super::stand::{AuditedService, GALLERY};
use super::words::holds;
use crate::services::text_search;
use crate::stands::commands::{Running, json_lines, succeed};
use crate::stands::ledger::encoded_image;
use crate::stands::polling::until;
use descry_audit::KeptNames;
use descry_model::sha256_hex;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{
    CreateWatchRequest, DeleteImagesRequest, Filter, ImageMetadata, IndexEmbeddingsRequest, ListImagesRequest,
    QueryPart, RefineRequest, SearchRequest, UpdateImagesRequest, WatchMatchesRequest,
};
use std::fs;

const IMAGE: &str = "mallory/1.jpg";
const PERSON: &str = "mallory-4711";
const TRACK: &str = "mallory-track";

fn filter() -> Filter {
    let nested = Filter { person_ids: vec![PERSON.to_owned()], track_ids: vec![TRACK.to_owned()], ..Filter::default() };
    Filter { all: vec![Filter { any: vec![nested], ..Filter::default() }], ..Filter::default() }
}

/// Everything that says a name: searches, judgements, lists, changes, watches and their matches, deletion.
async fn name_somebody(service: &AuditedService) {
    let mut client = service.client_with_images(2).await;
    let fingerprint = service.model.fingerprint.clone();
    let mut image = encoded_image(IMAGE, 1, &service.model);
    let metadata = image.metadata.get_or_insert_default();
    metadata.person_id = Some(PERSON.to_owned());
    metadata.track_id = Some(TRACK.to_owned());
    let ids = || vec![IMAGE.to_owned()];
    let part = |what| vec![QueryPart { what: Some(what), weight: None }];
    let index = IndexEmbeddingsRequest {
        gallery: GALLERY.to_owned(),
        fingerprint,
        images: vec![image],
        ..IndexEmbeddingsRequest::default()
    };
    client.index_embeddings(index.clone()).await.unwrap();

    let search = || SearchRequest { filter: Some(filter()), ..text_search(GALLERY, "a man", 3) };
    client.search(search()).await.unwrap();
    let like =
        SearchRequest { query: None, parts: part(What::ImageId(IMAGE.to_owned())), ..text_search(GALLERY, "", 3) };
    client.search(like).await.unwrap();
    let judged = RefineRequest { search: Some(search()), accepted_ids: ids(), rejected_ids: vec![] };
    client.refine(judged).await.unwrap();
    let list = ListImagesRequest {
        gallery: GALLERY.to_owned(),
        filter: Some(Filter { image_ids: ids(), ..Filter::default() }),
        ..ListImagesRequest::default()
    };
    client.list_images(list).await.unwrap();

    let watch = CreateWatchRequest {
        gallery: GALLERY.to_owned(),
        name: "red".to_owned(),
        parts: part(What::ImageId(IMAGE.to_owned())),
        min_score: 0.5,
        filter: Some(filter()),
    };
    client.create_watch(watch).await.unwrap();
    let request = WatchMatchesRequest { gallery: GALLERY.to_owned(), ..WatchMatchesRequest::default() };
    let mut matches = client.watch_matches(request).await.unwrap().into_inner();
    let changed = Change { image_id: IMAGE.to_owned(), metadata: Some(ImageMetadata::default()) };
    let update = UpdateImagesRequest { gallery: GALLERY.to_owned(), changes: vec![changed], metadata_mask: None };
    client.update_images(update).await.unwrap();
    let delete = DeleteImagesRequest { gallery: GALLERY.to_owned(), image_ids: ids(), filter: None };
    client.delete_images(delete).await.unwrap();
    client.index_embeddings(index).await.unwrap();
    assert_eq!(matches.message().await.unwrap().unwrap().hit.unwrap().image_id, IMAGE);
    let delete = DeleteImagesRequest { gallery: GALLERY.to_owned(), image_ids: vec![], filter: Some(filter()) };
    client.delete_images(delete).await.unwrap();
    drop(matches);
    until("the stream's end is recorded", async || {
        let is_end = |record: &descry_audit::Record| record.kind == descry_audit::Kind::Request;
        is_end(&service.last("WatchMatches")).then_some(())
    })
    .await;
}

/// Of a single image the plain hash would tell which.
fn hash_of_the_only_id() -> String {
    sha256_hex(format!("{IMAGE}\n").as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn hashed_names_are_found_with_the_key_and_never_read() {
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("key"), "0f".repeat(32)).unwrap();
    fs::write(path("other"), "f0".repeat(32)).unwrap();
    let service = AuditedService::start(|config| {
        config.audit.names = KeptNames::Hashed;
        config.audit.name_key_file = path("key").into();
    })
    .await;
    name_somebody(&service).await;
    service.assert_whole();
    for secret in ["mallory".to_owned(), hash_of_the_only_id(), "0f".repeat(8)] {
        assert!(!holds(service.log(), secret.as_bytes()), "{secret}");
    }

    let log = service.log().to_str().unwrap().to_owned();
    let methods = |condition: &[&str]| {
        let exported = succeed(&[&["audit", "export", &log, "--name-key", &path("key")], condition].concat());
        let names = json_lines(&exported).into_iter().map(|record| record["rpc"].as_str().unwrap_or("").to_owned());
        let mut names: Vec<String> = names.map(|rpc| rpc.rsplit('/').next().unwrap_or_default().to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names.join(" ")
    };
    // The search by words is told of the image; a filter leaves nobody else.
    let told = "CreateWatch DeleteImages ListImages Refine Search UpdateImages WatchMatches";
    assert_eq!(methods(&["--image", IMAGE]), told);
    assert_eq!(methods(&["--person", PERSON]), "CreateWatch DeleteImages Refine Search");
    assert_eq!(methods(&["--track", TRACK, "--image", IMAGE]), "CreateWatch Refine Search");
    assert_eq!(methods(&["--person", IMAGE]), "", "a person of the image's name is somebody else");

    for (key, advice) in [(vec![], "--name-key"), (vec!["--name-key", "other"], "another key")] {
        let key: Vec<String> =
            key.into_iter().map(|word| if word == "other" { path(word) } else { word.into() }).collect();
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let searching = Running::start(&[&["audit", "search", &log, "--image", IMAGE], &key[..]].concat());
        let (status, printed, complaint) = searching.end().await;
        assert!(status.success() && complaint.contains(advice), "{complaint}");
        assert!(!printed.contains("Search"), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_names_can_be_read() {
    let service = AuditedService::start(|_| {}).await;
    name_somebody(&service).await;
    for said in
        ["mallory/1.jpg".to_owned(), "mallory-4711".to_owned(), "mallory-track".to_owned(), hash_of_the_only_id()]
    {
        assert!(holds(service.log(), said.as_bytes()), "{said}");
    }
}
