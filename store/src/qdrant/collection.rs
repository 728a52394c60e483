//! Galleries as Qdrant's collections, and back. Pure.
//!
//! Each generation of a gallery is a collection `descry-<gallery>.<generation>`; the alias `descry-<gallery>` points to
//! the one that serves. What identifies a generation is in the metadata of its collection.

use crate::StoreError;
use crate::{GalleryAddress, GallerySettings, Generation, IndexState, QdrantGallerySettings, Quantization};
use qdrant_client::qdrant::{
    BinaryQuantization, CollectionInfo, CollectionStatus, CreateCollection, Distance, HnswConfigDiff,
    QuantizationConfig, QuantizationType, ScalarQuantization, Value, VectorParams, VectorsConfig, quantization_config,
    vectors_config,
};
use std::collections::HashMap;

const COLLECTION_PREFIX: &str = "descry-";

/// Layout of metadata and payload, in the metadata of each collection. Raise it with every change.
const FORMAT_VERSION: i64 = 2;

const FORMAT_KEY: &str = "descry_format_version";
const GENERATION_KEY: &str = "descry_generation";
const FINGERPRINT_KEY: &str = "descry_fingerprint";
const DIMENSION_KEY: &str = "descry_dimension";
const CREATED_KEY: &str = "descry_created_at_ms";
const SETTINGS_KEY: &str = "descry_settings";

/// The collection of a generation, or the alias of the gallery.
pub(super) fn collection_name(address: &str) -> String {
    format!("{COLLECTION_PREFIX}{address}")
}

/// The gallery or generation of a collection or alias, by its name alone.
pub(super) fn address_of(collection: &str) -> Option<&str> {
    collection.strip_prefix(COLLECTION_PREFIX)
}

/// The number of a collection that is a generation of the gallery, by its name alone.
pub(super) fn generation_of(collection: &str, gallery: &str) -> Option<u32> {
    let GalleryAddress { name, generation } = GalleryAddress::parse(address_of(collection)?);
    generation.filter(|_| name == gallery)
}

#[expect(deprecated, reason = "servers before 1.20 know only these names of the fields")]
pub(super) fn new_collection(generation: &Generation) -> CreateCollection {
    let QdrantGallerySettings {
        shard_number,
        replication_factor,
        write_consistency_factor,
        on_disk_vectors,
        hnsw_m,
        hnsw_ef_construct,
        quantization,
        accuracy: _,
    } = generation.settings.qdrant.clone();
    let vectors = VectorParams {
        size: generation.dimension as u64,
        distance: Distance::Cosine.into(),
        on_disk: on_disk_vectors,
        ..VectorParams::default()
    };
    let hnsw_config = (hnsw_m.is_some() || hnsw_ef_construct.is_some()).then(|| HnswConfigDiff {
        m: hnsw_m,
        ef_construct: hnsw_ef_construct,
        ..HnswConfigDiff::default()
    });
    let dimension = i64::try_from(generation.dimension).unwrap_or(i64::MAX);
    let settings = serde_json::to_string(&generation.settings).unwrap_or_default();
    CreateCollection {
        collection_name: collection_name(&generation.address()),
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::Params(vectors)) }),
        hnsw_config,
        shard_number,
        replication_factor,
        write_consistency_factor,
        quantization_config: quantization.map(quantization_message),
        metadata: HashMap::from([
            (FORMAT_KEY.to_owned(), FORMAT_VERSION.into()),
            (GENERATION_KEY.to_owned(), i64::from(generation.number).into()),
            (FINGERPRINT_KEY.to_owned(), generation.fingerprint.as_str().into()),
            (DIMENSION_KEY.to_owned(), dimension.into()),
            (CREATED_KEY.to_owned(), generation.created_at_ms.into()),
            (SETTINGS_KEY.to_owned(), settings.into()),
        ]),
        ..CreateCollection::default()
    }
}

#[expect(deprecated, reason = "as above")]
fn quantization_message(quantization: Quantization) -> QuantizationConfig {
    use quantization_config::Quantization as Message;
    let message = match quantization {
        Quantization::Int8 => Message::Scalar(ScalarQuantization {
            r#type: QuantizationType::Int8.into(),
            always_ram: Some(true),
            ..ScalarQuantization::default()
        }),
        Quantization::Binary => {
            Message::Binary(BinaryQuantization { always_ram: Some(true), ..BinaryQuantization::default() })
        }
    };
    QuantizationConfig { quantization: Some(message) }
}

/// Reads what identifies a generation, whether `name` is the gallery's or the generation's own.
///
/// # Errors
/// [`StoreError::Invalid`] naming the collection when it is not one of ours, or of another version.
pub(super) fn generation_from_collection(name: &str, collection: &CollectionInfo) -> Result<Generation, StoreError> {
    let invalid = |reason: String| StoreError::Invalid { field: format!("gallery {name:?}"), reason };
    let foreign = || {
        let collection = collection_name(name);
        invalid(format!(
            "the Qdrant collection {collection:?} has no Descry metadata; rename it, or choose another name"
        ))
    };
    let metadata = collection.config.as_ref().map(|config| &config.metadata).ok_or_else(foreign)?;
    let integer = |key: &str| metadata.get(key).and_then(Value::as_integer).ok_or_else(foreign);
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).ok_or_else(foreign);
    let version = integer(FORMAT_KEY)?;
    if version > FORMAT_VERSION {
        return Err(invalid(format!("stored in format {version}, this program knows {FORMAT_VERSION}; upgrade it")));
    }
    if version < FORMAT_VERSION {
        let advice = "delete the collection, and index the images again";
        return Err(invalid(format!("stored in format {version}, which this program no longer reads; {advice}")));
    }
    let settings: GallerySettings = serde_json::from_str(text(SETTINGS_KEY)?).map_err(|_| foreign())?;
    Ok(Generation {
        gallery: GalleryAddress::parse(name).name.to_owned(),
        number: u32::try_from(integer(GENERATION_KEY)?).map_err(|_| foreign())?,
        fingerprint: text(FINGERPRINT_KEY)?.parse().map_err(|_| foreign())?,
        dimension: usize::try_from(integer(DIMENSION_KEY)?).map_err(|_| foreign())?,
        created_at_ms: integer(CREATED_KEY)?,
        settings,
    })
}

/// How far the server is with the index of a collection.
pub(super) fn index_state(collection: &CollectionInfo) -> IndexState {
    match CollectionStatus::try_from(collection.status) {
        Ok(CollectionStatus::Green) => IndexState::Ready,
        Ok(CollectionStatus::Yellow | CollectionStatus::Grey) => IndexState::Building,
        Ok(CollectionStatus::Red | CollectionStatus::UnknownCollectionStatus) | Err(_) => IndexState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SearchAccuracy;
    use descry_model::Fingerprint;

    fn generation() -> Generation {
        Generation {
            gallery: "street".to_owned(),
            number: 3,
            fingerprint: Fingerprint::of_parts([]),
            dimension: 512,
            created_at_ms: 1_700_000_000_123,
            settings: GallerySettings {
                apply_exif_orientation: true,
                indexed_attributes: vec!["coat".to_owned()],
                qdrant: QdrantGallerySettings { shard_number: Some(6), ..QdrantGallerySettings::default() },
            },
        }
    }

    #[test]
    fn galleries_survive_the_metadata_of_a_collection() {
        let request = new_collection(&generation());
        assert_eq!(request.collection_name, "descry-street.3");
        let mut stored = CollectionInfo { status: CollectionStatus::Green.into(), ..CollectionInfo::default() };
        let foreign = generation_from_collection("street", &stored).unwrap_err().to_string();
        assert!(foreign.contains("\"descry-street\" has no Descry metadata"), "{foreign}");

        let config = stored.config.get_or_insert_default();
        config.metadata = request.metadata;
        assert_eq!(generation_from_collection("street", &stored).unwrap(), generation());
        assert_eq!(generation_from_collection("street.3", &stored).unwrap(), generation());

        for (version, expected) in [(1, "no longer reads"), (3, "format 3")] {
            let config = stored.config.get_or_insert_default();
            config.metadata.insert(FORMAT_KEY.to_owned(), version.into());
            let refused = generation_from_collection("street", &stored).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    #[expect(deprecated, reason = "as above")]
    fn settings_reach_the_server() {
        let mut generation = generation();
        generation.settings.qdrant = QdrantGallerySettings {
            shard_number: Some(6),
            replication_factor: Some(2),
            write_consistency_factor: Some(2),
            on_disk_vectors: Some(true),
            hnsw_m: Some(24),
            hnsw_ef_construct: Some(200),
            quantization: Some(Quantization::Int8),
            accuracy: SearchAccuracy::default(),
        };
        let request = new_collection(&generation);
        assert_eq!(
            (request.shard_number, request.replication_factor, request.write_consistency_factor),
            (Some(6), Some(2), Some(2))
        );
        let Some(vectors_config::Config::Params(vectors)) = request.vectors_config.and_then(|vectors| vectors.config)
        else {
            panic!("one vector")
        };
        assert_eq!((vectors.size, vectors.on_disk), (512, Some(true)));
        assert_eq!(request.hnsw_config.map(|hnsw| (hnsw.m, hnsw.ef_construct)), Some((Some(24), Some(200))));
        let quantization = request.quantization_config.and_then(|config| config.quantization);
        assert!(matches!(quantization, Some(quantization_config::Quantization::Scalar(_))), "{quantization:?}");
    }

    #[test]
    fn generations_are_told_by_their_names() {
        assert_eq!(generation_of("descry-street.2", "street"), Some(2));
        assert_eq!(generation_of("descry-street.2", "str"), None);
        assert_eq!(generation_of("descry-street", "street"), None);
        assert_eq!(generation_of("street.2", "street"), None);
    }
}
