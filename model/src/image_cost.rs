//! What an image file will cost before anybody decodes it: from its header in microseconds, but for the scans of a JPEG, which
//! only the whole file tells, in two tenths of a millisecond for a megabyte.

use crate::image_preprocess::JPEG_START;
use crate::webp_file::{WebpFile, is_webp};
use crate::{jpeg, png_file};

/// What a byte of a lossless WebP costs, in pixels: tables of codes take far more memory and time than they do in the file.
const LOSSLESS_BYTE_COST: u64 = 8;

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
    let decoded = match header(bytes, max_pixels) {
        Some(Header { pixels, passes, beside }) if pixels <= max_pixels => {
            pixels.saturating_mul(passes).saturating_add(beside)
        }
        Some(_) | None => 0,
    };
    decoded.saturating_add(bytes.len() as u64)
}

/// What a header says.
struct Header {
    pixels: u64,
    passes: u64,
    /// What else costs, in pixels.
    beside: u64,
}

fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

fn header(bytes: &[u8], max_pixels: u64) -> Option<Header> {
    if bytes.starts_with(JPEG_START) {
        let frame = jpeg::frame(bytes)?;
        return Some(Header {
            pixels: pixels(frame.width.into(), frame.height.into()),
            passes: frame.passes,
            beside: 0,
        });
    }
    if bytes.starts_with(png_file::SIGNATURE) {
        return match png_file::size(bytes) {
            // One that is cut short is decoded twice.
            png_file::Size::Stated { width, height, is_interlaced } => {
                Some(Header { pixels: pixels(width, height), passes: if is_interlaced { 2 } else { 1 }, beside: 0 })
            }
            png_file::Size::TooFarOff => Some(Header { pixels: max_pixels, passes: 2, beside: 0 }),
            png_file::Size::Missing => None,
        };
    }
    if is_webp(bytes) {
        let file = WebpFile::open(bytes).ok()?;
        let lossless = file.lossless_bytes.saturating_mul(LOSSLESS_BYTE_COST);
        return Some(Header { pixels: pixels(file.size.0, file.size.1), passes: file.passes, beside: lossless });
    }
    bitmap_size(bytes).map(|(width, height)| Header { pixels: pixels(width, height), passes: 1, beside: 0 })
}

/// Where a BMP file's header says its width and height; a height below zero says that rows go down.
pub(crate) fn bitmap_size(bytes: &[u8]) -> Option<(u32, u32)> {
    /// Of the oldest headers, whose sides take two bytes each.
    const CORE_HEADER_BYTES: u32 = 12;
    let header = bytes.strip_prefix(b"BM")?.get(12..)?;
    let sides = header.get(4..)?;
    if u32::from_le_bytes(*header.first_chunk()?) == CORE_HEADER_BYTES {
        let side = |at: usize| sides.get(at..)?.first_chunk().map(|&side| u32::from(u16::from_le_bytes(side)));
        return Some((side(0)?, side(2)?));
    }
    let side = |at: usize| sides.get(at..)?.first_chunk().map(|&side| i32::from_le_bytes(side));
    Some((u32::try_from(side(0)?).ok()?, side(4)?.unsigned_abs()))
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
            let passes = if path.to_string_lossy().contains("progressive") { 3 } else { 1 };
            let lossless = WebpFile::open(&bytes).map_or(0, |file| file.lossless_bytes);
            assert_eq!(lossless > 0, path.to_string_lossy().contains("lossless"), "{}", path.display());
            let expected = pixels * passes + lossless * LOSSLESS_BYTE_COST + bytes.len() as u64;
            assert_eq!(image_cost(&bytes, 1 << 24), expected, "{}", path.display());
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
    fn a_bitmap_says_its_size_in_two_ways() {
        let of = |header: &[u8]| bitmap_size(&[b"BM", &[0; 12][..], header].concat());
        let long = |width: i32, height: i32| of(&[40, width, height].map(i32::to_le_bytes).concat());
        assert_eq!(long(300, 70_000), Some((300, 70_000)));
        assert_eq!(long(300, -200), Some((300, 200)), "rows go down");
        assert_eq!(long(-300, 200), None);
        assert_eq!(of(&[12, 0, 0, 0, 44, 1, 200, 0]), Some((300, 200)));
        assert_eq!(of(&[12, 0, 0, 0, 44, 1, 200]), None);
        assert_eq!(of(&[]), None);
    }

    /// The decoder takes the header wherever it stands before the pixels.
    #[test]
    fn a_header_behind_other_chunks_is_found() {
        let chunk = |name: &[u8; 4], content: &[u8]| {
            let mut crc = flate2::Crc::new();
            crc.update(name);
            crc.update(content);
            [&(content.len() as u32).to_be_bytes()[..], name, content, &crc.sum().to_be_bytes()].concat()
        };
        let header = chunk(b"IHDR", &[&[0, 0, 100, 0].repeat(2)[..], &[8, 0, 0, 0, 0]].concat());
        let behind = |notes: usize| {
            let file = [png_file::SIGNATURE, &chunk(b"noTe", &[]).repeat(notes), &header].concat();
            image_cost(&file, u64::MAX >> 8) - file.len() as u64
        };
        let side = 100 << 8;
        assert_eq!(behind(0), side * side);
        assert_eq!(behind(1), side * side);
        assert_eq!(behind(4_095), side * side);
        assert!(behind(4_096) >= u64::MAX >> 8, "nobody knows");
        let no_header = [png_file::SIGNATURE, &chunk(b"IDAT", &[]), &header].concat();
        assert_eq!(image_cost(&no_header, u64::MAX >> 8), no_header.len() as u64, "it is refused");
    }

    #[test]
    fn what_is_no_image_costs_its_bytes() {
        assert_eq!(image_cost(&[], 100), 0);
        assert_eq!(image_cost(JPEG_START, 100), 3);
        assert_eq!(image_cost(png_file::SIGNATURE, 100), 8);
    }
}
