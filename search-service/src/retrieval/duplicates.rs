//! Images that show next to nothing that a better hit does not show.

use super::query::RankedHit;

/// Keeps, of hits by falling score, the first `wanted` that are less similar than `above` to every kept one. Hits without
/// embedding are kept.
pub(super) fn suppress(hits: Vec<RankedHit>, above: f32, wanted: usize) -> Vec<RankedHit> {
    let mut kept: Vec<RankedHit> = Vec::with_capacity(hits.len());
    for hit in hits {
        let repeats = |better: &RankedHit| {
            let (Some(a), Some(b)) = (&better.hit.embedding, &hit.hit.embedding) else { return false };
            a.cosine(b).is_some_and(|cosine| cosine >= above)
        };
        if kept.len() == wanted {
            break;
        }
        if !kept.iter().any(repeats) {
            kept.push(hit);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector_store::{Hit, ImageMetadata};
    use descry_model::Embedding;

    #[test]
    fn the_better_of_two_alike_is_kept() {
        let hit = |image_id: &str, values: &[f32]| RankedHit {
            hit: Hit {
                image_id: image_id.to_owned(),
                score: 0.0,
                metadata: ImageMetadata::default(),
                embedding: Some(Embedding::normalized(values.to_vec()).unwrap()),
            },
            contributions: Vec::new(),
            match_probability: None,
            sightings: Vec::new(),
        };
        let hits = vec![hit("a", &[1.0, 0.0]), hit("b", &[1.0, 0.01]), hit("c", &[0.0, 1.0]), hit("d", &[0.001, 1.0])];
        assert_eq!(suppress(hits.clone(), 0.99, 1).len(), 1);
        let kept = suppress(hits, 0.99, 9);
        assert_eq!(kept.iter().map(|hit| hit.hit.image_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }
}
