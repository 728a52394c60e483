//! A gallery and its generations, as every store describes them.

use super::GalleryImage;
use crate::SearchError;
use descry_model::Fingerprint;
use serde::{Deserialize, Serialize};

/// A named set of person images whose embeddings come from one model: one generation of a gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gallery {
    /// Unique name, `[a-z0-9][a-z0-9_-]{0,62}` (checked before it reaches a store).
    pub name: String,
    /// Which generation of the gallery this is, from 1.
    pub generation: u32,
    /// The model that filled it; writes and queries of another model are refused.
    pub fingerprint: Fingerprint,
    /// Length of its embeddings.
    pub dimension: usize,
    /// Number of images.
    pub images: u64,
    /// Creation time in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// As given at its creation.
    pub settings: GallerySettings,
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

impl Gallery {
    /// How this generation is addressed.
    pub fn address(&self) -> String {
        GalleryAddress { name: &self.name, generation: Some(self.generation) }.to_string()
    }

    /// Refuses embeddings that may not be compared with those of this gallery.
    ///
    /// # Errors
    /// [`SearchError::FingerprintMismatch`] or [`SearchError::DimensionMismatch`], naming both sides.
    pub fn require_model(&self, fingerprint: &Fingerprint, dimension: usize) -> Result<(), SearchError> {
        if *fingerprint != self.fingerprint {
            return Err(SearchError::FingerprintMismatch {
                name: self.name.clone(),
                gallery: self.fingerprint.clone(),
                given: fingerprint.clone(),
            });
        }
        if dimension != self.dimension {
            return Err(SearchError::DimensionMismatch {
                name: self.name.clone(),
                gallery: self.dimension,
                given: dimension,
            });
        }
        Ok(())
    }

    /// Refuses a write of which any image is of another model: nothing is written then.
    pub(crate) fn require_model_of_images(
        &self,
        fingerprint: &Fingerprint,
        images: &[GalleryImage],
    ) -> Result<(), SearchError> {
        self.require_model(fingerprint, self.dimension)?;
        images.iter().try_for_each(|image| self.require_model(fingerprint, image.embedding.dimension()))
    }

    /// What creating an existing gallery once more comes to: itself, if it is of the same model.
    pub(crate) fn created_again(self, fingerprint: &Fingerprint, dimension: usize) -> Result<Self, SearchError> {
        if *fingerprint != self.fingerprint {
            return Err(SearchError::GalleryExists { name: self.name, fingerprint: self.fingerprint });
        }
        self.require_model(fingerprint, dimension)?;
        Ok(self)
    }
}

/// A gallery by its name, or one of its generations: `lobby`, `lobby.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GalleryAddress<'a> {
    /// Name of the gallery.
    pub name: &'a str,
    /// `None` for the active one.
    pub generation: Option<u32>,
}

impl<'a> GalleryAddress<'a> {
    /// Reads an address. Names have no dots, so anything behind one is a number or the whole is a name that no gallery
    /// has.
    pub fn parse(text: &'a str) -> Self {
        match text.rsplit_once('.') {
            Some((name, number)) if !number.starts_with(['0', '+']) => match number.parse() {
                Ok(generation) => Self { name, generation: Some(generation) },
                Err(_) => Self { name: text, generation: None },
            },
            _ => Self { name: text, generation: None },
        }
    }
}

impl std::fmt::Display for GalleryAddress<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.generation {
            Some(generation) => write!(formatter, "{}.{generation}", self.name),
            None => formatter.write_str(self.name),
        }
    }
}

/// The longest embedding that a gallery takes: what Qdrant allows, far above any tower.
pub(crate) const MAX_DIMENSION: usize = 65_536;

/// Refuses dimensions that no model has.
pub(crate) fn check_dimension(dimension: usize) -> Result<(), SearchError> {
    if (1..=MAX_DIMENSION).contains(&dimension) {
        return Ok(());
    }
    let reason = format!("must be between 1 and {MAX_DIMENSION}, got {dimension}");
    Err(SearchError::Invalid { field: "dimension".to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text, name, generation| {
            assert_eq!(GalleryAddress::parse(text), GalleryAddress { name, generation }, "{text}");
            assert_eq!(GalleryAddress::parse(text).to_string(), text);
        };
        check("lobby", "lobby", None);
        check("lobby.2", "lobby", Some(2));
        check("lobby.02", "lobby.02", None);
        check("lobby.", "lobby.", None);
        check("lobby.99999999999", "lobby.99999999999", None);
    }
}
