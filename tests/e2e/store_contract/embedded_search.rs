//! What the embedded store alone promises about searching: nothing is missed, and writes keep nobody waiting.

use super::brute_force::{DECLARED, assert_hits_are_right, assert_in_order, random_images};
use super::by_address::ByAddress;
use super::gallery::{Random, declaring, model};
use super::stand::open_embedded;
use descry_store::{GalleryImage, NearestQuery};
use std::sync::Arc;

const DIMENSION: usize = 48;

/// Recall@10 of 1: each of the hits is as near as the image of its rank.
async fn assert_nothing_is_missed(store: &ByAddress, images: &[GalleryImage], seed: u64) {
    let mut random = Random(seed);
    for _ in 0..50 {
        let query = NearestQuery::new(random.embedding(DIMENSION), model("a"), 10);
        let hits = store.nearest("street", query.clone()).await.unwrap();
        assert_hits_are_right(&hits, &query, images);
    }
}

#[tokio::test]
async fn no_image_is_missed_among_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("galleries.sqlite");
    let store = open_embedded(&path).await;
    store.create(declaring("street", DIMENSION, &DECLARED)).await.unwrap();
    let mut images = random_images(&mut Random(41), 3_000, DIMENSION);
    store.upsert("street", &model("a"), images.clone()).await.unwrap();
    assert_nothing_is_missed(&store, &images, 42).await;

    let deleted: Vec<String> = images.iter().step_by(3).map(|image| image.image_id.clone()).collect();
    assert_eq!(store.delete_images("street", &deleted).await.unwrap(), 1_000);
    let mut number = 0;
    images.retain(|_| {
        number += 1;
        number % 3 != 1
    });
    assert_nothing_is_missed(&store, &images, 43).await;
    drop(store);
    let reopened = open_embedded(&path).await;
    assert_eq!(reopened.gallery("street").await.unwrap().images, 2_000);
    assert_nothing_is_missed(&reopened, &images, 44).await;
}

#[tokio::test]
async fn searching_goes_on_while_images_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open_embedded(&folder.path().join("galleries.sqlite")).await);
    store.create(declaring("street", DIMENSION, &DECLARED)).await.unwrap();
    let images = random_images(&mut Random(51), 400, DIMENSION);
    store.upsert("street", &model("a"), images.clone()).await.unwrap();

    let (mut changing, staying) = (images[..300].to_vec(), &images[300..]);
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        let mut random = Random(52);
        for _ in 0..30 {
            for image in &mut changing {
                image.embedding = random.embedding(DIMENSION);
            }
            writing.upsert("street", &model("a"), changing.clone()).await.unwrap();
        }
    });
    let mut searches = 0;
    while searches < 20 || !writer.is_finished() {
        let wanted = &staying[searches % staying.len()];
        let query = NearestQuery::new(wanted.embedding.clone(), model("a"), 10);
        let hits = store.nearest("street", query).await.unwrap();
        assert_eq!(hits.len(), 10);
        assert_eq!(hits[0].image_id, wanted.image_id, "what nobody writes is found as ever");
        assert_in_order(&hits);
        searches += 1;
    }
    writer.await.unwrap();
    assert_eq!(store.gallery("street").await.unwrap().images, 400);
}
