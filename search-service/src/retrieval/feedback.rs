//! Relevance feedback: judged hits move the query towards the accepted ones and away from the rejected ones (Rocchio,
//! 1971), and are not shown again.

use super::query::{Fusion, Part, PartKind, SearchSpec};
use crate::vector_store::SearchFilter;

/// What all accepted images count together, against the query's one.
const ACCEPTED: f32 = 0.75;

/// What all rejected images count together.
const REJECTED: f32 = 0.25;

/// The search for the rest.
pub(super) fn refined(mut search: SearchSpec, accepted: Vec<String>, rejected: Vec<String>) -> SearchSpec {
    let has_accepted_hits = !accepted.is_empty();
    // Positive weights of the query are brought to one, so that feedback counts the same however it was asked.
    let positive: f32 = search.parts.iter().map(|part| part.weight.max(0.0)).sum();
    if positive > 0.0 {
        search.parts.iter_mut().for_each(|part| part.weight /= positive);
    }
    for (image_ids, weight) in [(&accepted, ACCEPTED), (&rejected, -REJECTED)] {
        let weight = weight / image_ids.len().max(1) as f32;
        let parts = image_ids.iter().map(|id| Part { kind: PartKind::GalleryImage(id.clone()), weight });
        search.parts.extend(parts);
    }
    let judged = SearchFilter { image_ids: [accepted, rejected].concat(), ..SearchFilter::default() };
    if !judged.image_ids.is_empty() {
        search.filter = SearchFilter { all: vec![search.filter], none: vec![judged], ..SearchFilter::default() };
    }
    search.has_accepted_hits = has_accepted_hits;
    search.fusion = Fusion::Embedding;
    search
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_images_count_and_are_left_out() {
        let text = |text: &str, weight| Part { kind: PartKind::Text(text.to_owned()), weight };
        let search = SearchSpec { parts: vec![text("a", 2.0), text("b", 2.0)], ..SearchSpec::default() };
        let refined = refined(search, vec!["x".to_owned(), "y".to_owned()], vec!["z".to_owned()]);
        let weights: Vec<f32> = refined.parts.iter().map(|part| part.weight).collect();
        assert_eq!(weights, [0.5, 0.5, 0.375, 0.375, -0.25]);
        assert_eq!(refined.filter.none[0].image_ids, ["x", "y", "z"]);
    }
}
