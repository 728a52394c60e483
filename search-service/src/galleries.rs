//! The galleries, and every change of them.
//!
//! Whatever writes, deletes or switches goes through [`Galleries`], because only together can they promise that a model
//! change loses no acknowledged image and brings no deleted one back:
//!
//! - Writes of one gallery go on side by side; what concerns several generations at once (deleting from all of them,
//!   looking at two of them, switching) waits for its turn and then has the gallery alone (`turns`).
//! - A write goes to the active generation and to those that are filled for a later switch. What one of these did not
//!   get is noted before the write is acknowledged (`writes`).
//! - What is known of an image is read, changed and written again by one caller at a time (`metadata`, `rewriting`).
//! - What was erased is refused, whoever writes it (`erasing`).
//! - A switch asks for a comparison that found nothing missing and for no such note since (`model_change`).
//! - Nothing under a hold is removed or changed away, but by a repair: an image that cannot be read is of no use to anybody
//!   (`holding`).
//!
//! Other instances of the service have turns of their own. What crosses between them is ordered by notes in the store:
//! each side first writes its note and then looks for the other's.

mod comparison;
mod erasing;
mod holding;
mod metadata;
mod model_change;
mod rewriting;
mod turns;
mod writes;

pub(crate) use comparison::CompareRequest;
pub(crate) use erasing::erased_error;
pub(crate) use holding::Released;
pub(crate) use model_change::Activation;
pub(crate) use writes::{Acknowledgement, ImageWrite, Indexed, Removal, Removed, Role, Target};

use crate::SearchError;
use crate::config::RequestLimits;
use crate::erasure::MarkStore;
use descry_model::Fingerprint;
use descry_store::{CheckPage, CheckRequest, GalleryAddress, Generation, NewGallery, StoreError, VectorStore};
use rewriting::Rewriting;
use std::sync::Arc;
use turns::Turns;

/// The galleries of one store. Clones share their turns.
#[derive(Clone)]
pub(crate) struct Galleries {
    store: Arc<dyn VectorStore>,
    turns: Arc<Turns>,
    rewriting: Arc<Rewriting>,
    marks: Arc<MarkStore>,
    limits: RequestLimits,
}

impl Galleries {
    /// `marks`: of what was erased, in the same store.
    pub(crate) fn new(store: Arc<dyn VectorStore>, limits: RequestLimits, marks: MarkStore) -> Self {
        Self { store, turns: Arc::default(), rewriting: Arc::default(), marks: Arc::new(marks), limits }
    }

    /// For reading. Who writes past this type breaks its promises.
    pub(crate) fn store(&self) -> &dyn VectorStore {
        &*self.store
    }

    pub(crate) async fn create(&self, new: NewGallery) -> Result<Generation, SearchError> {
        let _turn = self.turns.alone(&new.name).await;
        Ok(self.store.create(new).await?)
    }

    /// Begins a model change, or goes on with one that was begun.
    pub(crate) async fn create_generation(
        &self,
        gallery: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Generation, SearchError> {
        let _turn = self.turns.alone(gallery).await;
        Ok(self.store.create_generation(gallery, fingerprint, dimension).await?)
    }

    pub(crate) async fn delete_generation(&self, gallery: &str, number: u32) -> Result<(), SearchError> {
        let _turn = self.turns.alone(gallery).await;
        let generations = self.store.generations(gallery).await?;
        let generation = generations.find(number).ok_or_else(|| no_generation(gallery, number))?;
        self.noted(&generations.active, async {
            if number != generations.active.number {
                self.require_held_elsewhere(generation, &generations.active).await?;
            }
            self.store.delete_generation(generation).await?;
            self.forget_comparison(&generations.active, number).await
        })
        .await
    }

    /// Reads images closely, and removes those that cannot be read where it is asked to, held or not. Only from the
    /// generation that is named: another one may still have them whole.
    pub(crate) async fn check(&self, address: &str, request: CheckRequest) -> Result<CheckPage, SearchError> {
        let _turn = match request.repair {
            true => Some(self.turns.alone(GalleryAddress::parse(address).name).await),
            false => None,
        };
        let generation = self.store.resolve(address).await?;
        Ok(self.store.check(&generation, request).await?)
    }

    pub(crate) async fn delete(&self, gallery: &str) -> Result<(), SearchError> {
        let _turn = self.turns.alone(gallery).await;
        let generations = self.store.generations(gallery).await?;
        self.noted(&generations.active, async {
            self.require_unheld(&generations).await?;
            Ok(self.store.delete_gallery(gallery).await?)
        })
        .await?;
        self.marks.forget(gallery);
        Ok(())
    }
}

fn no_generation(gallery: &str, number: u32) -> StoreError {
    let address = GalleryAddress { name: gallery, generation: Some(number) }.to_string();
    StoreError::GalleryNotFound { address }
}
