//! A gallery of which some images cannot be read: the service starts, answers without them, names and removes them.

use crate::stands::alone::SearchAlone;
use crate::stands::commands::{fail, succeed};
use crate::stands::computed::{ComputedModel, DIMENSION};
use descry_model::{Embedding, Fingerprint};
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{CheckGalleryRequest, EmbeddingPart, QueryPart, SearchRequest};
use descry_store::{EmbeddedConfig, EmbeddedStore, GalleryImage, ImageMetadata, VectorStore as _};
use std::path::Path;
use tonic::Code;

async fn damaged_file(path: &Path, model: &ComputedModel) {
    let fingerprint: Fingerprint = model.fingerprint.parse().unwrap();
    let store = EmbeddedStore::open(path, EmbeddedConfig::default()).await.unwrap();
    let gallery = store.create_gallery("lobby", &fingerprint, DIMENSION).await.unwrap();
    let images = ["1.jpg", "2.jpg", "3.jpg", "4.jpg"].map(|image_id| GalleryImage {
        image_id: image_id.to_owned(),
        embedding: Embedding::normalized(model.embedding(image_id.as_bytes())).unwrap(),
        metadata: ImageMetadata::default(),
    });
    store.upsert(&gallery, &fingerprint, images.to_vec()).await.unwrap();
    drop(store);
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute("UPDATE embedding SET vector = zeroblob(8) WHERE image = 2", []).unwrap();
    file.execute("UPDATE image SET code = x'00' WHERE image_id = '3.jpg'", []).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_pass_over_what_check_names_and_repair_removes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("galleries.sqlite3");
    let model = ComputedModel::named("any");
    damaged_file(&path, &model).await;
    let service = SearchAlone::start(|search| search.embedded.path.clone_from(&path)).await;
    let mut client = service.client().await;
    let like_two = EmbeddingPart { values: model.embedding(b"2.jpg"), fingerprint: model.fingerprint.clone() };
    let search = SearchRequest {
        gallery: "lobby".to_owned(),
        parts: vec![QueryPart { what: Some(What::Embedding(like_two)), weight: None }],
        limit: 10,
        ..SearchRequest::default()
    };
    let hits = client.search(search).await.unwrap().into_inner().hits;
    let mut found: Vec<&str> = hits.iter().map(|hit| hit.image_id.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["1.jpg", "4.jpg"]);

    let at = ["--server", service.url.as_str()];
    let (named, _) = fail(&[&["gallery", "check", "lobby"], at.as_slice()].concat());
    assert!(named.contains("2.jpg\t") && named.contains("3.jpg\t") && named.contains("4 images, 2 damaged"), "{named}");
    let removed = succeed(&[&["gallery", "repair", "lobby"], at.as_slice()].concat());
    assert!(removed.contains("2.jpg\t") && removed.contains("2 damaged ones removed"), "{removed}");
    let whole = succeed(&[&["gallery", "check", "lobby"], at.as_slice()].concat());
    assert!(whole.contains("2 images, none damaged"), "{whole}");

    let page = |page_size, token: &str| CheckGalleryRequest {
        gallery: "lobby".to_owned(),
        repair: false,
        page_size,
        page_token: token.to_owned(),
    };
    assert_eq!(client.check_gallery(page(1_000_000, "")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.check_gallery(page(1, "nowhere")).await.unwrap_err().code(), Code::InvalidArgument);
    let first = client.check_gallery(page(1, "")).await.unwrap().into_inner();
    assert!(first.examined <= 1 && !first.next_page_token.is_empty());
}
