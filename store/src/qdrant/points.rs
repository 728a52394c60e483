//! Images as Qdrant's points, and back. Pure.

use super::collection::collection_name;
use super::error::QdrantStoreError;
use super::ranked_group::told_cosine;
use crate::StoreError;
use crate::{CropBox, GalleryImage, Hit, ImageMetadata};
use descry_model::Embedding;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vector_output::Vector;
use qdrant_client::qdrant::vectors_output::VectorsOptions;
use qdrant_client::qdrant::{ListValue, PointId, PointStruct, ScoredPoint, Struct, Value, VectorsOutput};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Root of all point ids. Any change would orphan every stored point.
const POINT_ID_NAMESPACE: Uuid = Uuid::from_u128(0x8b1d_5c52_6a0f_4c6e_9f0c_3c7e_52a1_d9b4);

/// Qdrant compares ranges as float64, which is exact for integers up to this: enough for 285,000 years either way.
const MAX_EXACT_TIME_MS: i64 = 1 << 53;

/// The keys of a point's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadField {
    ImageId,
    PersonId,
    CameraId,
    TrackId,
    FrameId,
    CropBox,
    CapturedAtMs,
    IndexedAtMs,
    Attributes,
    ContentSha256,
}

impl PayloadField {
    /// The fields by which points are looked for, besides declared attributes.
    pub(super) const INDEXED: [Self; 6] =
        [Self::ImageId, Self::PersonId, Self::CameraId, Self::TrackId, Self::CapturedAtMs, Self::IndexedAtMs];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ImageId => "image_id",
            Self::PersonId => "person_id",
            Self::CameraId => "camera_id",
            Self::TrackId => "track_id",
            Self::FrameId => "frame_id",
            Self::CropBox => "crop_box",
            Self::CapturedAtMs => "captured_at_ms",
            Self::IndexedAtMs => "indexed_at_ms",
            Self::Attributes => "attributes",
            Self::ContentSha256 => "content_sha256",
        }
    }

    pub(super) fn is_time(self) -> bool {
        matches!(self, Self::CapturedAtMs | Self::IndexedAtMs)
    }
}

/// Where a declared attribute lies. Names of declared attributes need no quoting.
pub(super) fn attribute_key(attribute: &str) -> String {
    format!("{}.{attribute}", PayloadField::Attributes.name())
}

/// The same image always gets the same point, so that every write can be repeated. Hashing in two steps keeps gallery
/// and image apart: no pair of names runs together into another pair.
pub(super) fn point_id(gallery: &str, image_id: &str) -> PointId {
    let gallery = Uuid::new_v5(&POINT_ID_NAMESPACE, gallery.as_bytes());
    Uuid::new_v5(&gallery, image_id.as_bytes()).to_string().into()
}

/// # Errors
/// [`StoreError::Invalid`] for a time that Qdrant would compare inexactly.
pub(super) fn point_from_image(gallery: &str, image: GalleryImage) -> Result<PointStruct, StoreError> {
    let GalleryImage { image_id, embedding, metadata } = image;
    let id = point_id(gallery, &image_id);
    let payload = payload_of(image_id, metadata)?;
    Ok(PointStruct { id: Some(id), payload, vectors: Some(embedding.into_vec().into()) })
}

/// # Errors
/// As for [`point_from_image`].
pub(super) fn payload_of(image_id: String, metadata: ImageMetadata) -> Result<HashMap<String, Value>, StoreError> {
    let times = [("captured_at", metadata.captured_at_ms), ("indexed_at", Some(metadata.indexed_at_ms))];
    for (field, time) in times {
        if let Some(time) = time.filter(|time| time.unsigned_abs() > MAX_EXACT_TIME_MS.unsigned_abs()) {
            let reason = format!("{time} ms is beyond what Qdrant compares exactly, 2^53 ms either way");
            return Err(StoreError::Invalid { field: format!("metadata.{field}"), reason });
        }
    }
    let attributes = metadata.attributes.into_iter().map(|(key, value)| (key, value.into())).collect();
    let fields = [
        (PayloadField::ImageId, Some(image_id.into())),
        (PayloadField::PersonId, metadata.person_id.map(Value::from)),
        (PayloadField::CameraId, metadata.camera_id.map(Value::from)),
        (PayloadField::TrackId, metadata.track_id.map(Value::from)),
        (PayloadField::FrameId, metadata.frame_id.map(Value::from)),
        (PayloadField::CropBox, metadata.crop_box.map(box_value)),
        (PayloadField::CapturedAtMs, metadata.captured_at_ms.map(Value::from)),
        (PayloadField::IndexedAtMs, Some(metadata.indexed_at_ms.into())),
        (PayloadField::Attributes, Some(Kind::StructValue(Struct { fields: attributes }).into())),
        (PayloadField::ContentSha256, Some(metadata.content_sha256.into())),
    ];
    Ok(fields.into_iter().filter_map(|(field, value)| Some((field.name().to_owned(), value?))).collect())
}

/// A box as the list of its left edge, upper edge, width and height.
fn box_value(CropBox { left_px, top_px, width_px, height_px }: CropBox) -> Value {
    let sides = [i64::from(left_px), i64::from(top_px), i64::from(width_px), i64::from(height_px)];
    Kind::ListValue(ListValue { values: sides.map(Value::from).to_vec() }).into()
}

fn box_of(kind: Kind) -> Option<CropBox> {
    let Kind::ListValue(ListValue { values }) = kind else { return None };
    let sides = values.into_iter().map(|value| match value.kind {
        Some(Kind::IntegerValue(side)) => Some(side),
        _ => None,
    });
    let [left, top, width, height] = <[i64; 4]>::try_from(sides.collect::<Option<Vec<_>>>()?).ok()?;
    Some(CropBox {
        left_px: left.try_into().ok()?,
        top_px: top.try_into().ok()?,
        width_px: width.try_into().ok()?,
        height_px: height.try_into().ok()?,
    })
}

pub(super) fn hit_from_point(address: &str, point: ScoredPoint) -> Result<Hit, StoreError> {
    let embedding = point.vectors.map(|vectors| embedding_from(address, vectors)).transpose()?;
    let (image_id, metadata) = image_from_payload(address, point.payload)?;
    Ok(Hit { image_id, score: told_cosine(point.score), metadata, embedding })
}

/// # Errors
/// [`StoreError::Failed`] with a [`QdrantStoreError`] when the point has no such vector as ours.
pub(super) fn embedding_from(address: &str, vectors: VectorsOutput) -> Result<Embedding, StoreError> {
    let values = match vectors.vectors_options {
        Some(VectorsOptions::Vector(output)) => match output.vector {
            Some(Vector::Dense(dense)) => Some(dense.data),
            Some(Vector::Sparse(_) | Vector::MultiDense(_)) | None => None,
        },
        Some(VectorsOptions::Vectors(_)) | None => None,
    };
    values
        .and_then(|values| Embedding::normalized(values).ok())
        .ok_or_else(|| foreign_point(address, "unexpected vectors".to_owned()))
}

pub(super) fn foreign_point(address: &str, reason: String) -> StoreError {
    let source = QdrantStoreError::ForeignPoint { collection: collection_name(address), reason };
    StoreError::failed("reading images", source)
}

/// # Errors
/// [`StoreError::Failed`] with a [`QdrantStoreError`] when something else wrote the point.
pub(super) fn image_from_payload(
    address: &str,
    mut payload: HashMap<String, Value>,
) -> Result<(String, ImageMetadata), StoreError> {
    let foreign = |field: PayloadField| foreign_point(address, format!("unexpected {}", field.name()));
    let mut take = |field: PayloadField| match payload.remove(field.name()).and_then(|value| value.kind) {
        None | Some(Kind::NullValue(_)) => None,
        Some(kind) => Some(kind),
    };
    let text = |field: PayloadField, kind: Option<Kind>| match kind {
        None => Ok(None),
        Some(Kind::StringValue(text)) => Ok(Some(text)),
        Some(_) => Err(foreign(field)),
    };
    let time = |field: PayloadField, kind: Option<Kind>| match kind {
        None => Ok(None),
        Some(Kind::IntegerValue(time)) => Ok(Some(time)),
        Some(_) => Err(foreign(field)),
    };
    let mut text_of = |field| text(field, take(field));
    let image_id = text_of(PayloadField::ImageId)?.ok_or_else(|| foreign(PayloadField::ImageId))?;
    let person_id = text_of(PayloadField::PersonId)?;
    let camera_id = text_of(PayloadField::CameraId)?;
    let track_id = text_of(PayloadField::TrackId)?;
    let frame_id = text_of(PayloadField::FrameId)?;
    let content_sha256 = text_of(PayloadField::ContentSha256)?.unwrap_or_default();
    let crop_box = take(PayloadField::CropBox);
    let crop_box = crop_box.map(|kind| box_of(kind).ok_or_else(|| foreign(PayloadField::CropBox))).transpose()?;
    let mut time_of = |field| time(field, take(field));
    let captured_at_ms = time_of(PayloadField::CapturedAtMs)?;
    let indexed_at_ms = time_of(PayloadField::IndexedAtMs)?.unwrap_or_default();
    let attributes = match take(PayloadField::Attributes) {
        None => BTreeMap::new(),
        Some(Kind::StructValue(attributes)) => attributes
            .fields
            .into_iter()
            .map(|(key, value)| match value.kind {
                Some(Kind::StringValue(value)) => Ok((key, value)),
                _ => Err(foreign(PayloadField::Attributes)),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(foreign(PayloadField::Attributes)),
    };
    let metadata = ImageMetadata {
        person_id,
        camera_id,
        track_id,
        frame_id,
        crop_box,
        captured_at_ms,
        attributes,
        content_sha256,
        indexed_at_ms,
    };
    Ok((image_id, metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_ids_are_stable_and_do_not_run_together() {
        assert_eq!(point_id("a", "b"), point_id("a", "b"));
        assert_ne!(point_id("a", "bc"), point_id("ab", "c"));
        assert_eq!(point_id("street", "cam1/0001.jpg"), "85f0e463-a6ee-57ab-9f97-68263389fa82".into());
    }

    #[test]
    fn foreign_payloads_are_named() {
        let check = |payload: &[(&str, Value)]| {
            let payload = payload.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            let error = image_from_payload("street", payload).unwrap_err();
            std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
        };
        assert!(check(&[]).contains("\"descry-street\"") && check(&[]).contains("unexpected image_id"));
        let id = ("image_id", Value::from("1"));
        assert!(check(&[id.clone(), ("person_id", 7.into())]).contains("person_id"));
        assert!(check(&[id.clone(), ("captured_at_ms", 0.5.into())]).contains("captured_at_ms"));
        assert!(check(&[id.clone(), ("crop_box", "1,2".into())]).contains("crop_box"));
        assert!(check(&[id, ("attributes", "red".into())]).contains("attributes"));
    }

    #[test]
    fn times_that_would_be_compared_inexactly_are_refused() {
        let check = |time| {
            let metadata = ImageMetadata { captured_at_ms: Some(time), ..ImageMetadata::default() };
            let embedding = Embedding::normalized(vec![1.0]).unwrap();
            point_from_image("street", GalleryImage { image_id: "1".to_owned(), embedding, metadata }).is_ok()
        };
        assert!(check(MAX_EXACT_TIME_MS) && check(-MAX_EXACT_TIME_MS) && check(0));
        assert!(!check(MAX_EXACT_TIME_MS + 1) && !check(i64::MIN));
    }
}
