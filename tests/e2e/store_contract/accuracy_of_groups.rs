//! How well people and tracks are found through both stores, from embeddings that are computed already. A measurement for
//! `docs/PERFORMANCE.md`, run by hand:
//! `DESCRY_TEST_EMBEDDINGS=up_person.npz DESCRY_TEST_ANNOTATIONS=SYNTH-PEDES/reid_raw.json cargo test -p descry-tests --test e2e
//! -- --ignored --nocapture accuracy_of_groups`, with the arrays `gallery` (the images of the test split) and `query` (their
//! captions).

use super::gallery::model;
use super::groups::GROUPINGS;
use super::stand::Stand;
use descry_model::Embedding;
use descry_store::{GalleryImage, GroupBy, GroupHit, ImageMetadata, NearestQuery, Pool};
use ndarray::Array2;
use ndarray_npy::NpzReader;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;

/// Queries that are made exactly as well.
const EXACT_EVERY: usize = 16;

struct Split {
    images: Vec<GalleryImage>,
    /// Each with the person that it describes.
    captions: Vec<(Embedding, String)>,
}

fn given(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} must be set")).into()
}

fn load() -> Split {
    let mut arrays = NpzReader::new(File::open(given("DESCRY_TEST_EMBEDDINGS")).unwrap()).unwrap();
    let (gallery, query): (Array2<f32>, Array2<f32>) =
        (arrays.by_name("gallery").unwrap(), arrays.by_name("query").unwrap());
    let annotations: Value = serde_json::from_slice(&fs::read(given("DESCRY_TEST_ANNOTATIONS")).unwrap()).unwrap();
    let entries: Vec<&Value> =
        annotations.as_array().unwrap().iter().filter(|entry| entry["split"] == "test").collect();
    let person = |entry: &Value| entry["id"].as_i64().unwrap().to_string();
    let embedding = |array: &Array2<f32>, row: usize| Embedding::normalized(array.row(row).to_vec()).unwrap();
    let image = |(row, entry): (usize, &&Value)| {
        let path = entry["file_path"].as_str().unwrap();
        let metadata = ImageMetadata {
            person_id: Some(person(entry)),
            camera_id: path.split('_').nth(1).map(str::to_owned),
            track_id: Some(person(entry)),
            ..ImageMetadata::default()
        };
        GalleryImage { image_id: path.to_owned(), embedding: embedding(&gallery, row), metadata }
    };
    let images: Vec<GalleryImage> = entries.iter().enumerate().map(image).collect();
    let described = entries.iter().flat_map(|entry| {
        let captions = entry["captions"].as_array().unwrap().len();
        std::iter::repeat_n(person(entry), captions)
    });
    let captions: Vec<_> = described.enumerate().map(|(row, person)| (embedding(&query, row), person)).collect();
    assert_eq!((images.len(), captions.len()), (gallery.nrows(), query.nrows()));
    Split { images, captions }
}

/// Rank-1 and mean average precision, in percent, as they are added up.
#[derive(Default)]
struct Metrics {
    rank1: f64,
    map: f64,
    captions: f64,
}

impl Metrics {
    fn add(&mut self, hits: &[GroupHit], person: &str, right_groups: usize) {
        let (mut right, mut precision) = (0.0, 0.0);
        for (place, hit) in hits.iter().enumerate() {
            if hit.best.metadata.person_id.as_deref() == Some(person) {
                right += 1.0;
                precision += right / (place + 1) as f64;
                self.rank1 += f64::from(u8::from(place == 0));
            }
        }
        self.map += precision / right_groups as f64;
        self.captions += 1.0;
    }

    fn told(&self) -> String {
        format!("Rank-1 {:.2}, mAP {:.2}", 100.0 * self.rank1 / self.captions, 100.0 * self.map / self.captions)
    }
}

/// Groups in their order, but for scores that are nearly the same.
fn differs(found: &[GroupHit], expected: &[GroupHit]) -> bool {
    found.len() != expected.len() || found.iter().zip(expected).any(|(a, b)| (a.score - b.score).abs() > 1e-5)
}

#[tokio::test]
#[ignore = "a measurement of a data set that is not here"]
async fn accuracy_of_groups() {
    let Split { images, captions } = load();
    let (embedded, qdrant) = (Stand::embedded().await, Stand::qdrant());
    let dimension = images[0].embedding.dimension();
    for store in [&embedded.store, &qdrant.store] {
        store.create_gallery("split", &model("a"), dimension).await.unwrap();
        store.upsert("split", &model("a"), images.clone()).await.unwrap();
    }
    for grouping in GROUPINGS {
        let mut groups: BTreeMap<&str, BTreeSet<Option<&str>>> = BTreeMap::new();
        for image in &images {
            let camera = image.metadata.camera_id.as_deref().filter(|_| grouping.by == GroupBy::Track);
            groups.entry(image.metadata.person_id.as_deref().unwrap()).or_default().insert(camera);
        }
        let (mut of_embedded, mut of_qdrant) = (Metrics::default(), Metrics::default());
        let (mut first_differ, mut all_differ, mut exact_differ) = (0, 0, 0);
        for (place, (caption, person)) in captions.iter().enumerate() {
            let query = NearestQuery::new(caption.clone(), model("a"), images.len());
            let expected = embedded.store.nearest_groups("split", query.clone(), grouping).await.unwrap();
            let found = qdrant.store.nearest_groups("split", query.clone(), grouping).await.unwrap();
            of_embedded.add(&expected, person, groups[person.as_str()].len());
            of_qdrant.add(&found, person, groups[person.as_str()].len());
            let first = |hits: &[GroupHit]| hits[..hits.len().min(10)].to_vec();
            first_differ += usize::from(differs(&first(&found), &first(&expected)));
            all_differ += usize::from(differs(&found, &expected));
            if place % EXACT_EVERY == 0 {
                let exact = NearestQuery { exact: true, ..query };
                let exact = qdrant.store.nearest_groups("split", exact, grouping).await.unwrap();
                exact_differ += usize::from(differs(&exact, &expected));
            }
        }
        println!("{:?} {:?}: embedded {}", grouping.by, grouping.pool, of_embedded.told());
        println!("  Qdrant {}; of {} rankings", of_qdrant.told(), captions.len());
        println!("  {first_differ} differ in the first ten, {all_differ} anywhere");
        println!("  {exact_differ} of {} exact ones differ", captions.len().div_ceil(EXACT_EVERY));
        assert_eq!(exact_differ, 0, "{grouping:?}");
        assert!(grouping.pool == Pool::Mean || all_differ == 0, "{grouping:?}");
    }
}
