//! A store whose calls wait until a seed lets them go on, one at a time.

use crate::stands::random::Random;
use async_trait::async_trait;
use descry_model::{Embedding, Fingerprint};
use descry_store::{
    CheckPage, CheckRequest, Gallery, GalleryImage, Generation, Generations, Hit, ImageMetadata, ImagePage,
    MetadataPage, NearestQuery, NewGallery, PageRequest, Scrubbed, SearchFilter, StoreError, VectorStore,
};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// Whose turn it is among the calls of all services.
pub(super) struct Gate {
    state: Mutex<State>,
    ended: Notify,
}

struct State {
    random: Random,
    waiting: Vec<(usize, oneshot::Sender<()>)>,
    is_busy: bool,
    /// Services that are gone: none of their calls goes on.
    gone: Vec<usize>,
}

/// So often everybody else may go on before it is said that all wait.
const YIELDS: usize = 40;

impl Gate {
    pub(super) fn new(random: Random) -> Self {
        let state = State { random, waiting: Vec::new(), is_busy: false, gone: Vec::new() };
        Self { state: Mutex::new(state), ended: Notify::new() }
    }

    async fn pass(&self, instance: usize) {
        let (go, gone_on) = oneshot::channel();
        self.state.lock().unwrap().waiting.push((instance, go));
        if gone_on.await.is_err() {
            // The service was killed: this call never ends.
            std::future::pending::<()>().await;
        }
    }

    /// Does nothing for a few turns of a service.
    pub(super) async fn rest(&self, instance: usize, turns: u64) {
        for _ in 0..turns {
            self.pass(instance).await;
            drop(Busy(self));
        }
    }

    /// Lets calls go on, each alone, until all actors of services that are there have ended. One service may be gone after
    /// some calls.
    pub(super) async fn run(&self, actors: &mut JoinSet<()>, crash: Option<(usize, u64)>) {
        let mut calls = 0;
        loop {
            self.settle(actors).await;
            if !self.let_one_go_on(actors.is_empty(), crash.filter(|(_, after)| calls == *after).map(|(gone, _)| gone))
            {
                break;
            }
            calls += 1;
        }
        // Those of a service that is gone, if any.
        actors.abort_all();
        while let Some(ended) = actors.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
    }

    /// Draws one of the waiting calls; `gone` is a service that is killed before. False where nobody waits any more.
    fn let_one_go_on(&self, all_ended: bool, gone: Option<usize>) -> bool {
        let mut state = self.state.lock().unwrap();
        state.gone.extend(gone);
        let gone = state.gone.clone();
        state.waiting.retain(|(instance, go)| !gone.contains(instance) && !go.is_closed());
        let Some(last) = state.waiting.len().checked_sub(1) else {
            assert!(all_ended || !gone.is_empty(), "nobody goes on");
            return false;
        };
        let choice = state.random.within(0..=last as u64) as usize;
        let (_, go) = state.waiting.swap_remove(choice);
        state.is_busy = go.send(()).is_ok();
        true
    }

    /// Until the call that goes on has ended and everybody waits again.
    async fn settle(&self, actors: &mut JoinSet<()>) {
        loop {
            let ended = self.ended.notified();
            if !self.state.lock().unwrap().is_busy {
                break;
            }
            ended.await;
        }
        let mut unchanged = 0;
        let mut waiting = usize::MAX;
        while unchanged < YIELDS {
            tokio::task::yield_now().await;
            while let Some(ended) = actors.try_join_next() {
                ended.unwrap();
            }
            let now = self.state.lock().unwrap().waiting.len();
            unchanged = if now == waiting { unchanged + 1 } else { 0 };
            waiting = now;
        }
    }
}

/// One service's way to the store that several share.
pub(super) struct GatedStore {
    store: Arc<dyn VectorStore>,
    gate: Arc<Gate>,
    instance: usize,
}

/// A call that goes on.
struct Busy<'a>(&'a Gate);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().is_busy = false;
        self.0.ended.notify_waiters();
    }
}

impl GatedStore {
    pub(super) fn new(store: Arc<dyn VectorStore>, gate: Arc<Gate>, instance: usize) -> Self {
        Self { store, gate, instance }
    }

    async fn step<Answer>(&self, call: impl Future<Output = Answer>) -> Answer {
        self.gate.pass(self.instance).await;
        let _busy = Busy(&self.gate);
        call.await
    }
}

type Ids<'a> = &'a [String];

#[async_trait]
impl VectorStore for GatedStore {
    async fn create(&self, new: NewGallery) -> Result<Generation, StoreError> {
        self.step(self.store.create(new)).await
    }

    async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Generation, StoreError> {
        self.step(self.store.create_generation(name, fingerprint, dimension)).await
    }

    async fn resolve(&self, address: &str) -> Result<Generation, StoreError> {
        self.step(self.store.resolve(address)).await
    }

    async fn generations(&self, name: &str) -> Result<Generations, StoreError> {
        self.step(self.store.generations(name)).await
    }

    async fn galleries(&self) -> Result<Vec<Generation>, StoreError> {
        self.step(self.store.galleries()).await
    }

    async fn describe(&self, generation: &Generation) -> Result<Gallery, StoreError> {
        self.step(self.store.describe(generation)).await
    }

    async fn activate(&self, generation: &Generation) -> Result<(), StoreError> {
        self.step(self.store.activate(generation)).await
    }

    async fn delete_generation(&self, generation: &Generation) -> Result<(), StoreError> {
        self.step(self.store.delete_generation(generation)).await
    }

    async fn delete_gallery(&self, name: &str) -> Result<(), StoreError> {
        self.step(self.store.delete_gallery(name)).await
    }

    async fn upsert(
        &self,
        generation: &Generation,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), StoreError> {
        self.step(self.store.upsert(generation, fingerprint, images)).await
    }

    async fn update_metadata(
        &self,
        generation: &Generation,
        images: Vec<(String, ImageMetadata)>,
    ) -> Result<u64, StoreError> {
        self.step(self.store.update_metadata(generation, images)).await
    }

    async fn delete_images(&self, generation: &Generation, image_ids: Ids<'_>) -> Result<u64, StoreError> {
        self.step(self.store.delete_images(generation, image_ids)).await
    }

    async fn delete_matching(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError> {
        self.step(self.store.delete_matching(generation, filter)).await
    }

    async fn scrub(&self, name: &str) -> Result<Scrubbed, StoreError> {
        self.step(self.store.scrub(name)).await
    }

    async fn count(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError> {
        self.step(self.store.count(generation, filter)).await
    }

    async fn images(
        &self,
        generation: &Generation,
        image_ids: Ids<'_>,
    ) -> Result<HashMap<String, ImageMetadata>, StoreError> {
        self.step(self.store.images(generation, image_ids)).await
    }

    async fn embeddings(
        &self,
        generation: &Generation,
        image_ids: Ids<'_>,
    ) -> Result<HashMap<String, Embedding>, StoreError> {
        self.step(self.store.embeddings(generation, image_ids)).await
    }

    async fn page(&self, generation: &Generation, request: PageRequest) -> Result<ImagePage, StoreError> {
        self.step(self.store.page(generation, request)).await
    }

    async fn listing(&self, generation: &Generation, request: PageRequest) -> Result<MetadataPage, StoreError> {
        self.step(self.store.listing(generation, request)).await
    }

    async fn nearest(&self, generation: &Generation, query: NearestQuery) -> Result<Vec<Hit>, StoreError> {
        self.step(self.store.nearest(generation, query)).await
    }

    async fn nearest_groups(
        &self,
        generation: &Generation,
        query: NearestQuery,
        grouping: descry_store::Grouping,
    ) -> Result<Vec<descry_store::GroupHit>, StoreError> {
        self.step(self.store.nearest_groups(generation, query, grouping)).await
    }

    async fn documents(&self, generation: &Generation) -> Result<BTreeMap<String, String>, StoreError> {
        self.step(self.store.documents(generation)).await
    }

    async fn put_document(&self, generation: &Generation, key: &str, text: Option<String>) -> Result<(), StoreError> {
        self.step(self.store.put_document(generation, key, text)).await
    }

    async fn replace_document(
        &self,
        generation: &Generation,
        key: &str,
        expected: Option<&str>,
        text: Option<String>,
    ) -> Result<bool, StoreError> {
        self.step(self.store.replace_document(generation, key, expected, text)).await
    }

    async fn check(&self, generation: &Generation, request: CheckRequest) -> Result<CheckPage, StoreError> {
        self.step(self.store.check(generation, request)).await
    }

    /// Two services over one store are the point here.
    fn is_shared(&self) -> bool {
        true
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.step(self.store.ready()).await
    }
}
