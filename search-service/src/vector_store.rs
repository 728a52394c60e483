//! What the service needs from a place that keeps galleries. One contract, checked by one test suite for every store.

pub mod embedded;
mod filter;
mod gallery;
mod image;
pub mod qdrant;
mod query;

pub use filter::{AttributeCondition, SearchFilter};
pub use gallery::{
    Gallery, GalleryAddress, GallerySettings, IndexState, NewGallery, QdrantGallerySettings, Quantization,
};
pub use image::{GalleryImage, ImageMetadata};
pub use query::{Hit, ImagePage, MetadataPage, NearestQuery, PageRequest};

pub(crate) use gallery::check_dimension;

use crate::SearchError;
use async_trait::async_trait;
use descry_model::{Embedding, Fingerprint};
use std::collections::{BTreeMap, HashMap};

/// A place that keeps galleries.
///
/// A gallery has **generations**, each of one model. One of them is active: it answers what names the gallery alone.
/// `name` may also be an address such as `lobby.2`, the second generation of `lobby`; a later generation is filled
/// while an earlier one serves, and switched to at once. Every call works on one generation from its beginning to its
/// end, whatever is switched meanwhile.
///
/// Promises of every implementation: what a write acknowledged survives `kill -9`; writing an image id again replaces
/// it; hits come by falling score, equal scores by rising image id; a fingerprint or dimension other than the
/// generation's is refused before anything is read or written; every method that names an unknown gallery or generation
/// fails with [`SearchError::GalleryNotFound`].
#[async_trait]
pub trait VectorStore: Send + Sync + 'static {
    /// Creates an empty gallery. Creating it again with the same fingerprint and dimension returns the existing one, as
    /// it is.
    ///
    /// # Errors
    /// [`SearchError::GalleryExists`] when the name belongs to a gallery of another model,
    /// [`SearchError::DimensionMismatch`] when to one of the same model with another dimension.
    async fn create(&self, new: NewGallery) -> Result<Gallery, SearchError>;

    /// As [`VectorStore::create`], with the usual settings.
    ///
    /// # Errors
    /// As for [`VectorStore::create`].
    async fn create_gallery(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, SearchError> {
        self.create(NewGallery::new(name, fingerprint, dimension)).await
    }

    /// Adds an empty generation behind the active one, with the gallery's settings. If the last generation is behind
    /// the active one and of this model already, that one is returned: a broken-off model change goes on.
    async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, SearchError>;

    /// All generations of a gallery by rising number.
    async fn generations(&self, name: &str) -> Result<Vec<Gallery>, SearchError>;

    /// As [`VectorStore::generations`] without counting: `images` and `bytes` are not filled in.
    async fn generation_identities(&self, name: &str) -> Result<Vec<Gallery>, SearchError> {
        self.generations(name).await
    }

    /// Lets another generation answer for the gallery. Atomic: a query is answered by the one or the other.
    async fn activate(&self, name: &str, generation: u32) -> Result<(), SearchError>;

    /// Removes a generation and its images.
    ///
    /// # Errors
    /// [`SearchError::ActiveGeneration`] for the one that serves.
    async fn delete_generation(&self, name: &str, generation: u32) -> Result<(), SearchError>;

    /// A gallery's active generation, or the one addressed, with its current number of images.
    async fn gallery(&self, name: &str) -> Result<Gallery, SearchError>;

    /// As [`VectorStore::gallery`] without counting: `images` and `bytes` are not filled in.
    async fn identity(&self, name: &str) -> Result<Gallery, SearchError> {
        self.gallery(name).await
    }

    /// The active generations of all galleries, by name.
    async fn list_galleries(&self) -> Result<Vec<Gallery>, SearchError>;

    /// Removes a gallery with all generations, images and documents.
    async fn delete_gallery(&self, name: &str) -> Result<(), SearchError>;

    /// Writes images; all are durable when this returns. Of equal ids within `images` the last one wins.
    ///
    /// # Errors
    /// [`SearchError::FingerprintMismatch`], [`SearchError::DimensionMismatch`].
    async fn upsert(&self, name: &str, fingerprint: &Fingerprint, images: Vec<GalleryImage>)
    -> Result<(), SearchError>;

    /// Replaces what is known of those images that exist, but for the hash of their file and the time of their writing,
    /// which belong to the embedding; durable when this returns. Of equal ids the last one wins.
    ///
    /// Returns how many existed.
    async fn update_metadata(&self, name: &str, images: Vec<(String, ImageMetadata)>) -> Result<u64, SearchError>;

    /// Removes images; durable when this returns. Unknown ids are not an error.
    ///
    /// Returns how many existed.
    async fn delete_images(&self, name: &str, image_ids: &[String]) -> Result<u64, SearchError>;

    /// Removes all images that meet the filter; durable when this returns.
    ///
    /// Returns how many did.
    async fn delete_matching(&self, name: &str, filter: &SearchFilter) -> Result<u64, SearchError>;

    /// How many images meet the filter.
    async fn count(&self, name: &str, filter: &SearchFilter) -> Result<u64, SearchError>;

    /// Metadata of those of the given images that exist, by id.
    async fn images(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, ImageMetadata>, SearchError>;

    /// Embeddings of those of the given images that exist, by id.
    async fn embeddings(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, Embedding>, SearchError>;

    /// Some of the images that meet a filter, in an order of the store's own that does not change: page after page gives
    /// each image that was there all the time exactly once.
    async fn page(&self, name: &str, request: PageRequest) -> Result<ImagePage, SearchError>;

    /// As [`VectorStore::page`], without reading embeddings.
    async fn listing(&self, name: &str, request: PageRequest) -> Result<MetadataPage, SearchError>;

    /// The images nearest to the query by cosine.
    ///
    /// # Errors
    /// As for [`VectorStore::upsert`].
    async fn nearest(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError>;

    /// The nearest image of each person, for the persons whose nearest images are nearest. Images without person are
    /// left out.
    ///
    /// # Errors
    /// As for [`VectorStore::upsert`].
    async fn nearest_persons(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError>;

    /// A small text kept with a gallery (not with a generation) under a key.
    async fn document(&self, name: &str, key: &str) -> Result<Option<String>, SearchError> {
        Ok(self.documents(name).await?.remove(key))
    }

    /// All documents of a gallery by key.
    async fn documents(&self, name: &str) -> Result<BTreeMap<String, String>, SearchError>;

    /// Keeps a document, or removes it; durable when this returns.
    async fn put_document(&self, name: &str, key: &str, text: Option<String>) -> Result<(), SearchError>;

    /// Whether the store answers at all: the readiness probe.
    async fn ready(&self) -> Result<(), SearchError>;
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
