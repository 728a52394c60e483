//! Everything that is kept of a person, as `descry subject` writes it down: compared with what was put in.

use super::stand::{AuditedService, GALLERY};
use super::words::holds;
use crate::services::text_search;
use crate::stands::commands::{fail, json_lines, succeed};
use crate::stands::computed::{ComputedModel, DIMENSION, cosine};
use crate::stands::ledger::{content_of, encoded_image};
use descry_audit::KeptNames;
use descry_model::sha256_hex;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{
    CreateGalleryRequest, CreateGenerationRequest, CreateWatchRequest, Filter, ImageMetadata, IndexEmbeddingsRequest,
    QueryPart, StoredImage, UpdateImagesRequest,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tonic::Request;

const PERSON: &str = "anna-4711";

fn image(image_id: &str, person_id: &str, model: &ComputedModel) -> StoredImage {
    let mut image = encoded_image(image_id, 1, model);
    let metadata = image.metadata.get_or_insert_default();
    metadata.person_id = Some(person_id.to_owned());
    metadata.camera_id = Some("c1".to_owned());
    metadata.track_id = Some(format!("track of {person_id}"));
    image
}

/// A person with images in two generations among others, watches, searches and changes. Returns the ranks, from 1, that the
/// person's images had in the search.
async fn fill(service: &AuditedService, second: &ComputedModel) -> BTreeMap<String, u64> {
    let mut client = service.client().await;
    let first = &service.model;
    for gallery in [GALLERY, "yard"] {
        let request = CreateGalleryRequest {
            name: gallery.to_owned(),
            fingerprint: first.fingerprint.clone(),
            embedding_dimension: DIMENSION as u32,
            ..CreateGalleryRequest::default()
        };
        client.create_gallery(request).await.unwrap();
    }
    let mut index = async |address: &str, model: &ComputedModel, images: Vec<StoredImage>| {
        let (gallery, fingerprint) = (address.to_owned(), model.fingerprint.clone());
        let request = IndexEmbeddingsRequest { gallery, fingerprint, images, ..IndexEmbeddingsRequest::default() };
        client.index_embeddings(request).await.unwrap();
    };
    let lobby = [("anna/1.jpg", PERSON), ("anna/2.jpg", PERSON), ("bert/3.jpg", "bert"), ("bert/4.jpg", "bert")];
    index(GALLERY, first, lobby.map(|(image_id, person)| image(image_id, person, first)).into()).await;
    // Somebody else's image of the same name.
    index("yard", first, vec![image("anna/1.jpg", "bert", first)]).await;
    let mut client = service.client().await;
    let (gallery, fingerprint) = (GALLERY.to_owned(), second.fingerprint.clone());
    let begun = client.create_generation(CreateGenerationRequest { gallery, fingerprint }).await.unwrap().into_inner();
    let images = vec![image("anna/1.jpg", PERSON, second), image("bert/3.jpg", "bert", second)];
    let (gallery, fingerprint) = (format!("{GALLERY}.{}", begun.generation), second.fingerprint.clone());
    let request = IndexEmbeddingsRequest { gallery, fingerprint, images, ..IndexEmbeddingsRequest::default() };
    client.index_embeddings(request).await.unwrap();

    let like = |image_id: &str| QueryPart { what: Some(What::ImageId(image_id.to_owned())), weight: None };
    let of = |person: &str| Filter {
        none: vec![Filter { person_ids: vec![person.to_owned()], ..Filter::default() }],
        ..Filter::default()
    };
    for (name, parts, filter) in [
        ("like-them", vec![like("anna/2.jpg"), like("bert/3.jpg")], None),
        ("not-them", vec![like("bert/4.jpg")], Some(of(PERSON))),
        ("of-others", vec![like("bert/4.jpg")], Some(of("bert"))),
    ] {
        let (gallery, name) = (GALLERY.to_owned(), name.to_owned());
        client.create_watch(CreateWatchRequest { gallery, name, parts, min_score: 0.9, filter }).await.unwrap();
    }
    let mut ask = async |gallery: &str| {
        let mut request = Request::new(text_search(gallery, "a red coat", 10));
        request.metadata_mut().insert("x-descry-purpose", format!("theft in the {gallery}").parse().unwrap());
        request.metadata_mut().insert("x-descry-case", "2026-117".parse().unwrap());
        client.search(request).await.unwrap().into_inner().hits
    };
    ask("yard").await;
    let hits = ask(GALLERY).await;
    let changed = Change { image_id: "anna/2.jpg".to_owned(), metadata: Some(ImageMetadata::default()) };
    let update = UpdateImagesRequest { gallery: GALLERY.to_owned(), changes: vec![changed], metadata_mask: None };
    client.update_images(update).await.unwrap();
    let ranked = hits.into_iter().zip(1..).filter(|(hit, _)| hit.image_id.starts_with("anna"));
    ranked.map(|(hit, rank)| (hit.image_id, rank)).collect()
}

fn lines(folder: &Path, name: &str) -> Vec<Value> {
    json_lines(&fs::read_to_string(folder.join(name)).unwrap())
}

fn check_images(folder: &Path, models: [&ComputedModel; 2]) {
    let mut found = Vec::new();
    for line in lines(folder, "gallery-lobby.jsonl") {
        let (image_id, generation) =
            (line["image_id"].as_str().unwrap().to_owned(), line["generation"].as_u64().unwrap());
        let (model, content) = (models[generation as usize - 1], content_of(&image_id, 1));
        assert_eq!((&line["person_id"], &line["camera_id"]), (&Value::from(PERSON), &Value::from("c1")));
        assert_eq!(line["content_sha256"], sha256_hex(&content));
        assert_eq!(
            (&line["model"], &line["is_active"]),
            (&Value::from(model.fingerprint.clone()), &(generation == 1).into())
        );
        assert_eq!(line["attributes"]["version"], "1");
        let embedding: Vec<f32> = serde_json::from_value(line["embedding"].clone()).unwrap();
        assert!(cosine(&embedding, &model.embedding(&content)) > 0.999);
        found.push((generation, image_id));
    }
    found.sort_unstable();
    let expected = [(1, "anna/1.jpg"), (1, "anna/2.jpg"), (2, "anna/1.jpg")];
    assert_eq!(found, expected.map(|(generation, image_id)| (generation, image_id.to_owned())));
}

/// The search and the change, and no search of another gallery.
fn check_records(folder: &Path, ranks: &BTreeMap<String, u64>) {
    let records = lines(folder, "audit.jsonl");
    let of = |method: &str| records.iter().filter(|line| line["method"] == method).collect::<Vec<_>>();
    let searches = of("Search");
    assert_eq!(searches.len(), 1, "{records:?}");
    assert_eq!(
        (&searches[0]["purpose"], &searches[0]["case_number"]),
        (&"theft in the lobby".into(), &"2026-117".into())
    );
    assert_eq!(searches[0]["words"], serde_json::json!(["a red coat"]));
    let told = searches[0]["told"].as_array().unwrap().iter();
    let told: BTreeMap<String, u64> =
        told.map(|told| (told["image_id"].as_str().unwrap().to_owned(), told["rank"].as_u64().unwrap())).collect();
    assert_eq!(&told, ranks);
    assert_eq!(of("UpdateImages").last().unwrap()["image_ids"], serde_json::json!(["anna/2.jpg"]));
    assert_eq!(of("CreateWatch").len(), 4, "two watches, before and after");
}

async fn told_whole(hashed: bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("key"), "0f".repeat(32)).unwrap();
    let second = ComputedModel::named("second");
    let other = second.clone().serve().await;
    let service = AuditedService::start(|config| {
        config.encoder.other_urls = vec![other];
        if hashed {
            config.audit.names = KeptNames::Hashed;
            config.audit.name_key_file = path("key").into();
        }
    })
    .await;
    let ranks = fill(&service, &second).await;
    assert_eq!(ranks.len(), 2);
    let (log, out) = (service.log().to_str().unwrap(), path("answer"));
    let asked = ["subject", "--server", service.url(), "--gallery", GALLERY, "--person", PERSON, "--audit", log];
    let printed = succeed(&[&asked[..], &["--name-key", &path("key"), "--out", &out]].concat());
    assert!(printed.contains("2 images, 2 watches"), "{printed}");
    let out = Path::new(&out);
    check_images(out, [&service.model, &second]);
    check_records(out, &ranks);
    let watches: Vec<Value> = lines(out, "watches.jsonl");
    let names: Vec<&str> = watches.iter().map(|watch| watch["watch"].as_str().unwrap()).collect();
    assert_eq!(names, ["like-them", "not-them"]);
    assert_eq!(
        (&watches[0]["names_image_ids"][0], &watches[1]["names_person_ids"][0]),
        (&"anna/2.jpg".into(), &PERSON.into())
    );
    assert!(!holds(out, b"bert"), "others are nobody's business");
    let summary = fs::read_to_string(out.join("summary.txt")).unwrap();
    assert!(summary.contains("Searches and watches told somebody of the person 1 time."), "{summary}");
    assert!(!summary.contains("was not given"), "{summary}");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let modes: Vec<u32> = fs::read_dir(out).unwrap().map(|entry| mode(&entry.unwrap().path())).collect();
    assert_eq!((mode(out), modes), (0o700, vec![0o600; 4]));
    let (_, complaint) = fail(&[&asked[..], &["--out", out.to_str().unwrap()]].concat());
    assert!(complaint.contains("not an empty folder"), "{complaint}");

    if hashed {
        let closed = path("closed");
        succeed(&[&asked[..], &["--out", &closed]].concat());
        let closed = Path::new(&closed);
        assert_eq!(lines(closed, "audit.jsonl"), Vec::<Value>::new());
        let summary = fs::read_to_string(closed.join("summary.txt")).unwrap();
        assert!(summary.contains("a key that was not given"), "{summary}");
    }
    // What cannot be finished leaves nothing.
    let (_, complaint) = fail(&[
        "subject",
        "--server",
        service.url(),
        "--gallery",
        "nowhere",
        "--person",
        PERSON,
        "--out",
        &path("none"),
    ]);
    assert!(complaint.contains("nowhere"), "{complaint}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), if hashed { 3 } else { 2 }, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_a_person_is_written_down() {
    told_whole(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_found_where_the_log_names_nobody() {
    told_whole(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_is_that_of_its_camera() {
    let folder = tempfile::tempdir().unwrap();
    let second = ComputedModel::named("second");
    let other = second.clone().serve().await;
    let service = AuditedService::start(|config| config.encoder.other_urls = vec![other]).await;
    fill(&service, &second).await;
    for (track, expected) in [("c1/track of bert", 3), ("c2/track of bert", 0)] {
        let out = folder.path().join(format!("{expected}"));
        let out = out.to_str().unwrap();
        // In all galleries: the one in the yard is bert's as well.
        succeed(&["subject", "--server", service.url(), "--track", track, "--out", out]);
        let lines = ["gallery-lobby.jsonl", "gallery-yard.jsonl"].map(|name| lines(Path::new(out), name));
        let active = lines.concat().iter().filter(|line| line["is_active"] == true).count();
        assert_eq!(active, expected, "{track}");
        assert!(!Path::new(out).join("audit.jsonl").exists());
    }
}
