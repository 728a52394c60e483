//! A crop that is cut out of its frame when it is wanted.

use crate::frame_file::Frame;
use crate::{CropBox, IntakeError};
use descry_model::{RgbImage, decode_image};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Frames of more pixels are not decoded where nothing else is asked for: as the encoder does with images.
pub const MAX_FRAME_PIXELS: u64 = 50_000_000;

/// Where in a frame a crop lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePart {
    /// The sides, in pixels of the frame.
    pub crop_box: CropBox,
    /// Whether they are of the frame after it was turned upright by its EXIF data.
    pub turns_upright: bool,
}

impl FramePart {
    /// Cuts the part out of the content of a frame's file, of which `path` is what people are told. Frames over
    /// [`MAX_FRAME_PIXELS`] are not decoded.
    ///
    /// # Errors
    /// [`IntakeError::Malformed`] for a frame that cannot be decoded, or that the part does not lie in.
    pub fn cut(&self, path: &Path, content: &[u8]) -> Result<RgbImage, IntakeError> {
        let frame = decode_image(content, MAX_FRAME_PIXELS, self.turns_upright).map_err(|error| error.to_string());
        frame.and_then(|frame| cut(&frame, self.crop_box)).map_err(|reason| IntakeError::malformed(path, reason))
    }
}

/// A part of a frame.
#[derive(Debug, Clone)]
pub struct FrameCrop {
    frame: Arc<Frame>,
    crop_box: CropBox,
}

impl PartialEq for FrameCrop {
    fn eq(&self, other: &Self) -> bool {
        (self.path(), self.crop_box) == (other.path(), other.crop_box)
    }
}

impl Eq for FrameCrop {}

impl FrameCrop {
    pub(crate) fn of(frame: Arc<Frame>, crop_box: CropBox) -> Self {
        Self { frame, crop_box }
    }

    /// The frame's file.
    pub fn path(&self) -> &Path {
        self.frame.path()
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The crop as a PNG file: its pixels are exactly the frame's, which no lossy format would keep.
    ///
    /// # Errors
    /// [`IntakeError::Malformed`] for a frame that cannot be decoded, or that the part does not lie in.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, IntakeError> {
        let pixels = self.frame.pixels().map_err(str::to_owned).and_then(|frame| cut(frame, self.crop_box));
        let RgbImage { width, height, samples } =
            pixels.map_err(|reason| IntakeError::malformed(self.path(), reason))?;
        let unwritable = |error: png::EncodingError| IntakeError::malformed(self.path(), error.to_string());
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().map_err(unwritable)?;
        writer.write_image_data(&samples).map_err(unwritable)?;
        writer.finish().map_err(unwritable)?;
        Ok(bytes)
    }
}

/// Crops whose frames' files and parts are known already. Those of one frame that follow each other share what was decoded
/// of it, and no more than one frame is kept for that.
#[derive(Debug, Default)]
pub struct FrameCrops {
    last: Option<Arc<Frame>>,
}

impl FrameCrops {
    /// A crop of a frame's file, which may have so many bytes. Frames over [`MAX_FRAME_PIXELS`] are not decoded.
    pub fn crop(&mut self, path: PathBuf, part: FramePart, max_bytes: u64) -> FrameCrop {
        let FramePart { crop_box, turns_upright } = part;
        let frame = Frame::new(path, max_bytes, MAX_FRAME_PIXELS, turns_upright);
        let last = self.last.take().filter(|last| last.is_read_as(&frame));
        let frame = last.unwrap_or_else(|| Arc::new(frame));
        self.last = Some(Arc::clone(&frame));
        FrameCrop::of(frame, crop_box)
    }
}

/// A part of decoded pixels.
fn cut(frame: &RgbImage, part: CropBox) -> Result<RgbImage, String> {
    samples(frame, part)
        .map(|samples| RgbImage { width: part.width_px as usize, height: part.height_px as usize, samples })
        .ok_or_else(|| format!("the box does not lie in the frame of {} x {} pixels", frame.width, frame.height))
}

/// The samples of a part, row after row; none where it is not inside.
fn samples(frame: &RgbImage, part: CropBox) -> Option<Vec<u8>> {
    let (left, top) = (usize::try_from(part.left_px).ok()?, usize::try_from(part.top_px).ok()?);
    let (width, height) = (part.width_px as usize, part.height_px as usize);
    if width == 0 || height == 0 || left.checked_add(width)? > frame.width {
        return None;
    }
    let mut samples = Vec::new();
    for row in top..top.checked_add(height)? {
        let start = (row.checked_mul(frame.width)? + left) * 3;
        samples.extend_from_slice(frame.samples.get(start..start + width * 3)?);
    }
    Some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_that_follow_each_other_share_their_frame() {
        let mut crops = FrameCrops::default();
        let part = |left_px, turns_upright| FramePart {
            crop_box: CropBox { left_px, top_px: 0, width_px: 2, height_px: 2 },
            turns_upright,
        };
        let mut crop = |name: &str, left_px, upright| crops.crop(name.into(), part(left_px, upright), 1000).frame;
        let first = crop("a.png", 0, false);
        assert!(Arc::ptr_eq(&first, &crop("a.png", 7, false)));
        assert!(!Arc::ptr_eq(&first, &crop("a.png", 7, true)));
        assert!(!Arc::ptr_eq(&crop("b.png", 0, false), &crop("c.png", 0, false)));
        assert!(!Arc::ptr_eq(&first, &crop("a.png", 0, false)), "only the last one is kept");
    }

    #[test]
    fn a_part_that_does_not_lie_inside_is_named() {
        let frame = RgbImage { width: 4, height: 3, samples: (0..36).collect() };
        let part = |left_px, top_px, width_px, height_px| CropBox { left_px, top_px, width_px, height_px };
        assert_eq!(cut(&frame, part(1, 2, 1, 1)).unwrap().samples, [27, 28, 29]);
        for outside in
            [(-1, 0, 1, 1), (4, 0, 1, 1), (0, 3, 1, 1), (0, 0, 5, 1), (0, 0, 1, u32::MAX), (0, 0, 0, 1), (0, 0, 1, 0)]
        {
            let (left, top, width, height) = outside;
            assert!(cut(&frame, part(left, top, width, height)).is_err(), "{outside:?}");
        }
    }
}
