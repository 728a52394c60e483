//! Filters of the embedded store, which become conditions on columns: they choose what looking at each image chooses.

use descry_model::{Embedding, Fingerprint};
use descry_store::{
    EmbeddedConfig, EmbeddedStore, GalleryImage, GallerySettings, Generation, ImageMetadata, NewGallery, SearchFilter,
    StoreError, VectorStore as _,
};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Deeper filters are refused by the service before the store sees them.
const MAX_DEPTH: usize = 8;

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

type Opened = (EmbeddedStore, Generation, Vec<GalleryImage>);

static GALLERY: LazyLock<Opened> = LazyLock::new(|| RUNTIME.block_on(gallery()).unwrap());

/// Images that differ in everything a filter can ask for.
async fn gallery() -> Result<Opened, StoreError> {
    let path = std::env::temp_dir().join(format!("descry-fuzz-{}.sqlite3", std::process::id()));
    let store = EmbeddedStore::open(&path, EmbeddedConfig { search_threads: 1, ..EmbeddedConfig::default() }).await?;
    let fingerprint: Fingerprint = "0".repeat(64).parse().map_err(|error| StoreError::failed("opening", error))?;
    let settings = GallerySettings { indexed_attributes: vec!["coat".to_owned()], ..GallerySettings::default() };
    let generation = store
        .create(NewGallery { name: "g".to_owned(), fingerprint: fingerprint.clone(), dimension: 1, settings })
        .await?;
    let name = |letter: char, number: i64, modulus: i64| {
        let left = number % modulus;
        (left > 0).then(|| format!("{letter}{left}"))
    };
    let images: Vec<GalleryImage> = (0..64)
        .filter_map(|number| {
            let metadata = ImageMetadata {
                person_id: name('p', number, 5),
                camera_id: name('c', number, 3),
                track_id: name('t', number, 4),
                captured_at_ms: (number % 7 > 0).then_some(number * 1_000 - 9_000),
                indexed_at_ms: number,
                attributes: name('a', number, 6).map(|coat| ("coat".to_owned(), coat)).into_iter().collect(),
                ..ImageMetadata::default()
            };
            let embedding = Embedding::normalized(vec![1.0]).ok()?;
            Some(GalleryImage { image_id: format!("i{number}"), embedding, metadata })
        })
        .collect();
    store.upsert(&generation, &fingerprint, images.clone()).await?;
    Ok((store, generation, images))
}

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let Ok(filter) = serde_json::from_slice::<SearchFilter>(bytes) else { return };
    if filter.walk().iter().any(|(_, depth)| *depth > MAX_DEPTH)
        || filter.require_declared(&["coat".to_owned()]).is_err()
    {
        return;
    }
    let (store, generation, images) = &*GALLERY;
    let expected: BTreeSet<&str> = images
        .iter()
        .filter(|image| filter.matches(&image.image_id, &image.metadata))
        .map(|image| image.image_id.as_str())
        .collect();
    let counted = RUNTIME.block_on(store.count(generation, &filter)).unwrap();
    assert_eq!(counted, expected.len() as u64, "{filter:?}");
}
