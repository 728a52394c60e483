//! What a caller looks for, and what is found.

use crate::vector_store::{Hit, SearchFilter};
use descry_model::{Embedding, Fingerprint};

/// A search, checked by the retriever.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SearchSpec {
    pub(crate) gallery: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) fusion: Fusion,
    /// 0 for the usual number.
    pub(crate) limit: usize,
    pub(crate) offset: usize,
    pub(crate) filter: SearchFilter,
    pub(crate) min_score: Option<f32>,
    pub(crate) group_by_person: bool,
    /// Images at least this similar to a better hit are left out.
    pub(crate) suppress_duplicates_above: Option<f32>,
    pub(crate) exact: bool,
    /// Whether somebody has said of a hit that it shows the person.
    pub(crate) has_accepted_hits: bool,
}

/// One part of a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    /// Negative: unlike it.
    pub(crate) weight: f32,
}

/// What a part shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PartKind {
    /// A description of a person.
    Text(String),
    /// A whole image file of a person.
    Image(bytes::Bytes),
    /// An image of the gallery.
    GalleryImage(String),
    /// An embedding and the model that made it.
    Embedding(Embedding, Fingerprint),
}

/// How parts become one ranking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fusion {
    /// The weighted sum of the embeddings is looked for.
    #[default]
    Embedding,
    /// Each part ranks for itself; images count by their weighted reciprocal ranks.
    ReciprocalRank,
}

/// A ranked gallery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranking {
    pub(crate) hits: Vec<RankedHit>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) truncated: bool,
    /// Probability that nobody in the gallery matches, where the gallery is calibrated.
    pub(crate) not_in_gallery: Option<f32>,
}

/// A hit with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RankedHit {
    pub(crate) hit: Hit,
    /// What each part adds to the score.
    pub(crate) contributions: Vec<f32>,
    /// Probability that this is a person who matches, where the gallery is calibrated.
    pub(crate) match_probability: Option<f32>,
    /// All images of the person, where persons are ranked.
    pub(crate) sightings: Vec<Sighting>,
}

/// An image of a person who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) image_id: String,
    pub(crate) camera_id: Option<String>,
    pub(crate) captured_at_ms: Option<i64>,
}
