//! An image of a gallery.

use descry_model::Embedding;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where in a frame a crop was cut, in pixels of the frame. It may reach beyond the frame where somebody else cut it.
/// Kept as the list `[left, top, width, height]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(i32, i32, u32, u32)", into = "(i32, i32, u32, u32)")]
pub struct CropBox {
    /// Distance from the frame's left edge.
    pub left_px: i32,
    /// Distance from the frame's upper edge.
    pub top_px: i32,
    /// Width.
    pub width_px: u32,
    /// Height.
    pub height_px: u32,
}

impl From<(i32, i32, u32, u32)> for CropBox {
    fn from((left_px, top_px, width_px, height_px): (i32, i32, u32, u32)) -> Self {
        Self { left_px, top_px, width_px, height_px }
    }
}

impl From<CropBox> for (i32, i32, u32, u32) {
    fn from(CropBox { left_px, top_px, width_px, height_px }: CropBox) -> Self {
        (left_px, top_px, width_px, height_px)
    }
}

/// What is known of an image besides its embedding. Everything but the hash and the time of indexing is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageMetadata {
    /// Identity, where known.
    pub person_id: Option<String>,
    /// The camera that took it.
    pub camera_id: Option<String>,
    /// A tracker's name for one person's passage; it counts within its camera.
    pub track_id: Option<String>,
    /// The frame that it was cut from.
    pub frame_id: Option<String>,
    /// Where in that frame.
    pub crop_box: Option<CropBox>,
    /// Capture time in milliseconds since the Unix epoch. Qdrant compares times exactly up to 2^53 either way; its
    /// store refuses images beyond.
    pub captured_at_ms: Option<i64>,
    /// Free-form attributes, returned with each hit. Those that the gallery declares can be filtered by.
    pub attributes: BTreeMap<String, String>,
    /// SHA-256 of the image file: an unchanged image need not be encoded again. Empty where no file was seen.
    pub content_sha256: String,
    /// When it was written, in milliseconds since the Unix epoch.
    pub indexed_at_ms: i64,
}

impl ImageMetadata {
    /// Whether another write of the image would change nothing but the time of it.
    #[must_use]
    pub fn is_same_image(&self, other: &Self) -> bool {
        let Self {
            person_id,
            camera_id,
            track_id,
            frame_id,
            crop_box,
            captured_at_ms,
            attributes,
            content_sha256,
            indexed_at_ms: _,
        } = self;
        *person_id == other.person_id
            && *camera_id == other.camera_id
            && *track_id == other.track_id
            && *frame_id == other.frame_id
            && *crop_box == other.crop_box
            && *captured_at_ms == other.captured_at_ms
            && *attributes == other.attributes
            && *content_sha256 == other.content_sha256
    }
}

/// One image of a gallery, as written.
#[derive(Debug, Clone, PartialEq)]
pub struct GalleryImage {
    /// Unique within its gallery; writing it again replaces it.
    pub image_id: String,
    /// Of the gallery's model and dimension.
    pub embedding: Embedding,
    /// What else is known.
    pub metadata: ImageMetadata,
}
