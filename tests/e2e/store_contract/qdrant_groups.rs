//! What the Qdrant store alone promises of persons and tracks: what is read follows the groups that are asked for and not
//! their images, and pages go on where they ended.

use super::by_address::ByAddress;
use super::gallery::{Random, embedding, image, model, query};
use super::groups::{GROUPINGS, assert_groups_are_right};
use super::stand::connect;
use descry_qdrant_server::TestQdrant;
use descry_store::{GalleryImage, GroupBy, GroupHit, NearestQuery, Pool};

/// Images of a group of which a mean is taken, where the search is not exact.
const MAX_POOLED_IMAGES: u64 = 256;

/// What is known of each image of a crowd, in bytes: more than its names and its embedding take.
const KNOWN_BYTES: usize = 2_000;

async fn filled(server: &TestQdrant, images: &[GalleryImage]) -> ByAddress {
    let store = connect(&server.url());
    let dimension = images[0].embedding.dimension();
    store.create_gallery("street", &model("a"), dimension).await.unwrap();
    store.upsert("street", &model("a"), images.to_vec()).await.unwrap();
    store
}

fn ids(hits: &[GroupHit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.best.image_id.as_str()).collect()
}

/// Somebody with very many images near the query, nearer than six others with two images each; and images of nobody. The
/// tracks of the six are named as that of the crowd, which is before no camera.
fn crowd(images: usize) -> Vec<GalleryImage> {
    let mut random = Random(91);
    let mut near = |away: f32| {
        let noise = random.embedding(8);
        let mut values: Vec<f32> = noise.as_slice().iter().map(|value| 0.2 * value).collect();
        (values[0], values[1]) = (values[0] + 1.0, values[1] + away);
        values
    };
    let mut all = Vec::new();
    for number in 0..images {
        let mut image = image(&format!("crowd {number}"), &near(0.0));
        image.metadata.person_id = Some("crowd".to_owned());
        image.metadata.track_id = Some("7".to_owned());
        all.push(image);
    }
    for other in 1..=6_u8 {
        for number in 0..2 {
            let mut image = image(&format!("other {other} {number}"), &near(f32::from(other)));
            image.metadata.person_id = Some(format!("other {other}"));
            image.metadata.camera_id = Some(format!("c{other}"));
            image.metadata.track_id = Some("7".to_owned());
            all.push(image);
        }
    }
    all.extend((0..40).map(|number| image(&format!("nobody {number}"), &near(0.0))));
    for image in &mut all {
        image.metadata.attributes.insert("note".to_owned(), "n".repeat(KNOWN_BYTES));
    }
    all
}

#[tokio::test]
async fn what_is_read_follows_the_groups_and_not_their_images() {
    let (server, images) = (TestQdrant::start().unwrap(), crowd(1_200));
    let store = filled(&server, &images).await;
    for (grouping, exact) in GROUPINGS.into_iter().flat_map(|grouping| [(grouping, false), (grouping, true)]) {
        let query = NearestQuery { exact, ..query(&[1.0, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0], 5) };
        let _earlier = server.take_answered_bytes();
        let hits = store.nearest_groups("street", query.clone(), grouping).await.unwrap();
        let read_bytes = server.take_answered_bytes();
        // The best of five groups: at most eight images of each whole. Means: names and embeddings, nothing else is known.
        let most = if grouping.pool == Pool::Best { 41 * (KNOWN_BYTES + 300) + 20_000 } else { 450_000 };
        assert!(read_bytes < most, "{grouping:?} {exact}: {read_bytes} bytes");
        if grouping.pool == Pool::Mean && !exact {
            let expected = NearestQuery { exact: true, ..query.clone() };
            let expected = store.nearest_groups("street", expected, grouping).await.unwrap();
            let pooled = |hits: &[GroupHit]| hits.iter().map(|hit| hit.images.unwrap()).collect::<Vec<_>>();
            assert_eq!(pooled(&expected), [1_200, 2, 2, 2, 2]);
            assert_eq!(pooled(&hits), [MAX_POOLED_IMAGES, 2, 2, 2, 2], "the hit tells that not all were pooled");
            assert_eq!(ids(&hits), ids(&expected));
            let is_near = |(a, b): (&GroupHit, &GroupHit)| (a.score - b.score).abs() < 0.01;
            assert!(hits.iter().zip(&expected).all(is_near), "so many images tell the mean of all");
        } else {
            assert_groups_are_right(&hits, &query, grouping, &images);
        }
    }
}

#[tokio::test]
async fn pages_of_groups_by_their_means_go_on_where_the_last_ended() {
    let mut random = Random(92);
    let images = (0..450).map(|number: usize| {
        let mut image = image(&format!("image {number}"), &[1.0; 12]);
        image.embedding = random.embedding(12);
        image.metadata.person_id = Some(format!("person {}", number % 150));
        image.metadata.track_id = Some(format!("track {}", number % 130));
        image
    });
    let images: Vec<GalleryImage> = images.collect();
    let server = TestQdrant::start().unwrap();
    let store = filled(&server, &images).await;
    for by in [GroupBy::Person, GroupBy::Track] {
        let grouping = descry_store::Grouping { by, pool: Pool::Mean };
        let direction = random.embedding(12);
        let found = async |limit, exact| {
            let query = NearestQuery { exact, ..NearestQuery::new(direction.clone(), model("a"), limit) };
            store.nearest_groups("street", query, grouping).await.unwrap()
        };
        let whole = found(150, false).await;
        assert!(whole.is_sorted_by(|a, b| a.score >= b.score));
        for limit in [1, 2, 9, 31, 32, 33, 60, 64, 65, 100, 129] {
            let beginning = &whole[..limit.min(whole.len())];
            assert_eq!(ids(&found(limit, false).await), ids(beginning), "{by:?} {limit}");
        }
        // Nobody is taken for a better one.
        let all = found(150, true).await;
        let place = |hit: &GroupHit| ids(&all).iter().position(|id| *id == hit.best.image_id).unwrap();
        assert!(whole.is_sorted_by_key(place) && whole.len() > 100, "{}", whole.len());
    }
}

#[tokio::test]
async fn many_equal_groups_come_by_the_ids_of_their_images() {
    let images = (0..300).map(|number| {
        let mut image = image(&format!("{number:03}"), &[1.0, 1.0]);
        image.metadata.person_id = Some(format!("person {}", 300 - number));
        image.metadata.track_id = Some("1".to_owned());
        image.metadata.camera_id = Some(format!("camera {number}"));
        image
    });
    let mut images: Vec<GalleryImage> = images.collect();
    images[299].embedding = embedding(&[1.0, 0.0]);
    let server = TestQdrant::start().unwrap();
    let store = filled(&server, &images).await;
    for grouping in GROUPINGS {
        let hits = store.nearest_groups("street", query(&[1.0, 0.0], 4), grouping).await.unwrap();
        assert_eq!(ids(&hits), ["299", "000", "001", "002"], "{grouping:?}");
    }
}
