//! What an image file will cost before anybody decodes it: from its header, in microseconds.

use crate::image_preprocess::JPEG_START;
use crate::patience::{Patience, PatientReader};
use crate::{jpeg, png_file};
use image::ImageReader;

/// What decoding and resizing a file costs, in pixels: those of its header, several times where the format goes over them
/// several times, and one more for each byte that is to be read.
///
/// An estimate for sharing out work. A file that is no image, or over `max_pixels`, is refused as soon as somebody begins with
/// it, and costs its bytes alone.
///
/// # Examples
/// ```
/// assert_eq!(descry_model::image_cost(b"not an image", 1_000), 12);
/// ```
pub fn image_cost(bytes: &[u8], max_pixels: u64) -> u64 {
    let (pixels, passes) = match header(bytes) {
        Some(Header { width, height, passes }) => (u64::from(width) * u64::from(height), passes),
        None => (0, 1),
    };
    let decoded = if pixels > max_pixels { 0 } else { pixels.saturating_mul(passes) };
    decoded.saturating_add(bytes.len() as u64)
}

/// What a header says.
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) passes: u64,
}

fn header(bytes: &[u8]) -> Option<Header> {
    if bytes.starts_with(JPEG_START) {
        let frame = jpeg::frame(bytes)?;
        return Some(Header { width: frame.width.into(), height: frame.height.into(), passes: frame.passes });
    }
    if bytes.starts_with(png_file::SIGNATURE) {
        return png_file::size(bytes).map(|(width, height)| Header { width, height, passes: 1 });
    }
    let reader = ImageReader::new(PatientReader::new(bytes, Patience::ENDLESS)).with_guessed_format().ok()?;
    let (width, height) = reader.into_dimensions().ok()?;
    Some(Header { width, height, passes: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_image;
    use std::fs;
    use std::path::Path;

    /// Of every file whose pixels we know, the header is read as its decoder reads it.
    #[test]
    fn headers_say_what_decoders_find() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images");
        let mut files = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let pixels = decode_image(&bytes, 1 << 24, false).unwrap().samples.len() as u64 / 3;
            let decoded = image_cost(&bytes, 1 << 24) - bytes.len() as u64;
            let passes = if path.to_string_lossy().contains("progressive") { 3..=3 } else { 1..=1 };
            assert!(decoded.is_multiple_of(pixels) && passes.contains(&(decoded / pixels)), "{}", path.display());
            assert_eq!(image_cost(&bytes, pixels - 1), bytes.len() as u64, "{}: it is refused", path.display());
            files += 1;
        }
        assert!(files > 5);
    }

    #[test]
    fn a_bitmap_of_seventy_bytes_costs_its_pixels() {
        let mut bomb = b"BM\x46\0\0\0\0\0\0\0\x3e\0\0\0".to_vec();
        for field in [40_u32, 10_000, 5_000, 8 << 16 | 1, 1, 2, 0, 0, 2, 0, 0, 0, 0x0100] {
            bomb.extend(field.to_le_bytes());
        }
        assert!(image_cost(&bomb, 50_000_000) >= 50_000_000);
    }

    #[test]
    fn what_is_no_image_costs_its_bytes() {
        assert_eq!(image_cost(&[], 100), 0);
        assert_eq!(image_cost(JPEG_START, 100), 3);
        assert_eq!(image_cost(png_file::SIGNATURE, 100), 8);
    }
}
