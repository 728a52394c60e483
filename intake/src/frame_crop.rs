//! A crop that is cut out of its frame when it is wanted.

use crate::{CropBox, IntakeError};
use descry_model::{RgbImage, decode_image};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Frames of more pixels are not decoded where nothing else is asked for: as the encoder does with images.
pub const MAX_FRAME_PIXELS: u64 = 50_000_000;

/// A frame's file. It is decoded once for all its crops, and its pixels are let go with the last of them.
#[derive(Debug)]
pub(crate) struct Frame {
    path: PathBuf,
    max_bytes: u64,
    max_pixels: u64,
    turns_upright: bool,
    decoded: OnceLock<Result<RgbImage, String>>,
}

impl Frame {
    pub(crate) fn new(path: PathBuf, max_bytes: u64, max_pixels: u64, turns_upright: bool) -> Self {
        Self { path, max_bytes, max_pixels, turns_upright, decoded: OnceLock::new() }
    }

    /// The pixels, or why there are none.
    pub(crate) fn pixels(&self) -> Result<&RgbImage, &str> {
        self.decoded.get_or_init(|| self.decode()).as_ref().map_err(String::as_str)
    }

    fn decode(&self) -> Result<RgbImage, String> {
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(|error| format!("cannot be read: {error}"))?;
        let read = file.take(self.max_bytes.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot be read: {error}"))?;
        if bytes.len() as u64 > self.max_bytes {
            return Err(format!("over {} bytes, which are the most that are read", self.max_bytes));
        }
        decode_image(&bytes, self.max_pixels, self.turns_upright).map_err(|error| error.to_string())
    }
}

/// A part of a frame.
#[derive(Debug, Clone)]
pub struct FrameCrop {
    frame: Arc<Frame>,
    part: CropBox,
}

impl PartialEq for FrameCrop {
    fn eq(&self, other: &Self) -> bool {
        (self.path(), self.part) == (other.path(), other.part)
    }
}

impl Eq for FrameCrop {}

impl FrameCrop {
    pub(crate) fn of(frame: Arc<Frame>, part: CropBox) -> Self {
        Self { frame, part }
    }

    /// A crop of a frame's file, as its metadata tell of it. `turns_upright`: whether the box is of the frame after it was
    /// turned upright by its EXIF data. Frames over [`MAX_FRAME_PIXELS`] are not decoded.
    pub fn new(frame: PathBuf, part: CropBox, turns_upright: bool, max_bytes: u64) -> Self {
        Self::of(Arc::new(Frame::new(frame, max_bytes, MAX_FRAME_PIXELS, turns_upright)), part)
    }

    /// The frame's file.
    pub fn path(&self) -> &Path {
        &self.frame.path
    }

    /// The crop as a PNG file: its pixels are exactly the frame's, which no lossy format would keep.
    ///
    /// # Errors
    /// [`IntakeError::Malformed`] for a frame that cannot be decoded, or that the part does not lie in.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, IntakeError> {
        let pixels =
            self.frame.pixels().and_then(|frame| cut(frame, self.part).ok_or("the box lies outside the frame"));
        let pixels = pixels.map_err(|reason| IntakeError::malformed(self.path(), reason))?;
        let unwritable = |error: png::EncodingError| IntakeError::malformed(self.path(), error.to_string());
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.part.width_px, self.part.height_px);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().map_err(unwritable)?;
        writer.write_image_data(&pixels).map_err(unwritable)?;
        writer.finish().map_err(unwritable)?;
        Ok(bytes)
    }
}

/// The samples of a part, row after row; none where it is not inside.
fn cut(frame: &RgbImage, part: CropBox) -> Option<Vec<u8>> {
    let (left, top) = (usize::try_from(part.left_px).ok()?, usize::try_from(part.top_px).ok()?);
    let (width, height) = (part.width_px as usize, part.height_px as usize);
    if width == 0 || left.checked_add(width)? > frame.width {
        return None;
    }
    let mut samples = Vec::new();
    for row in top..top.checked_add(height)? {
        let start = (row.checked_mul(frame.width)? + left) * 3;
        samples.extend_from_slice(frame.samples.get(start..start + width * 3)?);
    }
    Some(samples)
}
