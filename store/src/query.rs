//! What a store is asked for, and what it answers.

use crate::{GalleryImage, ImageMetadata, SearchAccuracy, SearchFilter};
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
    /// How thoroughly the search looks where not every image is compared.
    pub accuracy: SearchAccuracy,
    /// Whether hits bring their embeddings.
    pub with_embeddings: bool,
    /// Only images that were written in this stretch of the order of writes, in a store whose writes have numbers.
    pub written: Option<WriteRange>,
}

/// In which order images were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOrder {
    /// By numbers that rise with each image, whatever clocks do. All that have a number below `next` are seen by now.
    /// Replacing an image gives it another number, changing what is known of it does not. In a generation that is filled
    /// for a later switch an image has the number that it has in the serving one.
    Numbered {
        /// The number that the next image gets.
        next: u64,
    },
    /// By the time of indexing alone, as far as clocks agree: several writers know no common number.
    Timed,
}

/// A stretch of the numbers of writes, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRange {
    /// The first.
    pub from: u64,
    /// The first behind it.
    pub before: u64,
}

impl WriteRange {
    /// Whether a number is in it.
    #[must_use]
    pub fn contains(self, number: u64) -> bool {
        (self.from..self.before).contains(&number)
    }
}

impl NearestQuery {
    /// The nearest of all images.
    pub fn new(embedding: Embedding, fingerprint: Fingerprint, limit: usize) -> Self {
        Self {
            embedding,
            fingerprint,
            limit,
            filter: SearchFilter::default(),
            min_score: None,
            exact: false,
            accuracy: SearchAccuracy::default(),
            with_embeddings: false,
            written: None,
        }
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
