//! Galleries, their settings and their retention.

use super::timestamp;
use crate::SearchError;
use crate::recall::{COMPARED_HITS, MeasuredRecall};
use crate::retention::Retention;
use crate::validation::invalid;
use descry_proto::search::v1 as proto;
use descry_store::{
    Gallery, GallerySettings, Generation, IndexState, QdrantGallerySettings, Quantization, SearchAccuracy,
};

pub(in crate::grpc) fn gallery_message(
    gallery: Gallery,
    retention: Retention,
    calibrated: bool,
    recall: Option<MeasuredRecall>,
) -> proto::Gallery {
    let index_state = match gallery.index {
        IndexState::Exact => proto::IndexState::Exact,
        IndexState::Ready => proto::IndexState::Ready,
        IndexState::Building => proto::IndexState::Building,
        IndexState::Failed => proto::IndexState::Failed,
    };
    let Generation { gallery: name, number, fingerprint, dimension, created_at_ms, settings } = gallery.generation;
    proto::Gallery {
        name,
        fingerprint: fingerprint.to_string(),
        embedding_dimension: u32::try_from(dimension).unwrap_or(u32::MAX),
        images: gallery.images,
        created_at: Some(timestamp(created_at_ms)),
        generation: number,
        settings: Some(settings_message(settings)),
        retention: Some(retention_message(retention)),
        index_state: index_state.into(),
        bytes: gallery.bytes,
        calibrated,
        past_retention: 0,
        held: 0,
        recall: recall.map(|MeasuredRecall { share, searches }| proto::Recall {
            share,
            searches,
            hits: u32::try_from(COMPARED_HITS).unwrap_or(u32::MAX),
        }),
    }
}

fn settings_message(settings: GallerySettings) -> proto::GallerySettings {
    let GallerySettings { indexed_attributes, qdrant, apply_exif_orientation } = settings;
    let quantization = match qdrant.quantization {
        None => proto::Quantization::Unspecified,
        Some(Quantization::Int8) => proto::Quantization::Int8,
        Some(Quantization::Binary) => proto::Quantization::Binary,
    };
    let qdrant = proto::QdrantSettings {
        shard_number: qdrant.shard_number,
        replication_factor: qdrant.replication_factor,
        write_consistency_factor: qdrant.write_consistency_factor,
        on_disk_vectors: qdrant.on_disk_vectors,
        hnsw_m: qdrant.hnsw_m,
        hnsw_ef_construct: qdrant.hnsw_ef_construct,
        quantization: quantization.into(),
        accuracy: (!qdrant.accuracy.is_usual()).then(|| accuracy_message(qdrant.accuracy)),
    };
    proto::GallerySettings { indexed_attributes, qdrant: Some(qdrant), apply_exif_orientation }
}

/// # Errors
/// [`SearchError::Invalid`] for numbers that no server takes.
pub(in crate::grpc) fn gallery_settings(settings: proto::GallerySettings) -> Result<GallerySettings, SearchError> {
    let qdrant = settings.qdrant.unwrap_or_default();
    let quantization = match qdrant.quantization() {
        proto::Quantization::Unspecified => None,
        proto::Quantization::Int8 => Some(Quantization::Int8),
        proto::Quantization::Binary => Some(Quantization::Binary),
    };
    let counts = [
        ("shard_number", qdrant.shard_number.map(u64::from), 1..=4_096),
        ("replication_factor", qdrant.replication_factor.map(u64::from), 1..=64),
        ("write_consistency_factor", qdrant.write_consistency_factor.map(u64::from), 1..=64),
        ("hnsw_m", qdrant.hnsw_m, 0..=512),
        ("hnsw_ef_construct", qdrant.hnsw_ef_construct, 4..=10_000),
    ];
    for (name, count, allowed) in counts {
        if let Some(count) = count
            && !allowed.contains(&count)
        {
            let reason = format!("{count}; {} to {} are allowed", allowed.start(), allowed.end());
            return Err(invalid(format!("settings.qdrant.{name}"), reason));
        }
    }
    let accuracy = search_accuracy(qdrant.accuracy, "settings.qdrant.accuracy")?;
    let qdrant = QdrantGallerySettings {
        shard_number: qdrant.shard_number,
        replication_factor: qdrant.replication_factor,
        write_consistency_factor: qdrant.write_consistency_factor,
        on_disk_vectors: qdrant.on_disk_vectors,
        hnsw_m: qdrant.hnsw_m,
        hnsw_ef_construct: qdrant.hnsw_ef_construct,
        quantization,
        accuracy,
    };
    let proto::GallerySettings { indexed_attributes, apply_exif_orientation, .. } = settings;
    Ok(GallerySettings { indexed_attributes, qdrant, apply_exif_orientation })
}

/// # Errors
/// [`SearchError::Invalid`] for an accuracy that no search should cost, naming what is wrong below `field`.
pub(in crate::grpc) fn search_accuracy(
    accuracy: Option<proto::SearchAccuracy>,
    field: &str,
) -> Result<SearchAccuracy, SearchError> {
    let proto::SearchAccuracy { hnsw_ef, oversampling, rescore } = accuracy.unwrap_or_default();
    let accuracy = SearchAccuracy { hnsw_ef, oversampling, rescore };
    accuracy.check(field)?;
    Ok(accuracy)
}

fn accuracy_message(accuracy: SearchAccuracy) -> proto::SearchAccuracy {
    let SearchAccuracy { hnsw_ef, oversampling, rescore } = accuracy;
    proto::SearchAccuracy { hnsw_ef, oversampling, rescore }
}

/// Cameras with a time of their own.
const MAX_CAMERAS: usize = 10_000;

/// # Errors
/// [`SearchError::Invalid`] for more cameras than a gallery has.
pub(in crate::grpc) fn retention_of(retention: proto::Retention) -> Result<Retention, SearchError> {
    let proto::Retention { default_ms, camera_ms } = retention;
    if camera_ms.len() > MAX_CAMERAS {
        let reason = format!("{} cameras, at most {MAX_CAMERAS} are allowed", camera_ms.len());
        return Err(invalid("retention.camera_ms", reason));
    }
    let kept = |ms: u64| (ms > 0).then_some(ms);
    let camera_ms = camera_ms.into_iter().map(|(camera, ms)| (camera, kept(ms))).collect();
    Ok(Retention { default_ms: kept(default_ms), camera_ms })
}

fn retention_message(retention: Retention) -> proto::Retention {
    let Retention { default_ms, camera_ms } = retention;
    proto::Retention {
        default_ms: default_ms.unwrap_or_default(),
        camera_ms: camera_ms.into_iter().map(|(camera, ms)| (camera, ms.unwrap_or_default())).collect(),
    }
}
