//! JPEG pixels as libjpeg-turbo gives them, the decoder under Pillow and under every published result.
//!
//! Decoders round differently at subsampled colours; a mean difference of a quarter of a grey level moves small models'
//! embeddings to a cosine of 0.999 and their Rank-1 by half a point. mozjpeg's decoder is libjpeg-turbo's.

use crate::ModelError;
use crate::resize::RgbImage;
use mozjpeg::Decompress;
use mozjpeg::decompress::{DecompressStarted, Format};
use std::io;
use std::panic::{catch_unwind, resume_unwind};

/// Decodes a JPEG to RGB. The size is checked as libjpeg itself reads it, before it allocates for pixels: two readers of
/// one header can disagree.
///
/// # Errors
/// [`ModelError::ImageTooLarge`]; [`ModelError::Image`] for data that is cut short or that libjpeg cannot decode.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, ModelError> {
    if !is_complete(bytes) {
        return Err(ModelError::Image { reason: "the JPEG data is cut short (no end marker)".to_owned() });
    }
    // libjpeg's fatal errors arrive as unwinding, without a panic message.
    match catch_unwind(|| decode_or_unwind(bytes, max_pixels)) {
        Ok(result) => result,
        Err(fatal) => match fatal.downcast::<String>() {
            Ok(message) => Err(ModelError::Image { reason: *message }),
            // Not libjpeg's: a defect of ours or of a library.
            Err(panic) => resume_unwind(panic),
        },
    }
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

/// Whether the data goes on to the end marker. libjpeg fills the missing rest of a cut file with grey, and its embedding
/// would be quietly wrong. Segments are walked, because a thumbnail in the header has an end marker of its own.
fn is_complete(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    let mut position = 2;
    while let Some(&byte) = bytes.get(position) {
        let marker = match (byte, bytes.get(position + 1)) {
            (0xFF, Some(&marker)) => marker,
            // Stray bytes between segments are skipped, as libjpeg does.
            _ => {
                position += 1;
                continue;
            }
        };
        match marker {
            END_OF_IMAGE => return true,
            // Fill bytes; then stuffed data, restart markers and other markers without a segment.
            0xFF => position += 1,
            0x00 | 0x01 | 0xD0..=0xD8 => position += 2,
            _ => {
                let (Some(&high), Some(&low)) = (bytes.get(position + 2), bytes.get(position + 3)) else {
                    return false;
                };
                // Behind a start of scan come entropy-coded bytes, which the loop passes over.
                position += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
    false
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
            assert!(!is_complete(&PROGRESSIVE[..length]), "cut to {length} bytes");
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
