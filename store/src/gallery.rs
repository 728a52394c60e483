//! What a gallery is when it is made, and how it is at present.

use crate::{Generation, SearchAccuracy, StoreError};
use descry_model::Fingerprint;
use serde::{Deserialize, Serialize};

/// A generation of a gallery as it is at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gallery {
    /// Which one, and what never changes of it.
    pub generation: Generation,
    /// Number of images.
    pub images: u64,
    /// How it is searched at present.
    pub index: IndexState,
    /// Bytes in the memory of the store, about.
    pub bytes: u64,
}

/// How a gallery is searched at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// Every image is compared.
    Exact,
    /// Through an index that is complete.
    Ready,
    /// Through an index that is being built; what it lacks is compared one by one.
    Building,
    /// The store reports trouble with the index.
    Failed,
}

/// What a new gallery is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGallery {
    /// Its name.
    pub name: String,
    /// The model that will fill it.
    pub fingerprint: Fingerprint,
    /// Length of its embeddings.
    pub dimension: usize,
    /// What cannot be changed later.
    pub settings: GallerySettings,
}

impl NewGallery {
    /// With the usual settings.
    pub fn new(name: &str, fingerprint: &Fingerprint, dimension: usize) -> Self {
        let settings = GallerySettings::default();
        Self { name: name.to_owned(), fingerprint: fingerprint.clone(), dimension, settings }
    }
}

/// What is decided when a gallery is created. Stored as JSON with the gallery; unset fields are the store's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GallerySettings {
    /// Attributes that filters may name.
    pub indexed_attributes: Vec<String>,
    /// What only a Qdrant server understands; the embedded store keeps it for a later copy.
    pub qdrant: QdrantGallerySettings,
    /// Whether images are turned upright as their EXIF data says before they are embedded. Not written where it is off, so
    /// that earlier releases read what this one wrote.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub apply_exif_orientation: bool,
}

/// How Qdrant keeps a gallery; unset fields are the server's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QdrantGallerySettings {
    /// Parts that the collection is cut into.
    pub shard_number: Option<u32>,
    /// Copies of each part.
    pub replication_factor: Option<u32>,
    /// Copies that must have a write before it is acknowledged.
    pub write_consistency_factor: Option<u32>,
    /// Whether the float32 vectors stay on disk, memory-mapped.
    pub on_disk_vectors: Option<bool>,
    /// Links of a node of the index.
    pub hnsw_m: Option<u64>,
    /// Neighbours considered while the index is built.
    pub hnsw_ef_construct: Option<u64>,
    /// Compressed vectors beside the whole ones, always in memory; hits are rescored with the whole ones.
    pub quantization: Option<Quantization>,
    /// How thoroughly searches look that do not say it themselves. Not written where nothing is set, so that earlier releases
    /// read what this one wrote.
    #[serde(skip_serializing_if = "SearchAccuracy::is_usual")]
    pub accuracy: SearchAccuracy,
}

/// How Qdrant compresses vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// Eight bits a value.
    Int8,
    /// One bit a value, for large dimensions.
    Binary,
}

/// The longest embedding that a gallery takes: what Qdrant allows, far above any tower.
pub(crate) const MAX_DIMENSION: usize = 65_536;

/// Refuses dimensions that no model has.
pub(crate) fn check_dimension(dimension: usize) -> Result<(), StoreError> {
    if (1..=MAX_DIMENSION).contains(&dimension) {
        return Ok(());
    }
    let reason = format!("must be between 1 and {MAX_DIMENSION}, got {dimension}");
    Err(StoreError::Invalid { field: "dimension".to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_releases_read_settings_that_ask_for_nothing_new() {
        let json = |apply_exif_orientation| {
            let settings = GallerySettings { apply_exif_orientation, ..GallerySettings::default() };
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<GallerySettings>(&json).unwrap(), settings);
            json
        };
        assert!(!json(false).contains("exif"), "a field that they do not know would end their start");
        assert!(json(true).contains("exif"));
        let mut settings = GallerySettings::default();
        assert!(!serde_json::to_string(&settings).unwrap().contains("accuracy"));
        settings.qdrant.accuracy.hnsw_ef = Some(300);
        let json = serde_json::to_string(&settings).unwrap();
        assert!(json.contains(r#""accuracy":{"hnsw_ef":300}"#), "{json}");
        assert_eq!(serde_json::from_str::<GallerySettings>(&json).unwrap(), settings);
    }
}
