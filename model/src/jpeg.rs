//! JPEG pixels as libjpeg-turbo gives them, the decoder under Pillow and under every published result.
//!
//! Decoders round differently at subsampled colours; a mean difference of a quarter of a grey level moves small models'
//! embeddings to a cosine of 0.999 and their Rank-1 by half a point. mozjpeg's decoder is libjpeg-turbo's.
//!
//! No other reader comes before it: whatever libjpeg reads is read, arithmetic coding and unusual sampling factors included.
//! Pictures of 12 bits a sample and lossless ones are refused, as Pillow refuses them.

use crate::ModelError;
use crate::orientation::ImageNotes;
use crate::patience::{Checkpoint, Patience, PatientReader};
use crate::resize::RgbImage;
use mozjpeg::Decompress;
use mozjpeg::decompress::{DecompressStarted, Format};
use std::io::{self, BufRead as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Decodes a JPEG to RGB. The size is checked as libjpeg itself reads it, before it allocates for pixels: two readers of
/// one header can disagree.
///
/// # Errors
/// [`ModelError::ImageTooLarge`]; [`ModelError::Image`] for data that is cut short, that comes in more scans than any program
/// writes, or that libjpeg cannot decode; [`ModelError::Abandoned`].
pub(crate) fn decode(bytes: &[u8], max_pixels: u64, patience: Patience<'_>) -> Result<RgbImage, ModelError> {
    let scans = check_segments(bytes)?;
    // libjpeg's fatal errors arrive as unwinding, without a panic message. It leaves nothing behind that is used again.
    match catch_unwind(AssertUnwindSafe(|| decode_or_unwind(bytes, &scans, max_pixels, patience))) {
        Ok(result) => result.map_err(|error| patience.or_abandoned(error)),
        Err(fatal) => match fatal.downcast::<String>() {
            Ok(message) => Err(patience.or_abandoned(ModelError::Image { reason: explain(*message) })),
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

/// - `scans`: where each of them begins; a few bytes between two can cost as much as all others
fn decode_or_unwind(
    bytes: &[u8],
    scans: &[usize],
    max_pixels: u64,
    patience: Patience<'_>,
) -> Result<RgbImage, ModelError> {
    let source = PatientReader::with_borders(bytes, patience, scans);
    let decompress = Decompress::new_reader(source).map_err(unreadable)?;
    let (width, height) = decompress.size();
    let pixels = width as u64 * height as u64;
    if pixels > max_pixels {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        return Err(ModelError::ImageTooLarge { width: side(width), height: side(height), max_pixels });
    }
    if pixels.saturating_mul(scans.len() as u64) > max_pixels.saturating_mul(MAX_SCANS_OF_LARGEST) {
        let reason = format!(
            "the JPEG data goes over {width}x{height} pixels in {} scans, expected at most {MAX_SCANS_OF_LARGEST} times \
             {max_pixels} pixels; save the picture again",
            scans.len()
        );
        return Err(ModelError::Image { reason });
    }
    to_rgb(decompress.image().map_err(unreadable)?, patience)
}

fn unreadable(error: io::Error) -> ModelError {
    ModelError::Image { reason: error.to_string() }
}

fn to_rgb(started: Format<PatientReader<'_>>, patience: Patience<'_>) -> Result<RgbImage, ModelError> {
    let (width, height, samples) = match started {
        Format::RGB(started) => read(started, patience)?,
        Format::Gray(started) => {
            let (width, height, grey) = read(started, patience)?;
            (width, height, grey.into_iter().flat_map(|level| [level; 3]).collect())
        }
        Format::CMYK(started) => {
            let (width, height, inks) = read(started, patience)?;
            (width, height, inks.chunks_exact(4).flat_map(rgb_of_inverted_cmyk).collect())
        }
    };
    Ok(RgbImage { width, height, samples })
}

fn read(
    mut started: DecompressStarted<PatientReader<'_>>,
    patience: Patience<'_>,
) -> Result<(usize, usize, Vec<u8>), ModelError> {
    let size = (started.width(), started.height());
    let mut checkpoint = Checkpoint::new(patience);
    let mut samples = vec![0; started.min_flat_buffer_size()];
    let row_length = samples.len() / size.1.max(1);
    for row in samples.chunks_exact_mut(row_length.max(1)) {
        started.read_scanlines_into(row).map_err(unreadable)?;
        checkpoint.pass(row.len())?;
    }
    started.finish().map_err(unreadable)?;
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
            Segment { marker: APPLICATION_1, content, .. } if content.starts_with(EXIF) => match &mut notes.exif {
                Some(begun) => begun.extend(&content[EXIF.len()..]),
                None => notes.exif = Some(content.to_vec()),
            },
            Segment { marker: APPLICATION_1, content, .. } if content.starts_with(XMP) => {
                notes.xmp = Some(content[XMP.len()..].to_vec());
            }
            Segment { .. } => {}
        }
    }
    notes
}

/// What decoding goes over.
pub(crate) struct Frame {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// How often it goes over the picture.
    pub(crate) passes: u64,
}

/// The frame that is decoded; `None` where decoding refuses the file before it begins. The whole file is walked, as only that
/// tells how many scans there are: two tenths of a millisecond for a megabyte.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    let scans = check_segments(bytes).ok()?.len();
    let mut segments = Segments::of(bytes).take_while(|segment| segment.marker != START_OF_SCAN);
    let Segment { marker, content, .. } = segments.find(|segment| START_OF_FRAME.contains(&segment.marker))?;
    let (&height, &width) = (content.get(1..)?.first_chunk()?, content.get(3..)?.first_chunk()?);
    Some(Frame {
        width: u16::from_be_bytes(width),
        height: u16::from_be_bytes(height),
        passes: passes(scans, PROGRESSIVE_FRAMES.contains(&marker)),
    })
}

/// Four scans count as one pass: most go over one colour or a few frequencies, and cost a part of what a baseline picture's
/// only scan does. None costs more than that one by itself, so nobody pays less than a quarter.
fn passes(scans: usize, is_progressive: bool) -> u64 {
    const SCANS_A_PASS: usize = 4;
    const PROGRESSIVE_PASSES: u64 = 3;
    let passes = scans.div_ceil(SCANS_A_PASS) as u64;
    passes.max(if is_progressive { PROGRESSIVE_PASSES } else { 1 })
}

/// Checks that the data goes on to the end marker, and how often it goes over the picture. Returns where each scan begins.
///
/// libjpeg fills the missing rest of a cut file with grey, and its embedding would be quietly wrong. That nothing but the
/// marker is missing cannot be seen from outside, so such a file is refused, too, as Pillow refuses most of them. Segments are
/// walked, because a thumbnail in the header has an end marker of its own.
///
/// Each scan may cost as much as decoding the whole picture, and needs ten bytes.
fn check_segments(bytes: &[u8]) -> Result<Vec<usize>, ModelError> {
    let refused = |reason: String| Err(ModelError::Image { reason });
    let mut scans = Vec::new();
    for (number, Segment { marker, position, .. }) in Segments::of(bytes).enumerate() {
        match marker {
            _ if scans.is_empty() && number >= MAX_HEADER_SEGMENTS => {
                return refused(format!(
                    "the JPEG data begins with more than {MAX_HEADER_SEGMENTS} segments, which no program writes; save the \
                     picture again"
                ));
            }
            START_OF_SCAN if scans.len() == MAX_SCANS => {
                return refused(format!(
                    "the JPEG data comes in more than {MAX_SCANS} scans, which no program writes; save the picture again"
                ));
            }
            START_OF_SCAN => scans.push(position),
            END_OF_IMAGE => return Ok(scans),
            _ => {}
        }
    }
    refused("the JPEG data is cut short (no end marker)".to_owned())
}

/// Before the pixels: tables, and notes of up to 64 kB each.
const MAX_HEADER_SEGMENTS: usize = 4_096;
/// Progressive files come in about ten scans.
const MAX_SCANS: usize = 200;
/// Of an image of as many pixels as are allowed. No program that is known writes more than sixteen.
const MAX_SCANS_OF_LARGEST: u64 = 24;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
const APPLICATION_1: u8 = 0xE1;
/// Of what libjpeg decodes: baseline, extended and progressive, coded by Huffman or arithmetically.
const START_OF_FRAME: [u8; 5] = [0xC0, 0xC1, 0xC2, 0xC9, 0xCA];
const PROGRESSIVE_FRAMES: [u8; 2] = [0xC2, 0xCA];

/// A marker, and the bytes that belong to it.
struct Segment<'data> {
    marker: u8,
    position: usize,
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
                    // The only search of the standard library's that takes many bytes at once.
                    let mut rest = &self.bytes[position + 1..];
                    let skipped = rest.skip_until(0xFF).unwrap_or_default();
                    let is_found = self.bytes.get(position + skipped) == Some(&0xFF) && skipped > 0;
                    self.position = position + skipped + usize::from(!is_found);
                    continue;
                }
            };
            match marker {
                END_OF_IMAGE => {
                    self.position = self.bytes.len();
                    return Some(Segment { marker, position, content: &[] });
                }
                // Fill bytes; then stuffed data, restart markers and other markers without a segment. Where it looks for a
                // restart marker, libjpeg skips the reserved ones below the frames' as well: what stands behind them counts.
                0xFF => self.position += 1,
                0x00..0xC0 | 0xD0..=0xD8 => self.position += 2,
                _ => {
                    let &length = self.bytes.get(position + 2..)?.first_chunk()?;
                    self.position = position + 2 + usize::from(u16::from_be_bytes(length));
                    let end = self.position.min(self.bytes.len());
                    return Some(Segment {
                        marker,
                        position,
                        content: self.bytes.get(position + 4..end).unwrap_or_default(),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
