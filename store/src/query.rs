//! What a store is asked for, and what it answers.

use crate::{GalleryImage, ImageMetadata, SearchFilter};
use descry_model::{Embedding, Fingerprint};

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
    /// No hit below this cosine.
    pub min_score: Option<f32>,
    /// Whether every image must be compared, whatever it takes.
    pub exact: bool,
    /// Whether hits bring their embeddings.
    pub with_embeddings: bool,
}

impl NearestQuery {
    /// The nearest of all images.
    pub fn new(embedding: Embedding, fingerprint: Fingerprint, limit: usize) -> Self {
        let filter = SearchFilter::default();
        Self { embedding, fingerprint, limit, filter, min_score: None, exact: false, with_embeddings: false }
    }
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
    /// Its embedding, where the query asked for it.
    pub embedding: Option<Embedding>,
}

/// Some images of a gallery, one page after another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Which images count.
    pub filter: SearchFilter,
    /// Where the last page ended; `None` for the first.
    pub after: Option<String>,
    /// Most images of the page.
    pub limit: usize,
}

/// A page of images without their embeddings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataPage {
    /// Ids, and what is known.
    pub images: Vec<(String, ImageMetadata)>,
    /// Where to go on; `None` behind the last page.
    pub next: Option<String>,
}

/// A page of images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImagePage {
    /// The images.
    pub images: Vec<GalleryImage>,
    /// Where to go on; `None` behind the last page.
    pub next: Option<String>,
}
