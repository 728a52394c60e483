//! JPEG pixels as libjpeg-turbo gives them, the decoder under Pillow and under every published result.
//!
//! Decoders round differently at subsampled colours; a mean difference of a quarter of a grey level moves small models'
//! embeddings to a cosine of 0.999 and their Rank-1 by half a point. mozjpeg's decoder is libjpeg-turbo's.
//!
//! No other reader comes before it: whatever libjpeg reads is read, arithmetic coding and unusual sampling factors included.
//! Pictures of 12 bits a sample and lossless ones are refused, as Pillow refuses them.

use crate::ModelError;
use crate::orientation::ImageNotes;
use crate::resize::RgbImage;
use mozjpeg::Decompress;
use mozjpeg::decompress::{DecompressStarted, Format};
use std::io;
use std::panic::{catch_unwind, resume_unwind};

/// Decodes a JPEG to RGB. The size is checked as libjpeg itself reads it, before it allocates for pixels: two readers of
/// one header can disagree.
///
/// # Errors
/// [`ModelError::ImageTooLarge`]; [`ModelError::Image`] for data that is cut short, that comes in more scans than any program
/// writes, or that libjpeg cannot decode.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, ModelError> {
    check_segments(bytes)?;
    // libjpeg's fatal errors arrive as unwinding, without a panic message.
    match catch_unwind(|| decode_or_unwind(bytes, max_pixels)) {
        Ok(result) => result,
        Err(fatal) => match fatal.downcast::<String>() {
            Ok(message) => Err(ModelError::Image { reason: explain(*message) }),
            // Not libjpeg's: a defect of ours or of a library.
            Err(panic) => resume_unwind(panic),
        },
    }
}

/// libjpeg's words, with what they mean where it speaks in numbers.
fn explain(message: String) -> String {
    const LOSSLESS: [&str; 8] = ["0xc3", "0xc5", "0xc6", "0xc7", "0xcb", "0xcd", "0xce", "0xcf"];
    if message.contains("precision") {
        return format!("{message}; JPEGs of 8 bits a sample are read, convert it to one");
    }
    if LOSSLESS.iter().any(|process| message.to_lowercase().contains(process)) {
        return format!("{message} (lossless or hierarchical JPEG, which is not read); convert it to a baseline JPEG");
    }
    message
}

fn decode_or_unwind(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, ModelError> {
    let unreadable = |error: io::Error| ModelError::Image { reason: error.to_string() };
    let decompress = Decompress::new_mem(bytes).map_err(unreadable)?;
    let (width, height) = decompress.size();
    if width as u64 * height as u64 > max_pixels {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        return Err(ModelError::ImageTooLarge { width: side(width), height: side(height), max_pixels });
    }
    to_rgb(decompress.image().map_err(unreadable)?).map_err(unreadable)
}

fn to_rgb(started: Format<&[u8]>) -> io::Result<RgbImage> {
    let (width, height, samples) = match started {
        Format::RGB(started) => read(started)?,
        Format::Gray(started) => {
            let (width, height, grey) = read(started)?;
            (width, height, grey.into_iter().flat_map(|level| [level; 3]).collect())
        }
        Format::CMYK(started) => {
            let (width, height, inks) = read(started)?;
            (width, height, inks.chunks_exact(4).flat_map(rgb_of_inverted_cmyk).collect())
        }
    };
    Ok(RgbImage { width, height, samples })
}

fn read<Source: io::BufRead>(mut started: DecompressStarted<Source>) -> io::Result<(usize, usize, Vec<u8>)> {
    let size = (started.width(), started.height());
    let samples = started.read_scanlines::<u8>()?;
    started.finish()?;
    Ok((size.0, size.1, samples))
}

/// Adobe stores the inks inverted, and Pillow takes every CMYK JPEG for Adobe's: `255 - black - ink`, each ink scaled by
/// what black leaves.
fn rgb_of_inverted_cmyk(inverted: &[u8]) -> [u8; 3] {
    let light = u32::from(inverted[3]);
    std::array::from_fn(|channel| {
        let product = (255 - u32::from(inverted[channel])) * light + 128;
        (light - (((product >> 8) + product) >> 8)) as u8
    })
}

/// What the file says of its orientation. As Pillow reads it: what stands before the pixels, pieces of EXIF data put
/// together, and of several XMP packets the last.
pub(crate) fn notes(bytes: &[u8]) -> ImageNotes {
    const EXIF: &[u8] = b"Exif\0\0";
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut notes = ImageNotes::default();
    for segment in Segments::of(bytes).take_while(|segment| segment.marker != START_OF_SCAN) {
        match segment {
            Segment { marker: APPLICATION_1, content } if content.starts_with(EXIF) => match &mut notes.exif {
                Some(begun) => begun.extend(&content[EXIF.len()..]),
                None => notes.exif = Some(content.to_vec()),
            },
            Segment { marker: APPLICATION_1, content } if content.starts_with(XMP) => {
                notes.xmp = Some(content[XMP.len()..].to_vec());
            }
            Segment { .. } => {}
        }
    }
    notes
}

/// Checks that the data goes on to the end marker, and how often it goes over the picture.
///
/// libjpeg fills the missing rest of a cut file with grey, and its embedding would be quietly wrong. That nothing but the
/// marker is missing cannot be seen from outside, so such a file is refused, too, as Pillow refuses most of them. Segments are
/// walked, because a thumbnail in the header has an end marker of its own.
///
/// Each scan may cost as much as decoding the whole picture, and needs ten bytes.
fn check_segments(bytes: &[u8]) -> Result<(), ModelError> {
    let refused = |reason: String| Err(ModelError::Image { reason });
    let mut scans = 0;
    for Segment { marker, .. } in Segments::of(bytes) {
        match marker {
            START_OF_SCAN if scans == MAX_SCANS => {
                return refused(format!(
                    "the JPEG data comes in more than {MAX_SCANS} scans, which no program writes; save the picture again"
                ));
            }
            START_OF_SCAN => scans += 1,
            END_OF_IMAGE => return Ok(()),
            _ => {}
        }
    }
    refused("the JPEG data is cut short (no end marker)".to_owned())
}

/// Progressive files come in about ten scans.
const MAX_SCANS: usize = 200;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
const APPLICATION_1: u8 = 0xE1;

/// A marker, and the bytes that belong to it.
struct Segment<'data> {
    marker: u8,
    content: &'data [u8],
}

/// Everything from the start marker to the end marker but the pixels.
struct Segments<'data> {
    bytes: &'data [u8],
    position: usize,
}

impl<'data> Segments<'data> {
    fn of(bytes: &'data [u8]) -> Self {
        Self { bytes, position: 2 }
    }
}

impl<'data> Iterator for Segments<'data> {
    type Item = Segment<'data>;

    fn next(&mut self) -> Option<Segment<'data>> {
        loop {
            let position = self.position;
            let marker = match (*self.bytes.get(position)?, self.bytes.get(position + 1)) {
                (0xFF, Some(&marker)) => marker,
                // Stray bytes between segments are skipped, as libjpeg does. Behind a start of scan come entropy-coded ones.
                _ => {
                    self.position += 1;
                    continue;
                }
            };
            match marker {
                END_OF_IMAGE => {
                    self.position = self.bytes.len();
                    return Some(Segment { marker, content: &[] });
                }
                // Fill bytes; then stuffed data, restart markers and other markers without a segment.
                0xFF => self.position += 1,
                0x00 | 0x01 | 0xD0..=0xD8 => self.position += 2,
                _ => {
                    let &length = self.bytes.get(position + 2..)?.first_chunk()?;
                    self.position = position + 2 + usize::from(u16::from_be_bytes(length));
                    let end = self.position.min(self.bytes.len());
                    return Some(Segment { marker, content: self.bytes.get(position + 4..end).unwrap_or_default() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROGRESSIVE: &[u8] = include_bytes!("../tests/data/images/04_progressive.jpg");

    const MAX_PIXELS: u64 = 1 << 24;

    /// A marker that one reader takes for a segment and the other skips hides one image behind another.
    #[test]
    fn the_limit_holds_for_the_image_that_is_decoded() {
        let frame = |marker: u8, content: &[u8]| {
            let length = (content.len() as u16 + 2).to_be_bytes();
            [&[0xFF, marker], &length[..], content].concat()
        };
        let size = 20_000_u16.to_be_bytes();
        let start_of_frame = [&[8][..], &size, &size, &[1, 1, 0x11, 0]].concat();
        let scan = frame(0xDA, &[1, 1, 0, 0, 63, 0]);
        let bomb = [&[0xFF, 0xD8, 0xFF, 0x01][..], &frame(0xC0, &start_of_frame), &scan, &[0xFF, 0xD9]].concat();
        let found = decode(&bomb, MAX_PIXELS);
        assert!(matches!(found, Err(ModelError::ImageTooLarge { width: 20_000, .. })), "{found:?}");
    }

    #[test]
    fn every_cut_is_noticed() {
        assert!(decode(PROGRESSIVE, MAX_PIXELS).is_ok());
        for length in 2..PROGRESSIVE.len() - 1 {
            assert!(check_segments(&PROGRESSIVE[..length]).is_err(), "cut to {length} bytes");
        }
    }

    /// Each costs as much as the whole picture, and hardly a byte.
    #[test]
    fn there_are_not_more_scans_than_anybody_writes() {
        let scan = PROGRESSIVE.windows(2).rposition(|pair| pair == [0xFF, START_OF_SCAN]).unwrap();
        let end = PROGRESSIVE.len() - 2;
        let of_scans = |count: usize| {
            let again = PROGRESSIVE[scan..scan + 2 + usize::from(PROGRESSIVE[scan + 3])].repeat(count);
            [&PROGRESSIVE[..end], &again, &PROGRESSIVE[end..]].concat()
        };
        let refused = decode(&of_scans(MAX_SCANS), MAX_PIXELS).unwrap_err().to_string();
        assert!(refused.contains("more than 200 scans"), "{refused}");
        assert!(check_segments(&of_scans(100)).is_ok());
    }

    #[test]
    fn every_process_that_is_not_read_is_named() {
        for process in ["0xc3", "0xce", "0xcf"] {
            let told = explain(format!("Unsupported JPEG process: SOF type {process}"));
            assert!(told.contains("lossless or hierarchical"), "{told}");
        }
    }

    #[test]
    fn bytes_behind_the_end_do_no_harm() {
        let mut appended = PROGRESSIVE.to_vec();
        appended.extend(b"a camera's own notes");
        assert_eq!(decode(&appended, MAX_PIXELS).unwrap(), decode(PROGRESSIVE, MAX_PIXELS).unwrap());
    }

    proptest! {
        #[test]
        fn damaged_files_are_decoded_or_refused(position in 0..PROGRESSIVE.len(), byte: u8) {
            let mut damaged = PROGRESSIVE.to_vec();
            damaged[position] = byte;
            if let Ok(image) = decode(&damaged, MAX_PIXELS) {
                prop_assert_eq!(image.samples.len(), image.width * image.height * 3);
            }
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes, MAX_PIXELS).is_err());
        }
    }
}
