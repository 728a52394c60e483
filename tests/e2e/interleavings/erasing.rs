//! One service erases a person while another one indexes images of the same person, in every order that a seed draws: when
//! both are done, none is left, and nothing of anybody else is lost.

use super::actors::Client;
use super::gate::{Gate, GatedStore};
use super::{GALLERY, service};
use crate::erasure::{image, write, writing};
use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::random::Random;
use crate::stands::stored::stored_images;
use descry_model::Fingerprint;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{EraseImagesRequest, ImageMetadata, IndexEmbeddingsRequest, UpdateImagesRequest};
use descry_store::{EmbeddedConfig, EmbeddedStore, VectorStore};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

const SEEDS: u64 = 12;
const WRITES: u64 = 5;
const ATTEMPTS: usize = 6;
const ERASED: &str = "erased";

/// What a writer was told of each image.
type Told = Arc<Mutex<Vec<(String, String)>>>;

fn of_street(request: IndexEmbeddingsRequest) -> IndexEmbeddingsRequest {
    IndexEmbeddingsRequest { gallery: GALLERY.to_owned(), ..request }
}

async fn index(mut client: Client, writer: u64, model: ComputedModel, told: Told) {
    for number in 0..WRITES {
        for person in [ERASED, "kept"] {
            let image_id = format!("{person}-{writer}-{number}");
            let images = vec![image(&model, &image_id, (person, "", ""), &image_id)];
            let outcome = write(&mut client, of_street(writing(&model, images))).await.remove(0);
            told.lock().unwrap().push((image_id, outcome));
        }
    }
}

/// Says of an image that it is of the person.
async fn update(mut client: Client) {
    let metadata = ImageMetadata { person_id: Some(ERASED.to_owned()), ..ImageMetadata::default() };
    let changes = vec![Change { image_id: "early-1".to_owned(), metadata: Some(metadata) }];
    let request = UpdateImagesRequest { gallery: GALLERY.to_owned(), changes, ..UpdateImagesRequest::default() };
    if let Err(refused) = client.update_images(request).await {
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
    }
}

async fn erase(mut client: Client) {
    let request = EraseImagesRequest {
        gallery: GALLERY.to_owned(),
        person_ids: vec![ERASED.to_owned()],
        ..EraseImagesRequest::default()
    };
    for _ in 0..ATTEMPTS {
        match client.erase_images(request.clone()).await {
            Ok(_) => return,
            Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{status}"),
        }
    }
    panic!("it was not erased");
}

/// How many images of the person were taken before they were erased, and how many were refused.
async fn explore(seed: u64) -> (usize, usize) {
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let models = ["first", "second"].map(ComputedModel::named);
    let config = EmbeddedConfig { search_threads: 1, ..EmbeddedConfig::default() };
    let store: Arc<dyn VectorStore> =
        Arc::new(EmbeddedStore::open(folder.path().join("galleries.sqlite3"), config).await.unwrap());
    let [first, second] = models.each_ref().map(|model| model.fingerprint.parse::<Fingerprint>().unwrap());
    store.create_gallery(GALLERY, &first, DIMENSION).await.unwrap();
    store.create_generation(GALLERY, &second, DIMENSION).await.unwrap();
    let mut observer = service(Arc::clone(&store));
    let early = |number: u64| {
        let (person, image_id) = (if number.is_multiple_of(2) { ERASED } else { "kept" }, format!("early-{number}"));
        image(&models[0], &image_id, (person, "", ""), &image_id)
    };
    write(&mut observer, of_street(writing(&models[0], (0..4).map(early).collect()))).await;

    let gate = Arc::new(Gate::new(random.branch()));
    let gated = |instance| service(Arc::new(GatedStore::new(Arc::clone(&store), Arc::clone(&gate), instance)));
    let services = [gated(0), gated(1)];
    let told = Told::default();
    let mut actors = JoinSet::new();
    for writer in 0..2 {
        let instance = random.within(0..=1) as usize;
        actors.spawn(index(services[instance].clone(), writer, models[0].clone(), Arc::clone(&told)));
    }
    actors.spawn(update(services[random.within(0..=1) as usize].clone()));
    actors.spawn({
        let (client, gate, turns) = (services[1].clone(), Arc::clone(&gate), random.within(0..=60));
        async move {
            gate.rest(1, turns).await;
            erase(client).await;
        }
    });
    gate.run(&mut actors, None).await;

    let told = told.lock().unwrap().clone();
    let stored = stored_images(&mut observer, GALLERY).await;
    for (image_id, known) in &stored {
        assert_ne!(known.metadata.as_ref().unwrap().person_id(), ERASED, "{image_id} is there: {told:?}");
    }
    let (mut taken, mut refused) = (0, 0);
    for (image_id, outcome) in &told {
        match (image_id.starts_with(ERASED), outcome.as_str()) {
            (true, "indexed") => taken += 1,
            (true, "ERASED") => refused += 1,
            (false, "indexed") => assert!(stored.contains_key(image_id), "{image_id} was acknowledged and is lost"),
            (_, other) => panic!("{image_id}: {other}"),
        }
    }
    assert!(stored.contains_key("early-3"));
    (taken, refused)
}

#[tokio::test]
async fn whatever_the_order_nobody_who_was_erased_is_left() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let found = explore(seed).await;
        (taken, refused) = (taken + found.0, refused + found.1);
    }
    // Otherwise one was over before the other began.
    assert!(taken > 10 && refused > 10, "{taken} were taken, {refused} were refused");
}
