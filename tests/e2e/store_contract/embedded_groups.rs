//! What the embedded store alone promises about persons and tracks: none is missed among many, nor by a damaged image.

use super::brute_force::DECLARED;
use super::by_address::ByAddress;
use super::gallery::{Random, declaring, image, model, query};
use super::groups::{GROUPINGS, assert_groups_are_right, random_groups};
use super::stand::open_embedded;
use descry_store::{GalleryImage, NearestQuery};

const DIMENSION: usize = 48;

async fn assert_nothing_is_missed(store: &ByAddress, images: &[GalleryImage], random: &mut Random) {
    for step in 0..40 {
        let grouping = GROUPINGS[step % 4];
        let query = NearestQuery::new(random.embedding(DIMENSION), model("a"), 10);
        let hits = store.nearest_groups("street", query.clone(), grouping).await.unwrap();
        assert_groups_are_right(&hits, &query, grouping, images);
    }
}

#[tokio::test]
async fn no_group_is_missed_among_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("galleries.sqlite");
    let (store, mut random) = (open_embedded(&path).await, Random(81));
    store.create(declaring("street", DIMENSION, &DECLARED)).await.unwrap();
    let mut images = random_groups(&mut random, 3_000, DIMENSION);
    for image in &mut images[1_500..2_700] {
        image.metadata.person_id = Some(format!("person {}", random.below(400)));
        image.metadata.track_id = Some(random.below(90).to_string());
    }
    store.upsert("street", &model("a"), images.clone()).await.unwrap();
    assert_nothing_is_missed(&store, &images, &mut random).await;
    let deleted: Vec<String> = images.drain(..1_100).map(|image| image.image_id).collect();
    assert_eq!(store.delete_images("street", &deleted).await.unwrap(), 1_100);
    assert_nothing_is_missed(&store, &images, &mut random).await;
    drop(store);
    assert_nothing_is_missed(&open_embedded(&path).await, &images, &mut random).await;
}

/// The codes of an image that cannot be read would hold a better person's place.
#[tokio::test]
async fn a_damaged_image_hides_no_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("galleries.sqlite");
    let store = open_embedded(&path).await;
    store.create_gallery("street", &model("a"), 2).await.unwrap();
    let images =
        [("1", "ann", [0.0, 1.0]), ("2", "ann", [1.0, 0.0]), ("3", "ann", [1.0, 0.0]), ("4", "bob", [0.7, 0.7])];
    let images = images.map(|(id, person, values)| {
        let mut image = image(id, &values);
        image.metadata.person_id = Some(person.to_owned());
        image
    });
    store.upsert("street", &model("a"), images.to_vec()).await.unwrap();
    drop(store);
    let damage = "UPDATE embedding SET vector = zeroblob(8) WHERE image IN (2, 3)";
    assert_eq!(rusqlite::Connection::open(&path).unwrap().execute(damage, []).unwrap(), 2);
    let store = open_embedded(&path).await;
    for limit in [1, 2] {
        // The first search finds out, the second one knows.
        for _ in 0..2 {
            let hits = store.nearest_groups("street", query(&[1.0, 0.0], limit), GROUPINGS[1]).await.unwrap();
            let found: Vec<_> = hits.iter().map(|hit| (hit.best.image_id.as_str(), hit.images)).collect();
            assert_eq!(found, [("4", Some(1)), ("1", Some(1))][..limit], "limit {limit}");
        }
        assert_eq!(store.condition().damaged_images, 2);
    }
}
