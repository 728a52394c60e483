//! Two services over one store, in every order that a seed draws: indexing, removal, a model change, and one of the two
//! gone in the middle. Nothing acknowledged is lost, nothing that was removed comes back, and one model made all that is
//! there. The ledger that says so is that of the killed services.

mod actors;
mod erasing;
mod gate;

use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::ledger::{SharedLedger, encoded_image};
use crate::stands::random::Random;
use crate::stands::stored::stored_images;
use actors::{Client, change_model, remove_by_filter, remove_by_id, write};
use descry_model::Fingerprint;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{ImageMetadata, IndexEmbeddingsRequest, ListGenerationsRequest};
use descry_search::{SearchConfig, SearchService, add_search_service};
use descry_serving::{GrpcChannel, in_process_channel};
use descry_store::{EmbeddedConfig, EmbeddedStore, VectorStore};
use gate::{Gate, GatedStore};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::task::JoinSet;
use tonic::service::RoutesBuilder;

const GALLERY: &str = "street";
const SEEDS: u64 = 40;

/// Images that are there at the begin, some of which are removed later, by their ids or with their camera.
const EARLY: u64 = 12;
const REMOVED_BY_ID: u64 = 3;
const REMOVED_WITH_CAMERA: u64 = 3;
const CAMERA: &str = "old";

fn early_id(number: u64) -> String {
    format!("early-{number:02}")
}

/// A service of its own over a store, called without a network.
fn service(store: Arc<dyn VectorStore>) -> Client {
    let config = SearchConfig::load(None).unwrap();
    let service = SearchService::over(store, &config, None).unwrap();
    let mut routes = RoutesBuilder::default();
    add_search_service(&mut routes, service, usize::MAX);
    let channel: GrpcChannel = in_process_channel(routes.routes(), descry_proto::DESCRIPTOR_SET).unwrap();
    SearchServiceClient::new(channel)
}

/// The store with its gallery of the first model, and an empty generation of the second.
async fn store(folder: &Path, models: &[ComputedModel; 2], ledger: &SharedLedger) -> Arc<dyn VectorStore> {
    let config = EmbeddedConfig { search_threads: 1, ..EmbeddedConfig::default() };
    let store: Arc<dyn VectorStore> =
        Arc::new(EmbeddedStore::open(folder.join("galleries.sqlite3"), config).await.unwrap());
    let [first, second] = models.each_ref().map(|model| model.fingerprint.parse::<Fingerprint>().unwrap());
    store.create_gallery(GALLERY, &first, DIMENSION).await.unwrap();
    let mut images = Vec::new();
    for number in 0..EARLY {
        let mut image = encoded_image(&early_id(number), 1, &models[0]);
        let metadata: &mut ImageMetadata = image.metadata.as_mut().unwrap();
        if (REMOVED_BY_ID..REMOVED_BY_ID + REMOVED_WITH_CAMERA).contains(&number) {
            metadata.camera_id = Some(CAMERA.to_owned());
        }
        ledger.lock().unwrap().begin_with(&early_id(number));
        images.push(image);
    }
    let request = IndexEmbeddingsRequest {
        gallery: GALLERY.to_owned(),
        fingerprint: models[0].fingerprint.clone(),
        images,
        ..IndexEmbeddingsRequest::default()
    };
    service(Arc::clone(&store)).index_embeddings(request).await.unwrap();
    store.create_generation(GALLERY, &second, DIMENSION).await.unwrap();
    store
}

async fn explore(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let models = ["first", "second"].map(ComputedModel::named);
    let ledger = SharedLedger::default();
    let store = store(folder.path(), &models, &ledger).await;
    let gate = Arc::new(Gate::new(random.branch()));
    let gated = |instance| service(Arc::new(GatedStore::new(Arc::clone(&store), Arc::clone(&gate), instance)));
    let services = [gated(0), gated(1)];

    let mut actors = JoinSet::new();
    let changed = Arc::<AtomicBool>::default();
    let pick = |random: &mut Random| random.within(0..=1) as usize;
    for number in 0..2 {
        let instance = pick(&mut random);
        let service = (services[instance].clone(), Arc::clone(&gate), instance);
        actors.spawn(write(
            service,
            number,
            models.clone(),
            Arc::clone(&ledger),
            random.branch(),
            Arc::clone(&changed),
        ));
    }
    let by_id: Vec<String> = (0..REMOVED_BY_ID).map(early_id).collect();
    actors.spawn(remove_by_id(services[pick(&mut random)].clone(), by_id, Arc::clone(&ledger)));
    let with_camera: Vec<String> = (REMOVED_BY_ID..REMOVED_BY_ID + REMOVED_WITH_CAMERA).map(early_id).collect();
    actors.spawn(remove_by_filter(services[pick(&mut random)].clone(), CAMERA, with_camera, Arc::clone(&ledger)));
    actors.spawn(change_model(services[0].clone(), models.clone(), Arc::clone(&changed)));
    // The one that changes the model is gone in some, the other in some, none in others; somebody goes on then.
    let crash = random.within(0..=2) as usize;
    let crash = (crash < 2).then(|| (crash, random.within(1..=250)));
    gate.run(&mut actors, crash).await;
    let successor = gated(2);
    actors.spawn(change_model(successor.clone(), models.clone(), changed));
    gate.run(&mut actors, None).await;

    let mut observer = service(Arc::clone(&store));
    let request = ListGenerationsRequest { gallery: GALLERY.to_owned() };
    let active = observer.list_generations(request).await.unwrap().into_inner().active;
    let stored = stored_images(&mut observer, GALLERY).await;
    let ledger = ledger.lock().unwrap();
    ledger.check_complete(&stored);
    ledger.check_removed(&stored);
    ledger.check_whole(&stored, &models[active as usize - 1]);
    active == 2
}

#[tokio::test]
async fn whatever_the_order_nothing_is_lost_and_nothing_comes_back() {
    let mut changed = 0;
    for seed in 0..SEEDS {
        println!("seed {seed}");
        changed += u64::from(explore(seed).await);
    }
    // Otherwise there was no switch whose order could matter.
    assert!(changed > SEEDS / 2, "the model was changed in {changed} of {SEEDS}");
}
