//! How thoroughly an approximate search looks.

use crate::StoreError;
use serde::{Deserialize, Serialize};

/// How thoroughly an approximate search looks; what is not set is the gallery's, and then the store's. A store that compares
/// every image does not need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchAccuracy {
    /// Images that a walk through the graph keeps in view, Qdrant's `hnsw_ef`. More find more and take longer, about in
    /// proportion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hnsw_ef: Option<u32>,
    /// Candidates from compressed embeddings for each hit, among which whole ones decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oversampling: Option<f32>,
    /// Whether whole embeddings decide among the candidates from compressed ones. Without, scores are approximate too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescore: Option<bool>,
}

/// Oversampling is checked to be a number before it comes here.
impl Eq for SearchAccuracy {}

impl SearchAccuracy {
    /// The most images in view: beyond, comparing every image is no dearer for galleries that a server holds in memory.
    pub const MAX_HNSW_EF: u32 = 4_096;

    /// The most candidates for each hit.
    pub const MAX_OVERSAMPLING: f32 = 64.0;

    /// Refuses what no search should cost, or what no server takes.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] naming the setting below `field`.
    pub fn check(&self, field: &str) -> Result<(), StoreError> {
        let invalid =
            |name: &str, reason: String| Err(StoreError::Invalid { field: format!("{field}.{name}"), reason });
        if let Some(hnsw_ef) = self.hnsw_ef.filter(|hnsw_ef| !(1..=Self::MAX_HNSW_EF).contains(hnsw_ef)) {
            return invalid("hnsw_ef", format!("{hnsw_ef}; 1 to {} are allowed", Self::MAX_HNSW_EF));
        }
        if let Some(factor) = self.oversampling.filter(|factor| !(1.0..=Self::MAX_OVERSAMPLING).contains(factor)) {
            return invalid("oversampling", format!("{factor}; 1 to {} are allowed", Self::MAX_OVERSAMPLING));
        }
        Ok(())
    }

    /// These settings, and where they say nothing, others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            hnsw_ef: self.hnsw_ef.or(others.hnsw_ef),
            oversampling: self.oversampling.or(others.oversampling),
            rescore: self.rescore.or(others.rescore),
        }
    }

    /// Whether nothing is set.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named() {
        let check = |accuracy: SearchAccuracy| accuracy.check("accuracy").map_err(|error| error.to_string());
        let of_ef = |hnsw_ef| check(SearchAccuracy { hnsw_ef: Some(hnsw_ef), ..SearchAccuracy::default() });
        let of_factor = |factor| check(SearchAccuracy { oversampling: Some(factor), ..SearchAccuracy::default() });
        assert!(of_ef(1).is_ok() && of_ef(4_096).is_ok() && of_factor(1.0).is_ok() && of_factor(64.0).is_ok());
        for refused in [of_ef(0), of_ef(4_097)] {
            assert!(refused.unwrap_err().starts_with("accuracy.hnsw_ef: "));
        }
        for refused in [of_factor(0.5), of_factor(65.0), of_factor(f32::NAN), of_factor(f32::INFINITY)] {
            assert!(refused.unwrap_err().starts_with("accuracy.oversampling: "));
        }
    }

    #[test]
    fn what_is_said_wins() {
        let said = SearchAccuracy { hnsw_ef: Some(7), ..SearchAccuracy::default() };
        let others = SearchAccuracy { hnsw_ef: Some(9), oversampling: Some(2.0), rescore: Some(false) };
        assert_eq!(said.or(others), SearchAccuracy { hnsw_ef: Some(7), ..others });
        assert!(SearchAccuracy::default().is_usual() && !said.is_usual());
    }
}
