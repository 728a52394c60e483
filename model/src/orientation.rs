//! Which way up an image is, as Pillow's `ImageOps.exif_transpose` decides it: by the EXIF data, else by the XMP data.
//!
//! Damaged data turn nothing. Where Pillow raises an exception (no TIFF header), that is so as well: a picture must not be
//! lost for its notes.

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

const EXIF_MARK: &[u8] = b"Exif\0\0";
const ORIENTATION: u64 = 0x0112;
/// TIFF's types: bytes a value takes, by their number.
const UNIT_BYTES: [(u64, u64); 14] = [
    (1, 1),
    (2, 1),
    (3, 2),
    (4, 4),
    (5, 8),
    (6, 1),
    (7, 1),
    (8, 2),
    (9, 4),
    (10, 8),
    (11, 4),
    (12, 8),
    (13, 4),
    (16, 8),
];

/// The first directory of a TIFF file.
struct Directory<'data> {
    data: &'data [u8],
    is_big_endian: bool,
    start: usize,
}

impl<'data> Directory<'data> {
    /// `None` without a TIFF header.
    fn open(exif: &'data [u8]) -> Option<Self> {
        let data = (0..2).fold(exif, |data, _| data.strip_prefix(EXIF_MARK).unwrap_or(data));
        if data.is_empty() {
            // Nothing is said, which is no fault.
            return Some(Self { data, is_big_endian: false, start: 0 });
        }
        let is_big_endian = match data.get(..4)? {
            // Pillow takes the two numbers in either order, and the big-endian mark of a large TIFF for a small one.
            b"MM\0\x2a" | b"MM\x2a\0" | b"MM\0\x2b" => true,
            b"II\x2a\0" | b"II\0\x2a" => false,
            _ => return None,
        };
        let mut directory = Self { data, is_big_endian, start: 0 };
        directory.start = directory.number(data.get(4..8)?) as usize;
        Some(directory)
    }

    /// The value of the orientation's entry. `None` where there is no such entry; `Some(None)` where it is no whole number.
    fn orientation(&self) -> Option<Option<u8>> {
        const ENTRY_BYTES: usize = 12;
        let entries = self.data.get(self.start..)?;
        let count = self.number(entries.get(..2)?) as usize;
        let mut out_of_line_bytes = 0;
        // A directory that is cut short counts as far as it goes.
        for entry in entries.get(2..)?.chunks_exact(ENTRY_BYTES).take(count) {
            let (tag, kind) = (self.number(&entry[..2]), self.number(&entry[2..4]));
            let (count, place) = (self.number(&entry[4..8]), &entry[8..]);
            let Some(&(_, unit)) = UNIT_BYTES.iter().find(|&&(known, _)| known == kind) else { continue };
            let bytes = count * unit;
            let value = if bytes <= 4 {
                &place[..bytes as usize]
            } else {
                out_of_line_bytes += bytes;
                if out_of_line_bytes > self.data.len() as u64 {
                    continue;
                }
                let offset = self.number(place) as usize;
                // Pillow ends here too: what follows is not read.
                self.data.get(offset..)?.get(..bytes as usize)?
            };
            if tag == ORIENTATION && !value.is_empty() {
                return Some(self.first_value(kind, value));
            }
        }
        None
    }

    /// The first of an entry's values, if it is a whole number. Text and bytes are none to Pillow.
    fn first_value(&self, kind: u64, value: &[u8]) -> Option<u8> {
        let unsigned = |bytes: usize| value.get(..bytes).map(|bytes| self.number(bytes));
        let whole = match kind {
            3 | 8 => unsigned(2)?,
            4 | 9 | 13 => unsigned(4)?,
            6 => unsigned(1)?,
            16 => unsigned(8)?,
            5 | 10 => {
                let (numerator, denominator) = (unsigned(4)?, self.number(value.get(4..8)?));
                (denominator != 0 && numerator % denominator == 0).then(|| numerator / denominator)?
            }
            11 => return whole(f64::from(f32::from_bits(unsigned(4)? as u32))),
            12 => return whole(f64::from_bits(unsigned(8)?)),
            _ => return None,
        };
        u8::try_from(whole).ok()
    }

    /// Of at most eight bytes.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |number: u64, &byte: &u8| (number << 8) | u64::from(byte);
        if self.is_big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }
}

fn whole(value: f64) -> Option<u8> {
    (0.0..=255.0).contains(&value).then_some(value as u8).filter(|&whole| f64::from(whole) == value)
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
