//! Galleries and images as Qdrant's collections and points, and back. Pure.

use super::error::QdrantStoreError;
use crate::SearchError;
use crate::vector_store::{Gallery, GalleryImage, Hit, ImageMetadata, SearchFilter};
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{
    CollectionInfo, Condition, CreateCollection, Distance, Filter, PointId, PointStruct, Range, ScoredPoint, Struct,
    Value, VectorParams, VectorsConfig, vectors_config,
};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

const COLLECTION_PREFIX: &str = "descry-";

/// Root of all point ids. Any change would orphan every stored point.
const POINT_ID_NAMESPACE: Uuid = Uuid::from_u128(0x8b1d_5c52_6a0f_4c6e_9f0c_3c7e_52a1_d9b4);

/// Layout of metadata and payload, in the metadata of each collection. Raise it with every change.
const FORMAT_VERSION: i64 = 1;

const FORMAT_KEY: &str = "descry_format_version";
const FINGERPRINT_KEY: &str = "descry_fingerprint";
const DIMENSION_KEY: &str = "descry_dimension";
const CREATED_KEY: &str = "descry_created_at_ms";

/// Qdrant compares ranges as float64, which is exact for integers up to this: enough for 285,000 years either way.
const MAX_EXACT_TIME_MS: i64 = 1 << 53;

/// The keys of a point's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadField {
    ImageId,
    PersonId,
    CameraId,
    CapturedAtMs,
    Attributes,
    ContentSha256,
}

impl PayloadField {
    /// The fields by which points are looked for.
    pub(super) const INDEXED: [Self; 4] = [Self::ImageId, Self::PersonId, Self::CameraId, Self::CapturedAtMs];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ImageId => "image_id",
            Self::PersonId => "person_id",
            Self::CameraId => "camera_id",
            Self::CapturedAtMs => "captured_at_ms",
            Self::Attributes => "attributes",
            Self::ContentSha256 => "content_sha256",
        }
    }
}

pub(super) fn collection_name(gallery: &str) -> String {
    format!("{COLLECTION_PREFIX}{gallery}")
}

/// The gallery of a collection, by its name alone.
pub(super) fn gallery_name(collection: &str) -> Option<&str> {
    collection.strip_prefix(COLLECTION_PREFIX)
}

/// The same image always gets the same point, so that every write can be repeated. Hashing in two steps keeps gallery
/// and image apart: no pair of names runs together into another pair.
pub(super) fn point_id(gallery: &str, image_id: &str) -> PointId {
    let gallery = Uuid::new_v5(&POINT_ID_NAMESPACE, gallery.as_bytes());
    Uuid::new_v5(&gallery, image_id.as_bytes()).to_string().into()
}

pub(super) fn new_collection(gallery: &Gallery) -> CreateCollection {
    let vectors =
        VectorParams { size: gallery.dimension as u64, distance: Distance::Cosine.into(), ..VectorParams::default() };
    let dimension = i64::try_from(gallery.dimension).unwrap_or(i64::MAX);
    CreateCollection {
        collection_name: collection_name(&gallery.name),
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::Params(vectors)) }),
        metadata: HashMap::from([
            (FORMAT_KEY.to_owned(), FORMAT_VERSION.into()),
            (FINGERPRINT_KEY.to_owned(), gallery.fingerprint.as_str().into()),
            (DIMENSION_KEY.to_owned(), dimension.into()),
            (CREATED_KEY.to_owned(), gallery.created_at_ms.into()),
        ]),
        ..CreateCollection::default()
    }
}

/// Reads what identifies a gallery. The number of images is left at 0.
///
/// # Errors
/// [`SearchError::Invalid`] naming the collection when it is not one of ours, or of a later version.
pub(super) fn gallery_from_collection(name: &str, collection: &CollectionInfo) -> Result<Gallery, SearchError> {
    let invalid = |reason: String| SearchError::Invalid { field: format!("gallery {name:?}"), reason };
    let foreign = || {
        let collection = collection_name(name);
        invalid(format!(
            "the Qdrant collection {collection:?} has no Descry metadata; rename it, or choose another name"
        ))
    };
    let metadata = collection.config.as_ref().map(|config| &config.metadata).ok_or_else(foreign)?;
    let integer = |key: &str| metadata.get(key).and_then(Value::as_integer).ok_or_else(foreign);
    let version = integer(FORMAT_KEY)?;
    if version != FORMAT_VERSION {
        return Err(invalid(format!("stored in format {version}, this program knows {FORMAT_VERSION}; upgrade it")));
    }
    let fingerprint = metadata.get(FINGERPRINT_KEY).and_then(Value::as_str).ok_or_else(foreign)?;
    Ok(Gallery {
        name: name.to_owned(),
        fingerprint: fingerprint.parse().map_err(|_| foreign())?,
        dimension: usize::try_from(integer(DIMENSION_KEY)?).map_err(|_| foreign())?,
        images: 0,
        created_at_ms: integer(CREATED_KEY)?,
    })
}

/// # Errors
/// [`SearchError::Invalid`] for a time that Qdrant would compare inexactly.
pub(super) fn point_from_image(gallery: &str, image: GalleryImage) -> Result<PointStruct, SearchError> {
    let GalleryImage { image_id, embedding, metadata } = image;
    if metadata.captured_at_ms.is_some_and(|time| !(-MAX_EXACT_TIME_MS..=MAX_EXACT_TIME_MS).contains(&time)) {
        let reason = format!("the capture time must be within {MAX_EXACT_TIME_MS} ms of 1970");
        return Err(SearchError::Invalid { field: format!("image {image_id:?}"), reason });
    }
    let id = point_id(gallery, &image_id);
    let attributes = metadata.attributes.into_iter().map(|(key, value)| (key, value.into())).collect();
    let fields = [
        (PayloadField::ImageId, Some(image_id.into())),
        (PayloadField::PersonId, metadata.person_id.map(Value::from)),
        (PayloadField::CameraId, metadata.camera_id.map(Value::from)),
        (PayloadField::CapturedAtMs, metadata.captured_at_ms.map(Value::from)),
        (PayloadField::Attributes, Some(Kind::StructValue(Struct { fields: attributes }).into())),
        (PayloadField::ContentSha256, Some(metadata.content_sha256.into())),
    ];
    let payload = fields.into_iter().filter_map(|(field, value)| Some((field.name().to_owned(), value?))).collect();
    Ok(PointStruct { id: Some(id), payload, vectors: Some(embedding.into_vec().into()) })
}

pub(super) fn hit_from_point(gallery: &str, point: ScoredPoint) -> Result<Hit, SearchError> {
    let (image_id, metadata) = image_from_payload(gallery, point.payload)?;
    // Rounding may exceed 1 a little. Adding zero turns -0 to 0, which would otherwise break ties.
    Ok(Hit { image_id, score: point.score.clamp(-1.0, 1.0) + 0.0, metadata })
}

/// # Errors
/// [`SearchError::Store`] with a [`QdrantStoreError`] when something else wrote the point.
pub(super) fn image_from_payload(
    gallery: &str,
    mut payload: HashMap<String, Value>,
) -> Result<(String, ImageMetadata), SearchError> {
    let foreign = |field: PayloadField| {
        let reason = format!("unexpected {}", field.name());
        let source = QdrantStoreError::ForeignPoint { collection: collection_name(gallery), reason };
        SearchError::Store { activity: "reading images", source: Box::new(source) }
    };
    let mut take = |field: PayloadField| match payload.remove(field.name()).and_then(|value| value.kind) {
        None | Some(Kind::NullValue(_)) => None,
        Some(kind) => Some(kind),
    };
    let text = |field: PayloadField, kind: Option<Kind>| match kind {
        None => Ok(None),
        Some(Kind::StringValue(text)) => Ok(Some(text)),
        Some(_) => Err(foreign(field)),
    };
    let mut text_of = |field| text(field, take(field));

    let image_id = text_of(PayloadField::ImageId)?.ok_or_else(|| foreign(PayloadField::ImageId))?;
    let person_id = text_of(PayloadField::PersonId)?;
    let camera_id = text_of(PayloadField::CameraId)?;
    let content_sha256 = text_of(PayloadField::ContentSha256)?.unwrap_or_default();
    let captured_at_ms = match take(PayloadField::CapturedAtMs) {
        None => None,
        Some(Kind::IntegerValue(time)) => Some(time),
        Some(_) => return Err(foreign(PayloadField::CapturedAtMs)),
    };
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
    Ok((image_id, ImageMetadata { person_id, camera_id, captured_at_ms, attributes, content_sha256 }))
}

/// The conditions of a filter, `None` when it does not restrict.
pub(super) fn filter_conditions(filter: &SearchFilter) -> Option<Filter> {
    let SearchFilter { person_ids, camera_ids, captured_from_ms, captured_before_ms } = filter;
    let mut conditions = Vec::new();
    for (field, wanted) in [(PayloadField::PersonId, person_ids), (PayloadField::CameraId, camera_ids)] {
        if !wanted.is_empty() {
            conditions.push(Condition::matches(field.name(), wanted.clone()));
        }
    }
    if captured_from_ms.is_some() || captured_before_ms.is_some() {
        // Stored times are within the exact range, so rounding a bound beyond it changes nothing.
        let range = Range {
            gte: captured_from_ms.map(|time| time as f64),
            lt: captured_before_ms.map(|time| time as f64),
            ..Range::default()
        };
        conditions.push(Condition::range(PayloadField::CapturedAtMs.name(), range));
    }
    (!conditions.is_empty()).then(|| Filter::must(conditions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::{Embedding, Fingerprint};

    #[test]
    fn point_ids_are_stable_and_do_not_run_together() {
        assert_eq!(point_id("a", "b"), point_id("a", "b"));
        assert_ne!(point_id("a", "bc"), point_id("ab", "c"));
        assert_eq!(point_id("street", "cam1/0001.jpg"), "85f0e463-a6ee-57ab-9f97-68263389fa82".into());
    }

    #[test]
    fn galleries_survive_the_metadata_of_a_collection() {
        let gallery = Gallery {
            name: "street".to_owned(),
            fingerprint: Fingerprint::of_parts([]),
            dimension: 512,
            images: 0,
            created_at_ms: 1_700_000_000_123,
        };
        let request = new_collection(&gallery);
        let mut stored = CollectionInfo::default();
        let foreign = gallery_from_collection("street", &stored).unwrap_err().to_string();
        assert!(foreign.contains("\"descry-street\" has no Descry metadata"), "{foreign}");

        let config = stored.config.get_or_insert_default();
        config.metadata = request.metadata;
        assert_eq!(gallery_from_collection("street", &stored).unwrap(), gallery);

        let config = stored.config.get_or_insert_default();
        config.metadata.insert(FORMAT_KEY.to_owned(), 2.into());
        assert!(gallery_from_collection("street", &stored).unwrap_err().to_string().contains("format 2"));
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

    #[test]
    fn a_filter_without_conditions_is_none() {
        assert_eq!(filter_conditions(&SearchFilter::default()), None);
        let filter = SearchFilter { captured_from_ms: Some(3), ..SearchFilter::default() };
        assert_eq!(filter_conditions(&filter).map(|filter| filter.must.len()), Some(1));
    }
}
