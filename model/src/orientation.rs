//! Which way up an image is, as Pillow's `ImageOps.exif_transpose` decides it: by the EXIF data, else by the XMP data.
//!
//! Damaged data turn nothing. Where Pillow raises an exception (no TIFF header), that is so as well: a picture must not be
//! lost for its notes.

use crate::exif::Directory;
use crate::resize::RgbImage;
use image::DynamicImage;
use image::metadata::Orientation;

/// What an image file says beside its pixels, as far as its orientation can stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageNotes {
    /// A TIFF file of its own, with or without `Exif\0\0` before it.
    pub(crate) exif: Option<Vec<u8>>,
    /// An XML packet.
    pub(crate) xmp: Option<Vec<u8>>,
}

impl ImageNotes {
    /// How the pixels are to be turned.
    pub(crate) fn orientation(&self) -> Orientation {
        let of_exif = match self.exif.as_deref().map(Directory::open) {
            None => None,
            // Pillow gives up here, and never asks the XMP data.
            Some(None) => return Orientation::NoTransforms,
            Some(Some(directory)) => directory.orientation(),
        };
        let stated = match of_exif {
            Some(stated) => stated,
            None => self.xmp.as_deref().and_then(of_xmp),
        };
        stated.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }
}

/// Turns decoded pixels.
pub(crate) fn turn(image: RgbImage, orientation: Orientation) -> RgbImage {
    let sides = (u32::try_from(image.width), u32::try_from(image.height));
    let (Ok(width), Ok(height), false) = (sides.0, sides.1, orientation == Orientation::NoTransforms) else {
        return image;
    };
    match image::RgbImage::from_raw(width, height, image.samples) {
        Some(pixels) => {
            let mut turned = DynamicImage::from(pixels);
            turned.apply_orientation(orientation);
            let (width, height) = (turned.width() as usize, turned.height() as usize);
            RgbImage { width, height, samples: turned.into_rgb8().into_raw() }
        }
        // A decoder always fills its image.
        None => RgbImage { width: 0, height: 0, samples: Vec::new() },
    }
}

/// The digit behind the first `tiff:Orientation="` or `tiff:Orientation>`.
fn of_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    packet.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(start, _)| {
        let rest = &packet[start + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|digit| digit.is_ascii_digit()).map(|digit| digit - b'0')
    })
}
