//! What an image file tells before anybody decodes it: its size, which way up it is, and when it was taken.

use crate::exif::{Directory, ExifTime};
use crate::image_cost::bitmap_size;
use crate::image_preprocess::JPEG_START;
use crate::jpeg;
use crate::orientation::ImageNotes;
use crate::png_file::{self, PngFile};
use crate::webp_file::{WebpFile, is_webp};
use image::metadata::Orientation;

/// The size of an image file, and what it notes of its orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Width of the pixels as they are stored.
    pub width_px: u32,
    /// Height of them.
    pub height_px: u32,
    orientation: Orientation,
}

impl ImageHeader {
    /// Reads the header of a whole file. `None` where decoding refuses the file before it begins, or where only decoding tells.
    /// That there is a header says nothing of the pixels.
    pub fn read(file: &[u8]) -> Option<Self> {
        let (width_px, height_px) = size(file)?;
        let orientation = notes(file).orientation();
        (width_px > 0 && height_px > 0).then_some(Self { width_px, height_px, orientation })
    }

    /// Whether turning the picture upright changes it.
    pub fn is_turned(&self) -> bool {
        self.orientation != Orientation::NoTransforms
    }

    /// Width and height of the picture in pixels, as [`decode_image`](crate::decode_image) gives them.
    pub fn size_px(&self, apply_exif_orientation: bool) -> (u32, u32) {
        let is_quarter_turn = match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => true,
            Orientation::NoTransforms
            | Orientation::Rotate180
            | Orientation::FlipHorizontal
            | Orientation::FlipVertical => false,
        };
        if is_quarter_turn && apply_exif_orientation {
            (self.height_px, self.width_px)
        } else {
            (self.width_px, self.height_px)
        }
    }
}

/// When a picture was taken, by its EXIF data. Of a JPEG, what stands before the pixels is enough of the file.
pub fn exif_time(file: &[u8]) -> Option<ExifTime> {
    Directory::open(notes(file).exif.as_deref()?)?.taken()
}

fn size(file: &[u8]) -> Option<(u32, u32)> {
    if file.starts_with(JPEG_START) {
        return jpeg::frame(file).map(|frame| (frame.width.into(), frame.height.into()));
    }
    if file.starts_with(png_file::SIGNATURE) {
        return match png_file::size(file) {
            png_file::Size::Stated { width, height, .. } => Some((width, height)),
            png_file::Size::TooFarOff | png_file::Size::Missing => None,
        };
    }
    if is_webp(file) {
        return WebpFile::open(file).ok().map(|file| file.size);
    }
    bitmap_size(file)
}

/// Damaged files say nothing.
fn notes(file: &[u8]) -> ImageNotes {
    if file.starts_with(JPEG_START) {
        jpeg::notes(file)
    } else if file.starts_with(png_file::SIGNATURE) {
        PngFile::open(file, true).map(|file| file.notes).unwrap_or_default()
    } else if is_webp(file) {
        WebpFile::open(file).map(|file| file.notes()).unwrap_or_default()
    } else {
        ImageNotes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_image;
    use std::fs;
    use std::path::Path;

    /// Of every file whose pixels we know, upright and as it is stored.
    #[test]
    fn headers_say_what_decoders_find() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images");
        let mut files = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let header = ImageHeader::read(&bytes).unwrap();
            for upright in [false, true] {
                let decoded = decode_image(&bytes, 1 << 24, upright).unwrap();
                let found = (decoded.width as u32, decoded.height as u32);
                assert_eq!(header.size_px(upright), found, "{}", path.display());
            }
            files += 1;
        }
        assert!(files > 5);
        assert_eq!(ImageHeader::read(b"no image"), None);
        assert_eq!((ImageHeader::read(&[]), exif_time(&[])), (None, None));
    }

    #[test]
    fn a_lying_picture_is_as_wide_as_it_is_high_upright() {
        // TIFF data of one entry: the orientation is 6.
        let note = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut jpeg = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(16, 8).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let jpeg = jpeg.into_inner();
        let length = (note.len() as u16 + 2).to_be_bytes();
        let turned = [&jpeg[..2], &[0xff, 0xe1], &length, note, &jpeg[2..]].concat();
        let header = ImageHeader::read(&turned).unwrap();
        assert!(header.is_turned() && !ImageHeader::read(&jpeg).unwrap().is_turned());
        assert_eq!((header.size_px(false), header.size_px(true)), ((16, 8), (8, 16)));
        assert_eq!(ImageHeader::read(&turned[..turned.len() - 2]), None, "it is cut short");
    }
}
