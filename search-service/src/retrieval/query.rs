//! What a caller may look for, and what is found.

use crate::SearchError;
use crate::config::RequestLimits;
use crate::encoder_client::Uncounted;
use crate::validation::{check_address, check_filter, check_id, invalid};
use descry_model::{Embedding, Fingerprint};
use descry_store::{GroupHit, Grouping, SearchAccuracy, SearchFilter};

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
    /// What hits stand for besides images.
    pub(crate) grouping: Option<Grouping>,
    /// Images at least this similar to a better hit are left out.
    pub(crate) suppress_duplicates_above: Option<f32>,
    pub(crate) exact: bool,
    /// Most sightings of each group; 0 for the usual number.
    pub(crate) max_sightings: usize,
    pub(crate) accuracy: SearchAccuracy,
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
    pub(crate) uncounted: Uncounted,
    /// Probability that nobody in the gallery matches, where the gallery is calibrated.
    pub(crate) not_in_gallery: Option<f32>,
}

/// A hit with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RankedHit {
    /// The image or group. Its score is the fused one where rankings are fused.
    pub(crate) found: GroupHit,
    /// Cosine of the image that stands for a group whose score is another one.
    pub(crate) image_score: Option<f32>,
    /// What each part adds to the score.
    pub(crate) contributions: Vec<f32>,
    /// Probability that this is a person who matches, where the gallery is calibrated.
    pub(crate) match_probability: Option<f32>,
    /// Images of the group, where groups are ranked: all of them, or as many as were asked for.
    pub(crate) sightings: Vec<Sighting>,
    /// How many images of the group there are, where groups are ranked.
    pub(crate) sighting_count: u64,
}

impl RankedHit {
    /// Nothing known yet but what was found and why.
    pub(crate) fn new(found: GroupHit, contributions: Vec<f32>) -> Self {
        Self {
            found,
            image_score: None,
            contributions,
            match_probability: None,
            sightings: Vec::new(),
            sighting_count: 0,
        }
    }
}

/// An image of a group that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) image_id: String,
    pub(crate) camera_id: Option<String>,
    pub(crate) track_id: Option<String>,
    pub(crate) captured_at_ms: Option<i64>,
}

const DEFAULT_HITS: usize = 10;
const DEFAULT_SIGHTINGS: usize = 100;

/// Beyond this a weight can only be a mistake.
const MAX_WEIGHT: f32 = 100.0;

impl SearchSpec {
    /// Refuses what is out of bounds, by name, and fills in the usual number of hits.
    pub(crate) fn check(&mut self, limits: &RequestLimits) -> Result<(), SearchError> {
        check_address(&self.gallery)?;
        check_filter(&self.filter, limits)?;
        if self.limit == 0 {
            self.limit = DEFAULT_HITS.min(limits.max_hits);
        }
        let last = self.limit.saturating_add(self.offset);
        if last > limits.max_hits {
            let reason = format!("hits up to number {last}, at most {} can be reached", limits.max_hits);
            return Err(invalid("limit", reason));
        }
        if self.max_sightings == 0 {
            self.max_sightings = DEFAULT_SIGHTINGS.min(limits.max_sightings);
        }
        if self.max_sightings > limits.max_sightings {
            let reason = format!("{}, at most {} are allowed", self.max_sightings, limits.max_sightings);
            return Err(invalid("max_sightings", reason));
        }
        let count = self.parts.len();
        if count == 0 || count > limits.max_query_parts {
            let reason = format!("{count} parts, 1 to {} are allowed", limits.max_query_parts);
            return Err(invalid("query.parts", reason));
        }
        for (index, part) in self.parts.iter().enumerate() {
            check_part(part, limits, |name| field_of(index, count, name))?;
        }
        let scores = [("min_score", self.min_score), ("suppress_duplicates_above", self.suppress_duplicates_above)];
        for (field, score) in scores {
            if score.is_some_and(|score| !(-1.0..=1.0).contains(&score)) {
                return Err(invalid(field, "must be within -1 and 1"));
            }
        }
        Ok(())
    }
}

fn check_part(part: &Part, limits: &RequestLimits, field: impl Fn(&str) -> String) -> Result<(), SearchError> {
    if !part.weight.is_finite() || part.weight.abs() > MAX_WEIGHT {
        return Err(invalid(field("weight"), format!("must be within -{MAX_WEIGHT} and {MAX_WEIGHT}")));
    }
    let bounded = |name: &str, bytes: usize, max: usize| {
        if bytes <= max {
            return Ok(());
        }
        Err(invalid(field(name), format!("{bytes} bytes, at most {max} are allowed")))
    };
    match &part.kind {
        PartKind::Text(text) => bounded("text", text.len(), limits.max_text_bytes),
        PartKind::Image(image) => bounded("image", image.len(), limits.max_image_bytes),
        PartKind::GalleryImage(image_id) => check_id(&field("image_id"), image_id, limits),
        PartKind::Embedding(..) => Ok(()),
    }
}

/// What the caller knows a part by: a lone part may have come as the request's own `text` or `image`.
pub(super) fn field_of(index: usize, count: usize, name: &str) -> String {
    if count == 1 { format!("query.{name}") } else { format!("query.parts[{index}].{name}") }
}
