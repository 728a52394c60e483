//! What a search may look like. Checked before anything reaches an encoder or the store.

use super::query::{Part, PartKind, SearchSpec};
use crate::SearchError;
use crate::config::RequestLimits;
use crate::validation::{check_address, check_filter, check_id, invalid};

const DEFAULT_HITS: usize = 10;

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
