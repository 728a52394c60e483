//! What the service needs from a place that keeps galleries. One contract, checked by one test suite for every store.

pub mod embedded;
pub mod qdrant;

use crate::SearchError;
use async_trait::async_trait;
use descry_model::{Embedding, Fingerprint};
use std::collections::{BTreeMap, HashMap};

/// A named set of person images whose embeddings come from one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gallery {
    /// Unique name, `[a-z0-9][a-z0-9_-]{0,62}` (checked before it reaches a store).
    pub name: String,
    /// The model that filled it; writes and queries of another model are refused.
    pub fingerprint: Fingerprint,
    /// Length of its embeddings.
    pub dimension: usize,
    /// Number of images.
    pub images: u64,
    /// Creation time in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
}

impl Gallery {
    /// Refuses embeddings that may not be compared with those of this gallery.
    ///
    /// # Errors
    /// [`SearchError::FingerprintMismatch`] or [`SearchError::DimensionMismatch`], naming both sides.
    pub fn require_model(&self, fingerprint: &Fingerprint, dimension: usize) -> Result<(), SearchError> {
        if *fingerprint != self.fingerprint {
            return Err(SearchError::FingerprintMismatch {
                name: self.name.clone(),
                gallery: self.fingerprint.clone(),
                given: fingerprint.clone(),
            });
        }
        if dimension != self.dimension {
            return Err(SearchError::DimensionMismatch {
                name: self.name.clone(),
                gallery: self.dimension,
                given: dimension,
            });
        }
        Ok(())
    }

    /// Refuses a write of which any image is of another model: nothing is written then.
    pub(crate) fn require_model_of_images(
        &self,
        fingerprint: &Fingerprint,
        images: &[GalleryImage],
    ) -> Result<(), SearchError> {
        self.require_model(fingerprint, self.dimension)?;
        images.iter().try_for_each(|image| self.require_model(fingerprint, image.embedding.dimension()))
    }

    /// What creating an existing gallery once more comes to: itself, if it is of the same model.
    pub(crate) fn created_again(self, fingerprint: &Fingerprint, dimension: usize) -> Result<Self, SearchError> {
        if *fingerprint != self.fingerprint {
            return Err(SearchError::GalleryExists { name: self.name, fingerprint: self.fingerprint });
        }
        self.require_model(fingerprint, dimension)?;
        Ok(self)
    }
}

/// What is known of an image besides its embedding. Everything but the hash is optional and searchable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageMetadata {
    /// Identity, where known.
    pub person_id: Option<String>,
    /// The camera that took it.
    pub camera_id: Option<String>,
    /// Capture time in milliseconds since the Unix epoch. Qdrant compares times exactly up to 2^53 either way; its
    /// store refuses images beyond.
    pub captured_at_ms: Option<i64>,
    /// Free-form attributes, returned with each hit.
    pub attributes: BTreeMap<String, String>,
    /// SHA-256 of the image file: an unchanged image need not be encoded again.
    pub content_sha256: String,
}

/// One image of a gallery, as written.
#[derive(Debug, Clone, PartialEq)]
pub struct GalleryImage {
    /// Unique within its gallery; writing it again replaces it.
    pub image_id: String,
    /// Of the gallery's model and dimension.
    pub embedding: Embedding,
    /// What else is known.
    pub metadata: ImageMetadata,
}

/// Conditions that all hold for every hit. An empty list or `None` does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchFilter {
    /// Any of these identities.
    pub person_ids: Vec<String>,
    /// Any of these cameras.
    pub camera_ids: Vec<String>,
    /// Captured at or after this time (milliseconds since the Unix epoch). Images without a time never match.
    pub captured_from_ms: Option<i64>,
    /// Captured before this time. Images without a time never match.
    pub captured_before_ms: Option<i64>,
}

/// A nearest-neighbour query.
#[derive(Debug, Clone, PartialEq)]
pub struct NearestQuery {
    /// What to look for.
    pub embedding: Embedding,
    /// The model that made it.
    pub fingerprint: Fingerprint,
    /// At most this many hits.
    pub limit: usize,
    /// Which images count.
    pub filter: SearchFilter,
}

/// A found image.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id within the gallery.
    pub image_id: String,
    /// Cosine similarity to the query, -1..=1.
    pub score: f32,
    /// What is known of it.
    pub metadata: ImageMetadata,
}

/// A place that keeps galleries.
///
/// Promises of every implementation: what a write acknowledged survives `kill -9`; writing an image id again replaces
/// it; hits come by falling score, equal scores by rising image id; a fingerprint or dimension other than the gallery's
/// is refused before anything is read or written.
#[async_trait]
pub trait VectorStore: Send + Sync + 'static {
    /// Creates an empty gallery. Creating it again with the same fingerprint and dimension returns the existing one.
    ///
    /// # Errors
    /// [`SearchError::GalleryExists`] when the name belongs to a gallery of another model,
    /// [`SearchError::DimensionMismatch`] when to one of the same model with another dimension.
    async fn create_gallery(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, SearchError>;

    /// One gallery, with its current number of images.
    ///
    /// # Errors
    /// [`SearchError::GalleryNotFound`].
    async fn gallery(&self, name: &str) -> Result<Gallery, SearchError>;

    /// All galleries by name.
    async fn list_galleries(&self) -> Result<Vec<Gallery>, SearchError>;

    /// Removes a gallery and its images.
    ///
    /// # Errors
    /// [`SearchError::GalleryNotFound`].
    async fn delete_gallery(&self, name: &str) -> Result<(), SearchError>;

    /// Writes images; all are durable when this returns. Of equal ids within `images` the last one wins.
    ///
    /// # Errors
    /// [`SearchError::FingerprintMismatch`], [`SearchError::DimensionMismatch`], [`SearchError::GalleryNotFound`].
    async fn upsert(&self, name: &str, fingerprint: &Fingerprint, images: Vec<GalleryImage>)
    -> Result<(), SearchError>;

    /// Removes images; durable when this returns. Unknown ids are not an error.
    ///
    /// Returns how many existed.
    async fn delete_images(&self, name: &str, image_ids: &[String]) -> Result<u64, SearchError>;

    /// Metadata of those of the given images that exist, by id.
    async fn images(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, ImageMetadata>, SearchError>;

    /// The images nearest to the query by cosine.
    ///
    /// # Errors
    /// As for [`VectorStore::upsert`].
    async fn nearest(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError>;

    /// Whether the store answers at all: the readiness probe.
    async fn ready(&self) -> Result<(), SearchError>;
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// The longest embedding that a gallery takes: what Qdrant allows, far above any tower.
pub(crate) const MAX_DIMENSION: usize = 65_536;

/// Refuses dimensions that no model has.
pub(crate) fn check_dimension(dimension: usize) -> Result<(), SearchError> {
    if (1..=MAX_DIMENSION).contains(&dimension) {
        return Ok(());
    }
    let reason = format!("must be between 1 and {MAX_DIMENSION}, got {dimension}");
    Err(SearchError::Invalid { field: "dimension".to_owned(), reason })
}
