//! Unit-length embeddings: the only form in which features leave a tower.

use crate::ModelError;

/// A feature vector of length one, comparable to others of the same [`Fingerprint`](crate::Fingerprint) by dot product.
///
/// Invariant: finite, and of Euclidean length 1 within float32 rounding. [`Embedding::normalized`] is the only
/// constructor, so the L2 normalisation of the whole system happens there and nowhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Scales raw tower features to unit length.
    ///
    /// # Shapes
    /// - `features`: `[dimension]` f32, any scale
    ///
    /// # Errors
    /// [`ModelError::UnusableFeatures`] when a value is not finite or all values are zero: such a vector has no direction.
    pub fn normalized(features: Vec<f32>) -> Result<Self, ModelError> {
        let squared: f64 = features.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        let length = squared.sqrt();
        if !length.is_finite() || length < f64::from(f32::MIN_POSITIVE) {
            return Err(ModelError::UnusableFeatures { length });
        }
        let inverse = 1.0 / length;
        Ok(Self(features.into_iter().map(|value| (f64::from(value) * inverse) as f32).collect()))
    }

    /// Number of values.
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// The values, `[dimension]` f32 of unit length.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Gives up the invariant and returns the values.
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }

    /// Cosine similarity, in -1..=1 up to rounding. Vectors of different dimension have none.
    pub fn cosine(&self, other: &Self) -> Option<f32> {
        (self.dimension() == other.dimension()).then(|| self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors_without_direction_are_refused() {
        for features in [vec![], vec![0.0; 4], vec![1.0, f32::NAN], vec![f32::INFINITY, 1.0]] {
            assert!(Embedding::normalized(features).is_err());
        }
    }

    #[test]
    fn cosine_needs_equal_dimensions() {
        let short = Embedding::normalized(vec![1.0]).unwrap();
        let long = Embedding::normalized(vec![3.0, 4.0]).unwrap();
        assert_eq!(short.cosine(&long), None);
        assert!((long.cosine(&long).unwrap() - 1.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn length_is_one(features in proptest::collection::vec(-1e18f32..1e18, 1..600)) {
            prop_assume!(features.iter().any(|value| value.abs() > 1e-30));
            let embedding = Embedding::normalized(features).unwrap();
            let length: f64 = embedding.as_slice().iter().map(|&value| f64::from(value).powi(2)).sum();
            prop_assert!((length - 1.0).abs() < 1e-5);
        }
    }
}
