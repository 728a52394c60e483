//! What is known of an image: between files and messages.

use crate::time::{timestamp, unix_ms};
use descry_intake::{CropBox, KnownMetadata};
use descry_proto::search::v1::{self as proto, ImageMetadata};

/// The attribute that tells where an image came from, for contact sheets and for a change of the model.
pub const PATH_ATTRIBUTE: &str = "path";

/// The attribute that tells where an image came from that has no file of its own: the archive, or the file of embeddings.
pub const ARCHIVE_ATTRIBUTE: &str = "archive";

/// Where an image came from, as far as its attributes tell.
pub(crate) fn source_of(metadata: &ImageMetadata) -> Option<&str> {
    let attribute = |name: &str| metadata.attributes.get(name).map(String::as_str);
    attribute(PATH_ATTRIBUTE).or_else(|| attribute(ARCHIVE_ATTRIBUTE))
}

/// For the service.
pub fn image_metadata(known: KnownMetadata) -> ImageMetadata {
    ImageMetadata {
        person_id: known.person_id,
        camera_id: known.camera_id,
        captured_at: known.captured_at_ms.map(timestamp),
        attributes: known.attributes.into_iter().collect(),
        indexed_at: None,
        track_id: known.track_id,
        frame_id: known.frame_id,
        r#box: known.crop_box.map(|CropBox { left_px, top_px, width_px, height_px }| proto::CropBox {
            left: left_px,
            top: top_px,
            width: width_px,
            height: height_px,
        }),
    }
}

/// For a file. When an image was indexed is nothing that a file tells.
pub fn known_metadata(metadata: ImageMetadata) -> KnownMetadata {
    KnownMetadata {
        person_id: metadata.person_id,
        camera_id: metadata.camera_id,
        track_id: metadata.track_id,
        frame_id: metadata.frame_id,
        crop_box: metadata.r#box.map(|proto::CropBox { left, top, width, height }| CropBox {
            left_px: left,
            top_px: top,
            width_px: width,
            height_px: height,
        }),
        captured_at_ms: metadata.captured_at.as_ref().map(unix_ms),
        attributes: metadata.attributes.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn nothing_is_lost_on_the_way() {
        let known = KnownMetadata {
            person_id: Some("7".to_owned()),
            camera_id: Some("c2".to_owned()),
            track_id: Some("t".to_owned()),
            frame_id: Some("f.jpg".to_owned()),
            crop_box: Some(CropBox { left_px: -1, top_px: 2, width_px: 3, height_px: 4 }),
            captured_at_ms: Some(-1),
            attributes: BTreeMap::from([("weather".to_owned(), "rain".to_owned())]),
        };
        assert_eq!(known_metadata(image_metadata(known.clone())), known);
    }
}
