//! What is known of an image: between files and messages.

use crate::time::{timestamp, unix_ms};
use descry_intake::{CropBox, FRAME_TURNED_ATTRIBUTE, FRAME_UPRIGHT, FramePart, KnownMetadata};
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
        crop_box: metadata.r#box.map(crop_box),
        captured_at_ms: metadata.captured_at.as_ref().map(unix_ms),
        attributes: metadata.attributes.into_iter().collect(),
    }
}

/// Which part of its frame an image is that was cut out of one when it was indexed: then the file in its attribute
/// [`PATH_ATTRIBUTE`] is the frame's. Its name tells, which is the frame's with the box behind it. None for any other image, also
/// for one that somebody else cut and put into a file of its own.
pub fn frame_part(image_id: &str, metadata: &ImageMetadata) -> Option<FramePart> {
    let frame_id = metadata.frame_id.as_deref().filter(|frame_id| !frame_id.is_empty())?;
    let (name, sides) = image_id.rsplit_once('#')?;
    let sides: Vec<i64> = sides.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    if !name.ends_with(frame_id) || sides.len() != 4 {
        return None;
    }
    let turned = metadata.attributes.get(FRAME_TURNED_ATTRIBUTE);
    let turns_upright = turned.is_some_and(|way_up| way_up == FRAME_UPRIGHT);
    Some(FramePart { crop_box: crop_box(metadata.r#box?), turns_upright })
}

fn crop_box(proto::CropBox { left, top, width, height }: proto::CropBox) -> CropBox {
    CropBox { left_px: left, top_px: top, width_px: width, height_px: height }
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
    #[test]
    fn only_what_was_cut_out_of_a_frame_is_part_of_one() {
        let mut metadata = ImageMetadata {
            frame_id: Some("c1/f.jpg".to_owned()),
            r#box: Some(proto::CropBox { left: 1, top: 2, width: 3, height: 4 }),
            ..ImageMetadata::default()
        };
        let expected = CropBox { left_px: 1, top_px: 2, width_px: 3, height_px: 4 };
        for image_id in ["c1/f.jpg#1,2,3,4", "lobby/c1/f.jpg#-1,2,3,4"] {
            let part = frame_part(image_id, &metadata).unwrap();
            assert_eq!((part.crop_box, part.turns_upright), (expected, false), "{image_id}");
        }
        for image_id in
            ["c1/f.jpg", "crop.jpg", "c1/g.jpg#1,2,3,4", "c1/f.jpg#1,2,3", "c1/f.jpg#1,2,3,4/x.jpg", "#1,2,3,4"]
        {
            assert_eq!(frame_part(image_id, &metadata), None, "{image_id}");
        }
        for (way_up, turns_upright) in [("upright", true), ("as_stored", false)] {
            metadata.attributes.insert(FRAME_TURNED_ATTRIBUTE.to_owned(), way_up.to_owned());
            assert_eq!(frame_part("c1/f.jpg#1,2,3,4", &metadata).unwrap().turns_upright, turns_upright);
        }
        metadata.r#box = None;
        assert_eq!(frame_part("c1/f.jpg#1,2,3,4", &metadata), None);
    }
}
