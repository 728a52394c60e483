//! Several embeddings become one to look for, and a hit tells what each of them adds.

use crate::SearchError;
use crate::validation::invalid;
use descry_model::Embedding;

/// The parts of a query as embeddings of one model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WeightedParts {
    parts: Vec<(Embedding, f32)>,
    /// The direction of the weighted sum.
    sum: Embedding,
    /// Length of the weighted sum.
    length: f32,
}

/// Below this length of the sum, for weights of about one, its direction is noise.
const LEAST_LENGTH: f64 = 1e-3;

impl WeightedParts {
    /// # Errors
    /// [`SearchError::Invalid`] when no weight is positive, or the parts cancel each other out.
    pub(super) fn new(parts: Vec<(Embedding, f32)>) -> Result<Self, SearchError> {
        if !parts.iter().any(|(_, weight)| *weight > 0.0) {
            return Err(invalid("query.parts", "at least one part needs a positive weight"));
        }
        let dimension = parts.iter().map(|(embedding, _)| embedding.dimension()).max().unwrap_or_default();
        let mut sum = vec![0.0_f64; dimension];
        for (embedding, weight) in &parts {
            for (sum, value) in sum.iter_mut().zip(embedding.as_slice()) {
                *sum += f64::from(*weight) * f64::from(*value);
            }
        }
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        let largest = parts.iter().fold(0.0_f64, |largest, (_, weight)| largest.max(f64::from(weight.abs())));
        let cancelled = || invalid("query.parts", "the parts cancel each other out; lower the negative weights");
        if length < LEAST_LENGTH * largest {
            return Err(cancelled());
        }
        let direction = sum.iter().map(|value| (value / length) as f32).collect();
        let sum = Embedding::normalized(direction).map_err(|_| cancelled())?;
        Ok(Self { parts, sum, length: length as f32 })
    }

    /// What is looked for.
    pub(super) fn sum(&self) -> &Embedding {
        &self.sum
    }

    pub(super) fn parts(&self) -> &[(Embedding, f32)] {
        &self.parts
    }

    /// What each part adds to the cosine of an image to the sum. Adds up to that cosine.
    pub(super) fn contributions(&self, image: &Embedding) -> Vec<f32> {
        let contribution =
            |(part, weight): &(Embedding, f32)| weight * part.cosine(image).unwrap_or_default() / self.length;
        self.parts.iter().map(contribution).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(values: &[f32]) -> Embedding {
        Embedding::normalized(values.to_vec()).unwrap()
    }

    #[test]
    fn what_leaves_nothing_to_look_for_is_refused() {
        let refused = |parts: &[(&[f32], f32)]| {
            let parts = parts.iter().map(|(values, weight)| (unit(values), *weight)).collect();
            WeightedParts::new(parts).unwrap_err().to_string()
        };
        assert!(refused(&[(&[1.0, 0.0], -1.0)]).contains("positive weight"));
        assert!(refused(&[(&[1.0, 0.0], 0.0)]).contains("positive weight"));
        assert!(refused(&[(&[1.0, 0.0], 1.0), (&[2.0, 0.0], -1.0)]).contains("cancel"));
    }

    #[test]
    fn a_negative_part_turns_the_query_away() {
        let parts = WeightedParts::new(vec![(unit(&[1.0, 0.2]), 1.0), (unit(&[0.0, 1.0]), -0.5)]).unwrap();
        assert!(parts.sum().as_slice()[1] < 0.0);
    }

    proptest! {
        #[test]
        fn contributions_add_up_to_the_score(
            values in proptest::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0, -1.0_f32..1.0, -0.5_f32..1.0), 1..6),
            image in (-1.0_f32..1.0, -1.0_f32..1.0, 0.1_f32..1.0),
        ) {
            let parts = values.iter().filter_map(|&(a, b, c, weight)| {
                Some((Embedding::normalized(vec![a, b, c]).ok()?, weight))
            });
            let Ok(parts) = WeightedParts::new(parts.collect()) else { return Ok(()) };
            let image = unit(&[image.0, image.1, image.2]);
            let sum: f32 = parts.contributions(&image).iter().sum();
            let score = parts.sum().cosine(&image).unwrap();
            prop_assert!((sum - score).abs() < 1e-3 * (1.0 + 1.0 / parts.length), "{} {}", sum, score);
        }
    }
}
