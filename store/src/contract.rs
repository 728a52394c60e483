//! The contract of a place that keeps galleries, checked by one test suite for every store.

use crate::{
    Gallery, GalleryImage, Generation, Generations, GroupHit, Grouping, Hit, ImageMetadata, ImagePage, MetadataPage,
    NearestQuery, NewGallery, PageRequest, SearchFilter, StoreError, WriteOrder, WriteRange,
};
use async_trait::async_trait;
use descry_model::{Embedding, Fingerprint};
use std::collections::{BTreeMap, HashMap};

/// A place that keeps galleries.
///
/// Promises of every implementation: what a write acknowledged survives `kill -9`; writing an image id again replaces
/// it; hits come by falling score, equal scores by rising image id; a fingerprint or dimension other than the
/// generation's is refused before anything is read or written; a [`Generation`] that is gone, and a name that no gallery
/// has, fail with [`StoreError::GalleryNotFound`], also when a gallery of the same name was made anew.
#[async_trait]
pub trait VectorStore: Send + Sync + 'static {
    /// Creates an empty gallery. Creating it again with the same fingerprint and dimension returns the active generation
    /// of the existing one, as it is.
    ///
    /// # Errors
    /// [`StoreError::GalleryExists`] when the name belongs to a gallery of another model,
    /// [`StoreError::DimensionMismatch`] when to one of the same model with another dimension.
    async fn create(&self, new: NewGallery) -> Result<Generation, StoreError>;

    /// As [`VectorStore::create`], with the usual settings.
    ///
    /// # Errors
    /// As for [`VectorStore::create`].
    async fn create_gallery(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Generation, StoreError> {
        self.create(NewGallery::new(name, fingerprint, dimension)).await
    }

    /// Adds an empty generation behind the active one, with the gallery's settings. If the last generation is behind
    /// the active one and of this model already, that one is returned: a broken-off model change goes on.
    async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Generation, StoreError>;

    /// The generation that an address stands for at this moment: `lobby` for the active one of that gallery, `lobby.2`
    /// for the one of that number.
    async fn resolve(&self, address: &str) -> Result<Generation, StoreError>;

    /// All generations of a gallery.
    async fn generations(&self, name: &str) -> Result<Generations, StoreError>;

    /// The active generations of all galleries, by name.
    async fn galleries(&self) -> Result<Vec<Generation>, StoreError>;

    /// How a generation is at present. Counts its images, which takes its time in a large one.
    async fn describe(&self, generation: &Generation) -> Result<Gallery, StoreError>;

    /// Lets a generation answer for its gallery. Atomic: a query is answered by the one or the other.
    async fn activate(&self, generation: &Generation) -> Result<(), StoreError>;

    /// Removes a generation and its images. When this fails because the disk is full, some of them may be gone.
    ///
    /// # Errors
    /// [`StoreError::ActiveGeneration`] for the one that serves.
    async fn delete_generation(&self, generation: &Generation) -> Result<(), StoreError>;

    /// Removes a gallery with all generations, images and documents. When this fails because the disk is full, some of its
    /// images may be gone.
    async fn delete_gallery(&self, name: &str) -> Result<(), StoreError>;

    /// Writes images; all are durable when this returns. Of equal ids within `images` the last one wins.
    ///
    /// # Errors
    /// [`StoreError::FingerprintMismatch`], [`StoreError::DimensionMismatch`].
    async fn upsert(
        &self,
        generation: &Generation,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), StoreError>;

    /// Replaces what is known of those images that exist, but for the hash of their file and the time of their writing,
    /// which belong to the embedding; durable when this returns. Of equal ids the last one wins.
    ///
    /// Returns how many existed.
    async fn update_metadata(
        &self,
        generation: &Generation,
        images: Vec<(String, ImageMetadata)>,
    ) -> Result<u64, StoreError>;

    /// Removes images; durable when this returns. Unknown ids are not an error.
    ///
    /// Returns how many existed.
    async fn delete_images(&self, generation: &Generation, image_ids: &[String]) -> Result<u64, StoreError>;

    /// Removes all images that meet the filter; durable when this returns.
    ///
    /// Returns how many did.
    async fn delete_matching(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError>;

    /// How many images meet the filter.
    async fn count(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError>;

    /// Metadata of those of the given images that exist, by id.
    async fn images(
        &self,
        generation: &Generation,
        image_ids: &[String],
    ) -> Result<HashMap<String, ImageMetadata>, StoreError>;

    /// Embeddings of those of the given images that exist, by id.
    async fn embeddings(
        &self,
        generation: &Generation,
        image_ids: &[String],
    ) -> Result<HashMap<String, Embedding>, StoreError>;

    /// Some of the images that meet a filter, in an order of the store's own that does not change: page after page gives
    /// each image that was there all the time exactly once.
    async fn page(&self, generation: &Generation, request: PageRequest) -> Result<ImagePage, StoreError>;

    /// As [`VectorStore::page`], without reading embeddings.
    async fn listing(&self, generation: &Generation, request: PageRequest) -> Result<MetadataPage, StoreError>;

    /// The images nearest to the query by cosine.
    ///
    /// # Errors
    /// As for [`VectorStore::upsert`].
    async fn nearest(&self, generation: &Generation, query: NearestQuery) -> Result<Vec<Hit>, StoreError>;

    /// The nearest groups of images, by falling score, equal ones by rising id of the best image. The query's limit counts
    /// groups, its least score is that of a group, and all else says which images there are before they are pooled. A store that does not
    /// find everything may miss groups, unless the query is exact.
    ///
    /// # Errors
    /// As for [`VectorStore::upsert`].
    async fn nearest_groups(
        &self,
        generation: &Generation,
        query: NearestQuery,
        grouping: Grouping,
    ) -> Result<Vec<GroupHit>, StoreError>;

    /// A small text kept under a key with a gallery, not with the generation by which it is named here. Reading one may
    /// find that of a gallery of the same name that was made anew; none is ever written there by an old handle.
    async fn document(&self, generation: &Generation, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.documents(generation).await?.remove(key))
    }

    /// All documents of a gallery by key.
    async fn documents(&self, generation: &Generation) -> Result<BTreeMap<String, String>, StoreError>;

    /// Keeps a document, or removes it; durable when this returns.
    async fn put_document(&self, generation: &Generation, key: &str, text: Option<String>) -> Result<(), StoreError>;

    /// Reads some of a generation's images closely, page after page, and tells those that cannot be read.
    ///
    /// # Errors
    /// As for [`VectorStore::page`]. A store that cannot pass over a damaged image fails on it.
    async fn check(&self, generation: &Generation, request: CheckRequest) -> Result<CheckPage, StoreError> {
        let CheckRequest { after, limit, repair: _ } = request;
        let page = self.page(generation, PageRequest { after, limit, filter: SearchFilter::default() }).await?;
        Ok(CheckPage { examined: page.images.len() as u64, damaged: Vec::new(), next: page.next })
    }

    /// As [`VectorStore::put_document`], but only where the document is as `expected`, in one step with the comparison:
    /// nothing that another instance wrote meanwhile is overwritten. Returns whether it is now as `text` says.
    async fn replace_document(
        &self,
        generation: &Generation,
        key: &str,
        expected: Option<&str>,
        text: Option<String>,
    ) -> Result<bool, StoreError>;

    /// Whether other processes may work on the same galleries.
    fn is_shared(&self) -> bool;

    /// Whether every search compares every image that it must, so that none is ever missed.
    fn finds_everything(&self) -> bool {
        true
    }

    /// Whether the store answers at all: the readiness probe.
    async fn ready(&self) -> Result<(), StoreError>;

    /// In which order images were written, and how far it has come.
    fn write_order(&self) -> WriteOrder {
        WriteOrder::Timed
    }

    /// How many images that meet the filter were written in a stretch of the order of writes. A store whose writes have no
    /// numbers counts all that meet the filter.
    async fn count_written(
        &self,
        generation: &Generation,
        filter: &SearchFilter,
        _range: WriteRange,
    ) -> Result<u64, StoreError> {
        self.count(generation, filter).await
    }

    /// Overwrites what was deleted or replaced in a gallery, as far as that is not done yet. Waits a bounded time for what keeps
    /// it from being done, and then says what still holds it. The gallery need not exist any more. When nothing is pending,
    /// no file of the store holds any byte of what was deleted before the call.
    ///
    /// # Errors
    /// As for any write; what was deleted stays deleted, and the call may be repeated.
    async fn scrub(&self, _name: &str) -> Result<Scrubbed, StoreError> {
        Ok(Scrubbed::default())
    }

    /// What is wrong with the store although it answers.
    fn condition(&self) -> StoreCondition {
        StoreCondition::default()
    }
}

/// What became of deleted data on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// In words, what still holds deleted data and when it will be gone; empty where all is overwritten.
    pub pending: Vec<String>,
}

/// What is wrong with a store that answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCondition {
    /// Whether writes are refused because there is no room on the disk.
    pub is_full: bool,
    /// Images that are known to be damaged and are passed over.
    pub damaged_images: u64,
}

/// Which images are to be read closely.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckRequest {
    /// Where the last page ended; `None` for the first.
    pub after: Option<String>,
    /// Most images of the page.
    pub limit: usize,
    /// Whether what cannot be read is removed.
    pub repair: bool,
}

/// A page of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckPage {
    /// Images that were read.
    pub examined: u64,
    /// Those that cannot be.
    pub damaged: Vec<DamagedImage>,
    /// Where to go on; `None` behind the last page.
    pub next: Option<String>,
}

/// An image that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedImage {
    /// Its id; empty where not even that can be read.
    pub image_id: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it was removed.
    pub is_removed: bool,
}
