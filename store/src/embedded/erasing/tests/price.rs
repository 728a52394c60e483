//! What overwriting costs: a measurement, run by hand.

use super::super::super::EmbeddedStore;
use super::needles::Random;
use super::{open, scrub};
use crate::{GalleryImage, ImageMetadata, VectorStore as _};
use descry_model::{Embedding, Fingerprint};
use std::time::Instant;

const DIMENSION: usize = 512;
const ROUNDS: u64 = 3;

/// Images a second: written, written again, deleted by the hundred and one by one, until all is on the disk as it should be.
async fn measure(overwrites: bool, seed: u64) -> [f64; 4] {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    if !overwrites {
        let mut database = store.database.lock().await;
        database.connection().execute_batch("PRAGMA secure_delete = OFF").unwrap();
        database.erasing.is_off = true;
    }
    let mut random = Random(seed);
    let gallery = store.create_gallery("lobby", &Fingerprint::of_parts([]), DIMENSION).await.unwrap();
    let images: Vec<GalleryImage> = (0..6_000).map(|_| image(&mut random)).collect();
    let mut rates = [0.0; 4];
    for rate in rates.iter_mut().take(2) {
        let began = Instant::now();
        for some in images.chunks(256) {
            store.upsert(&gallery, &gallery.fingerprint, some.to_vec()).await.unwrap();
        }
        end(&store, overwrites).await;
        *rate = images.len() as f64 / began.elapsed().as_secs_f64();
    }
    let mut ids: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
    random.shuffle(&mut ids);
    let (many, few) = ids.split_at(5_000);
    for (rate, ids, at_once) in [(2, many, 100), (3, few, 1)] {
        let began = Instant::now();
        for some in ids.chunks(at_once) {
            store.delete_images(&gallery, some).await.unwrap();
        }
        end(&store, overwrites).await;
        rates[rate] = ids.len() as f64 / began.elapsed().as_secs_f64();
    }
    rates
}

fn image(random: &mut Random) -> GalleryImage {
    let values = (0..DIMENSION).map(|_| random.below(2_001) as f32 - 1_000.3).collect();
    let metadata = ImageMetadata {
        person_id: Some(format!("person-{}", random.below(500))),
        camera_id: Some(format!("camera-{}", random.below(9))),
        attributes: [("coat".to_owned(), "red".to_owned())].into(),
        ..ImageMetadata::default()
    };
    let image_id = format!("{:016x}.jpg", random.number());
    GalleryImage { image_id, embedding: Embedding::normalized(values).unwrap(), metadata }
}

async fn end(store: &EmbeddedStore, overwrites: bool) {
    if overwrites {
        scrub(store).await;
    }
}

#[tokio::test]
#[ignore = "a measurement of a minute"]
async fn what_overwriting_costs() {
    const WHAT: [&str; 4] = ["written", "written again", "deleted by the hundred", "deleted one by one"];
    let mut sums = [[0.0; 4]; 2];
    for round in 0..ROUNDS {
        for overwrites in [false, true] {
            let rates = measure(overwrites, round).await;
            sums[usize::from(overwrites)].iter_mut().zip(rates).for_each(|(sum, rate)| *sum += rate / ROUNDS as f64);
        }
    }
    for (place, what) in WHAT.iter().enumerate() {
        let (without, with) = (sums[0][place], sums[1][place]);
        println!("{what}: {without:.0} images a second without overwriting, {with:.0} with it, {:.2}", with / without);
    }
}
