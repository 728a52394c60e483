//! A gallery's settings as JSON: in exported files, and for programs that read output.

use descry_proto::search::v1::{Gallery, GallerySettings, QdrantSettings, Quantization, Retention, SearchAccuracy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What makes a gallery again, besides its images: name, settings and retention.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GalleryNote {
    /// The gallery's name.
    pub name: String,
    settings: SettingsNote,
    retention: RetentionNote,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct SettingsNote {
    indexed_attributes: Vec<String>,
    apply_exif_orientation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    qdrant: Option<QdrantNote>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct QdrantNote {
    shard_number: Option<u32>,
    replication_factor: Option<u32>,
    write_consistency_factor: Option<u32>,
    on_disk_vectors: Option<bool>,
    hnsw_m: Option<u64>,
    hnsw_ef_construct: Option<u64>,
    quantization: Option<QuantizationName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<AccuracyNote>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct AccuracyNote {
    hnsw_ef: Option<u32>,
    oversampling: Option<f32>,
    rescore: Option<bool>,
}

/// JSON has no numbers that are not equal to themselves.
impl Eq for AccuracyNote {}

impl AccuracyNote {
    fn message(self) -> SearchAccuracy {
        let Self { hnsw_ef, oversampling, rescore } = self;
        SearchAccuracy { hnsw_ef, oversampling, rescore }
    }

    fn of(message: SearchAccuracy) -> Self {
        let SearchAccuracy { hnsw_ef, oversampling, rescore } = message;
        Self { hnsw_ef, oversampling, rescore }
    }
}

/// How a Qdrant server shortens embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum QuantizationName {
    /// A byte a value.
    Int8,
    /// A bit a value.
    Binary,
}

impl QuantizationName {
    fn message(self) -> Quantization {
        match self {
            Self::Int8 => Quantization::Int8,
            Self::Binary => Quantization::Binary,
        }
    }

    fn of(message: Quantization) -> Option<Self> {
        match message {
            Quantization::Unspecified => None,
            Quantization::Int8 => Some(Self::Int8),
            Quantization::Binary => Some(Self::Binary),
        }
    }
}

/// Milliseconds; 0 for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct RetentionNote {
    default_ms: u64,
    camera_ms: BTreeMap<String, u64>,
}

impl GalleryNote {
    /// What the service says of a gallery.
    pub fn of(gallery: &Gallery) -> Self {
        let settings = gallery.settings.clone().unwrap_or_default();
        let retention = gallery.retention.clone().unwrap_or_default();
        Self {
            name: gallery.name.clone(),
            settings: SettingsNote {
                indexed_attributes: settings.indexed_attributes,
                apply_exif_orientation: settings.apply_exif_orientation,
                qdrant: settings.qdrant.map(|qdrant| QdrantNote {
                    quantization: QuantizationName::of(qdrant.quantization()),
                    shard_number: qdrant.shard_number,
                    replication_factor: qdrant.replication_factor,
                    write_consistency_factor: qdrant.write_consistency_factor,
                    on_disk_vectors: qdrant.on_disk_vectors,
                    hnsw_m: qdrant.hnsw_m,
                    hnsw_ef_construct: qdrant.hnsw_ef_construct,
                    accuracy: qdrant.accuracy.map(AccuracyNote::of),
                }),
            },
            retention: RetentionNote {
                default_ms: retention.default_ms,
                camera_ms: retention.camera_ms.into_iter().collect(),
            },
        }
    }

    /// For a request.
    pub fn settings(&self) -> GallerySettings {
        let qdrant = self.settings.qdrant.as_ref().map(|qdrant| QdrantSettings {
            shard_number: qdrant.shard_number,
            replication_factor: qdrant.replication_factor,
            write_consistency_factor: qdrant.write_consistency_factor,
            on_disk_vectors: qdrant.on_disk_vectors,
            hnsw_m: qdrant.hnsw_m,
            hnsw_ef_construct: qdrant.hnsw_ef_construct,
            quantization: qdrant.quantization.map_or(Quantization::Unspecified, QuantizationName::message).into(),
            accuracy: qdrant.accuracy.map(AccuracyNote::message),
        });
        GallerySettings {
            indexed_attributes: self.settings.indexed_attributes.clone(),
            qdrant,
            apply_exif_orientation: self.settings.apply_exif_orientation,
        }
    }

    /// For a request.
    pub fn retention(&self) -> Retention {
        let camera_ms = self.retention.camera_ms.iter().map(|(camera, &span_ms)| (camera.clone(), span_ms)).collect();
        Retention { default_ms: self.retention.default_ms, camera_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gallery_comes_back_as_it_was() {
        let qdrant = QdrantSettings {
            shard_number: Some(3),
            hnsw_m: Some(32),
            quantization: Quantization::Binary.into(),
            accuracy: Some(SearchAccuracy { hnsw_ef: Some(300), ..SearchAccuracy::default() }),
            ..QdrantSettings::default()
        };
        let gallery = Gallery {
            name: "lobby".to_owned(),
            settings: Some(GallerySettings {
                indexed_attributes: vec!["coat".to_owned()],
                qdrant: Some(qdrant),
                apply_exif_orientation: true,
            }),
            retention: Some(Retention { default_ms: 5, camera_ms: [("c1".to_owned(), 7)].into() }),
            ..Gallery::default()
        };
        let json = serde_json::to_string(&GalleryNote::of(&gallery)).unwrap();
        let note: GalleryNote = serde_json::from_str(&json).unwrap();
        assert_eq!((Some(note.settings()), Some(note.retention())), (gallery.settings, gallery.retention));
        assert_eq!(serde_json::from_str::<GalleryNote>("{}").unwrap(), GalleryNote::default());
    }
}
