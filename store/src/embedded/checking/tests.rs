//! A file of which SQLite itself cannot read some pages.

use crate::{CheckRequest, EmbeddedConfig, EmbeddedStore, GalleryImage, ImageMetadata, NearestQuery, VectorStore as _};
use descry_model::{Embedding, Fingerprint};
use std::collections::BTreeSet;
use std::path::Path;

const IMAGES: usize = 300;
const DIMENSION: usize = 64;

async fn open(path: &Path) -> EmbeddedStore {
    let config = EmbeddedConfig { reserve_bytes: 0, ..EmbeddedConfig::default() };
    EmbeddedStore::open(path, config).await.unwrap()
}

/// An image whose row can be found in the file.
fn image(number: usize) -> GalleryImage {
    let mut values = vec![0.01; DIMENSION];
    values[number % DIMENSION] = 1.0;
    let attributes = [("note".to_owned(), "x".repeat(400))].into();
    GalleryImage {
        image_id: format!("image-{number:04}"),
        embedding: Embedding::normalized(values).unwrap(),
        metadata: ImageMetadata { attributes, ..ImageMetadata::default() },
    }
}

/// Overwrites the page of the table that holds a text, but for the first pages, which hold the schema.
fn break_page(path: &Path, text: &str) {
    const PAGE: usize = 8_192;
    let mut content = std::fs::read(path).unwrap();
    let needle = format!("{text}{}", "{\"note\"");
    let place = content.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap();
    let page = place / PAGE * PAGE;
    content[page..page + PAGE].fill(0xa5);
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_broken_page_costs_its_images_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("galleries.sqlite3");
    let store = open(&path).await;
    let gallery = store.create_gallery("lobby", &Fingerprint::of_parts([]), DIMENSION).await.unwrap();
    store.upsert(&gallery, &gallery.fingerprint, (0..IMAGES).map(image).collect()).await.unwrap();
    drop(store);
    break_page(&path, "image-0150");

    let store = open(&path).await;
    let gallery = store.resolve("lobby").await.unwrap();
    let query = |limit| NearestQuery::new(image(7).embedding, gallery.fingerprint.clone(), limit);
    let found: BTreeSet<String> =
        store.nearest(&gallery, query(IMAGES)).await.unwrap().into_iter().map(|hit| hit.image_id).collect();
    assert!((IMAGES - 20..IMAGES).contains(&found.len()), "{} are found", found.len());
    assert!(found.contains("image-0007") && !found.contains("image-0150") && found.contains("image-0299"));
    assert!(store.condition().damaged_images > 0);

    let request = CheckRequest { limit: 2 * IMAGES, ..CheckRequest::default() };
    let checked = store.check(&gallery, request.clone()).await.unwrap();
    assert_eq!(checked.examined, found.len() as u64);
    assert_eq!(checked.damaged.len(), 1, "{:?}", checked.damaged);
    assert!(checked.damaged[0].reason.contains("cannot be read behind row"));
    // A page cannot be repaired by removing rows of it; it is said what is left to do.
    let repaired = store.check(&gallery, CheckRequest { repair: true, ..request }).await.unwrap();
    assert!(repaired.damaged.iter().all(|image| !image.is_removed && image.reason.contains("nor can it be removed")));
}
