//! JPEG pixels as libjpeg-turbo gives them, the decoder under Pillow and under every published result.
//!
//! Decoders round differently at subsampled colours; a mean difference of a quarter of a grey level moves small models'
//! embeddings to a cosine of 0.999 and their Rank-1 by half a point. mozjpeg's decoder is libjpeg-turbo's.

use crate::ModelError;
use crate::resize::RgbImage;
use mozjpeg::Decompress;
use mozjpeg::decompress::{DecompressStarted, Format};
use std::any::Any;
use std::io;
use std::panic::catch_unwind;

/// Decodes a JPEG to RGB. The caller has checked the header's size.
///
/// # Errors
/// [`ModelError::Image`] for data that is cut short or that libjpeg cannot decode.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, ModelError> {
    if !is_complete(bytes) {
        return Err(ModelError::Image { reason: "the JPEG data is cut short (no end marker)".to_owned() });
    }
    // libjpeg's fatal errors arrive as unwinding, without a panic message.
    match catch_unwind(|| decode_or_unwind(bytes)) {
        Ok(Ok(image)) => Ok(image),
        Ok(Err(error)) => Err(ModelError::Image { reason: error.to_string() }),
        Err(fatal) => Err(ModelError::Image { reason: message(fatal.as_ref()) }),
    }
}

fn decode_or_unwind(bytes: &[u8]) -> io::Result<RgbImage> {
    let started = Decompress::new_mem(bytes)?.image()?;
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

fn message(fatal: &(dyn Any + Send)) -> String {
    let text = fatal.downcast_ref::<String>().map(String::as_str);
    text.unwrap_or("libjpeg cannot decode it").to_owned()
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

    #[test]
    fn every_cut_is_noticed() {
        assert!(decode(PROGRESSIVE).is_ok());
        for length in 2..PROGRESSIVE.len() - 1 {
            assert!(!is_complete(&PROGRESSIVE[..length]), "cut to {length} bytes");
        }
    }

    #[test]
    fn bytes_behind_the_end_do_no_harm() {
        let mut appended = PROGRESSIVE.to_vec();
        appended.extend(b"a camera's own notes");
        assert_eq!(decode(&appended).unwrap(), decode(PROGRESSIVE).unwrap());
    }

    proptest! {
        #[test]
        fn damaged_files_are_decoded_or_refused(position in 0..PROGRESSIVE.len(), byte: u8) {
            let mut damaged = PROGRESSIVE.to_vec();
            damaged[position] = byte;
            let _ = decode(&damaged);
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
