//! What is known of an image: between files, messages and JSON.

use crate::time::{timestamp, unix_ms};
use descry_intake::KnownMetadata;
use descry_proto::search::v1::ImageMetadata;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The attribute that tells where an image came from, for contact sheets and for a change of the model.
pub(crate) const PATH_ATTRIBUTE: &str = "path";

/// For the service.
pub(crate) fn image_metadata(known: KnownMetadata) -> ImageMetadata {
    ImageMetadata {
        person_id: known.person_id,
        camera_id: known.camera_id,
        captured_at: known.captured_at_ms.map(timestamp),
        attributes: known.attributes.into_iter().collect(),
        indexed_at: None,
    }
}

/// For a file.
pub(crate) fn known_metadata(metadata: ImageMetadata) -> KnownMetadata {
    KnownMetadata {
        person_id: metadata.person_id,
        camera_id: metadata.camera_id,
        captured_at_ms: metadata.captured_at.as_ref().map(unix_ms),
        attributes: metadata.attributes.into_iter().collect(),
    }
}

/// For a program that reads the output; attributes in the order of their names.
pub(crate) fn metadata_json(metadata: &ImageMetadata) -> Map<String, Value> {
    let attributes: BTreeMap<&String, &String> = metadata.attributes.iter().collect();
    let fields = [
        ("person_id", json!(metadata.person_id)),
        ("camera_id", json!(metadata.camera_id)),
        ("captured_at", json!(metadata.captured_at.map(|time| time.to_string()))),
        ("indexed_at", json!(metadata.indexed_at.map(|time| time.to_string()))),
        ("attributes", json!(attributes)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way() {
        let known = KnownMetadata {
            person_id: Some("7".to_owned()),
            camera_id: Some("c2".to_owned()),
            captured_at_ms: Some(-1),
            attributes: BTreeMap::from([("weather".to_owned(), "rain".to_owned())]),
        };
        let metadata = image_metadata(known.clone());
        assert_eq!(metadata_json(&metadata)["attributes"]["weather"], "rain");
        assert_eq!(known_metadata(metadata), known);
    }
}
