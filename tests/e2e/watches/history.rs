//! Streams that begin far back, and watches of other versions of the service.

use crate::stands::alone::SearchAlone;
use crate::stands::computed::{ComputedModel, DIMENSION};
use descry_model::{Embedding, Fingerprint};
use descry_proto::search::v1::{DeleteWatchRequest, ListWatchesRequest, WatchMatchesRequest};
use descry_store::{EmbeddedConfig, EmbeddedStore, GalleryImage, Generation, ImageMetadata, VectorStore as _};
use prost_types::Timestamp;
use std::path::Path;
use tempfile::TempDir;

const GALLERY: &str = "lobby";

/// A store's file with a gallery in it, filled without the service.
async fn stored(fill: impl AsyncFnOnce(&EmbeddedStore, &Generation)) -> (TempDir, SearchAlone) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("galleries.sqlite3");
    fill_file(&path, fill).await;
    let service = SearchAlone::start(|search| search.embedded.path = path).await;
    (folder, service)
}

async fn fill_file(path: &Path, fill: impl AsyncFnOnce(&EmbeddedStore, &Generation)) {
    let model: Fingerprint = ComputedModel::named("any").fingerprint.parse().unwrap();
    let store = EmbeddedStore::open(path, EmbeddedConfig::default()).await.unwrap();
    let gallery = store.create_gallery(GALLERY, &model, DIMENSION).await.unwrap();
    fill(&store, &gallery).await;
}

fn image(number: usize, indexed_at_ms: i64) -> GalleryImage {
    let image_id = format!("{number:05}");
    let embedding = Embedding::normalized(ComputedModel::named("any").embedding(image_id.as_bytes())).unwrap();
    GalleryImage { image_id, embedding, metadata: ImageMetadata { indexed_at_ms, ..ImageMetadata::default() } }
}

/// A watch that every image matches, made before all of them.
fn watch_of_everything() -> String {
    let model = ComputedModel::named("any");
    let embedding = model.embedding(b"watched for");
    serde_json::json!({
        "embedding": embedding, "fingerprint": model.fingerprint, "min_score": -1.0, "filter": {}, "created_at_ms": 0,
    })
    .to_string()
}

/// More images than are looked at together, some of them written within one millisecond.
#[tokio::test]
async fn a_stream_from_long_ago_tells_everything_once_and_in_order() {
    const AT_ONCE: usize = 1_300;
    const IN_ALL: usize = 4_000;
    let began_ms = 1_600_000_000_000;
    let (_folder, service) = stored(async |store, gallery| {
        let time = |number: usize| if number < AT_ONCE { began_ms } else { began_ms + 60_000 * number as i64 };
        let images: Vec<GalleryImage> = (0..IN_ALL).map(|number| image(number, time(number))).collect();
        for images in images.chunks(500) {
            store.upsert(gallery, &gallery.fingerprint, images.to_vec()).await.unwrap();
        }
        store.put_document(gallery, "watch.all", Some(watch_of_everything())).await.unwrap();
    })
    .await;
    let mut client = service.client().await;
    let since = Some(Timestamp { seconds: began_ms / 1_000 - 86_400, nanos: 0 });
    let request = WatchMatchesRequest { gallery: GALLERY.to_owned(), since, ..WatchMatchesRequest::default() };
    let mut matches = client.watch_matches(request).await.unwrap().into_inner();
    let expected: Vec<String> = (0..IN_ALL).map(|number| format!("{number:05}")).collect();
    let mut seen = Vec::new();
    for _ in 0..IN_ALL {
        seen.push(super::next(&mut matches).await.hit.unwrap().image_id);
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_watch_that_cannot_be_read_is_named_and_can_be_deleted() {
    let (_folder, service) = stored(async |store, gallery| {
        store.put_document(gallery, "watch.all", Some(watch_of_everything())).await.unwrap();
        store.put_document(gallery, "watch.newer", Some("{\"version\":9}".to_owned())).await.unwrap();
    })
    .await;
    let mut client = service.client().await;
    let list = ListWatchesRequest { gallery: GALLERY.to_owned(), ..Default::default() };
    let listed = client.list_watches(list.clone()).await.unwrap().into_inner();
    assert_eq!(listed.watches.iter().map(|watch| watch.name.as_str()).collect::<Vec<_>>(), ["all"]);
    assert_eq!(listed.unreadable, ["newer"]);
    let delete = DeleteWatchRequest { gallery: GALLERY.to_owned(), name: "newer".to_owned() };
    client.delete_watch(delete).await.unwrap();
    assert!(client.list_watches(list).await.unwrap().into_inner().unreadable.is_empty());
}
