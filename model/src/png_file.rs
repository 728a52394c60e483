//! PNG files as Pillow reads them by default, `LOAD_TRUNCATED_IMAGES` off.
//!
//! - A chunk before the pixels whose checksum is wrong (the header, the palette, a text) refuses the file.
//! - The checksums of the pixels' own chunks and of all that follow are not looked at: the compressed data have one of their
//!   own, which counts.
//! - Pixels must be whole. A file that ends behind them, with no `IEND`, or without the data's own checksum, is read.
//!
//! In one thing we are stricter: compressed data that end properly but too early refuse the file, where Pillow leaves the
//! rest of the picture black without a word.

use crate::ModelError;
use crate::orientation::ImageNotes;
use crate::resize::RgbImage;
use flate2::Crc;
use flate2::read::ZlibDecoder;
use png::{ColorType, DecodeOptions, Decoder, DecodingError, InterlaceInfo, Limits, Reader, Transformations};
use std::io::{Cursor, ErrorKind, Read as _};

/// What every PNG file begins with.
pub(crate) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// As Pillow: a longer text is not unpacked.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Room for the decoder beside the pixels.
const DECODER_BYTES: u64 = 1 << 20;
/// A decoder needs a few rows; no pixel has more than eight bytes.
const BYTES_PER_PIXEL: u64 = 8;

/// A PNG file, its chunks read.
pub(crate) struct PngFile {
    /// A file of the header, the palette and all pixel data in one chunk: what the decoder needs.
    essence: Vec<u8>,
    pub(crate) notes: ImageNotes,
}

impl PngFile {
    /// Reads the chunks.
    ///
    /// # Errors
    /// [`ModelError::Image`] for a checksum that is wrong before the pixels, and for a file without pixels.
    pub(crate) fn open(bytes: &[u8]) -> Result<Self, ModelError> {
        let mut notes = ImageNotes::default();
        let (mut essence, mut pixel_data) = (SIGNATURE.to_vec(), Vec::new());
        let chunks = Chunks { rest: bytes.get(SIGNATURE.len()..).unwrap_or_default() };
        let mut place = Place::BeforePixels;
        for chunk in chunks {
            place = match (place, &chunk.name) {
                (_, b"IEND") => break,
                (Place::BeforePixels | Place::Pixels, b"IDAT") => {
                    pixel_data.push(chunk.content);
                    Place::Pixels
                }
                (Place::Pixels | Place::BehindPixels, _) => Place::BehindPixels,
                (Place::BeforePixels, _) => {
                    chunk.check()?;
                    if matches!(&chunk.name, b"IHDR" | b"PLTE") {
                        write_chunk(&mut essence, &chunk.name, &[chunk.content])?;
                    }
                    Place::BeforePixels
                }
            };
            if !matches!(place, Place::Pixels) {
                chunk.take_notes(&mut notes);
            }
        }
        if pixel_data.is_empty() {
            return Err(refused("the PNG data is cut short (no pixels)"));
        }
        write_chunk(&mut essence, b"IDAT", &pixel_data)?;
        Ok(Self { essence, notes })
    }

    /// Decodes the pixels; the size in the header is checked first.
    ///
    /// # Errors
    /// [`ModelError::ImageTooLarge`]; [`ModelError::Image`] for pixels that are damaged or not all there.
    pub(crate) fn decode(&self, max_pixels: u64) -> Result<RgbImage, ModelError> {
        let mut options = DecodeOptions::default();
        options.set_ignore_crc(true);
        options.set_ignore_adler32(false);
        let mut decoder = Decoder::new_with_options(Cursor::new(self.essence.as_slice()), options);
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let header = decoder.read_header_info().map_err(unreadable)?;
        let (width, height) = (header.width, header.height);
        let pixels = u64::from(width) * u64::from(height);
        if pixels > max_pixels {
            return Err(ModelError::ImageTooLarge { width, height, max_pixels });
        }
        let bytes = pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(DECODER_BYTES);
        decoder.set_limits(Limits { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) });
        let mut reader = decoder.read_info().map_err(unreadable)?;
        let samples = read_samples(&mut reader)?;
        Ok(RgbImage {
            width: width as usize,
            height: height as usize,
            samples: to_rgb(reader.output_color_type().0, samples),
        })
    }
}

/// Where among the chunks.
#[derive(Clone, Copy)]
enum Place {
    BeforePixels,
    Pixels,
    /// Pixel data that come back behind another chunk are no part of the image.
    BehindPixels,
}

struct Chunk<'data> {
    name: [u8; 4],
    /// As much of it as there is.
    content: &'data [u8],
    /// `None` where the file ends before it.
    checksum: Option<u32>,
}

impl Chunk<'_> {
    fn check(&self) -> Result<(), ModelError> {
        let mut crc = Crc::new();
        crc.update(&self.name);
        crc.update(self.content);
        if self.checksum == Some(crc.sum()) {
            return Ok(());
        }
        let (name, fault) = (self.name.escape_ascii(), if self.checksum.is_none() { "cut short" } else { "damaged" });
        Err(refused(&format!(
            "the PNG data is {fault} (the checksum of its chunk {name} is wrong); save the file again"
        )))
    }

    /// Keeps what can say which way up the image is. Of two notes of a kind the last one counts.
    fn take_notes(&self, notes: &mut ImageNotes) {
        const XMP: &[u8] = b"XML:com.adobe.xmp";
        const RAW_EXIF: &[u8] = b"Raw profile type exif";
        if self.checksum.is_none() {
            return;
        }
        if &self.name == b"eXIf" {
            notes.exif = Some(self.content.to_vec());
            return;
        }
        let Some((keyword, rest)) = split_at_zero(self.content) else { return };
        let text = match &self.name {
            b"tEXt" => Some(rest.to_vec()),
            b"zTXt" => rest.strip_prefix(&[0]).and_then(unpack),
            b"iTXt" => international_text(rest),
            _ => None,
        };
        match (keyword, text) {
            (XMP, Some(text)) => notes.xmp = Some(text),
            // An image's own chunk comes before a text.
            (RAW_EXIF, Some(text)) if notes.exif.is_none() => notes.exif = raw_profile(&text),
            _ => {}
        }
    }
}

struct Chunks<'data> {
    rest: &'data [u8],
}

impl<'data> Iterator for Chunks<'data> {
    type Item = Chunk<'data>;

    fn next(&mut self) -> Option<Chunk<'data>> {
        let (&length, rest) = self.rest.split_first_chunk::<4>()?;
        let (&name, rest) = rest.split_first_chunk::<4>()?;
        if !name.iter().all(|letter| letter.is_ascii_alphanumeric() || *letter == b'_') {
            return None;
        }
        let length = (u32::from_be_bytes(length) as usize).min(rest.len());
        let (content, rest) = rest.split_at(length);
        let checksum = rest.first_chunk().map(|&checksum| u32::from_be_bytes(checksum));
        self.rest = rest.get(4..).unwrap_or_default();
        Some(Chunk { name, content, checksum })
    }
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The text behind an `iTXt` chunk's keyword: two marks of its compression, two names, and the text.
fn international_text(rest: &[u8]) -> Option<Vec<u8>> {
    let (&[is_compressed, method], rest) = rest.split_first_chunk()?;
    let (_, rest) = split_at_zero(rest)?;
    let (_, text) = split_at_zero(rest)?;
    match (is_compressed, method) {
        (0, _) => Some(text.to_vec()),
        (_, 0) => unpack(text),
        _ => None,
    }
}

fn unpack(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(compressed).take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MAX_TEXT_BYTES).then_some(text)
}

/// The bytes of ImageMagick's text form: three lines, then hexadecimal digits.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> = lines.flatten().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = digits.as_chunks() else { return None };
    pairs.iter().map(|&[high, low]| Some((digit(high)? << 4) | digit(low)?)).collect()
}

fn write_chunk(file: &mut Vec<u8>, name: &[u8; 4], parts: &[&[u8]]) -> Result<(), ModelError> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(bytes).map_err(|_| refused("its PNG chunks are over 4 GiB"))?;
    file.reserve(bytes + 12);
    file.extend(length.to_be_bytes());
    file.extend(name);
    parts.iter().for_each(|part| file.extend(*part));
    // Nobody looks at the checksum any more.
    file.extend([0; 4]);
    Ok(())
}

/// Every row's samples, eight bits each.
fn read_samples(reader: &mut Reader<Cursor<&[u8]>>) -> Result<Vec<u8>, ModelError> {
    let too_long = || refused("its rows are too long");
    let (width, height) = reader.info().size();
    let size = reader.output_buffer_size().ok_or_else(too_long)?;
    let stride = reader.output_line_size(width).ok_or_else(too_long)?;
    let bits_per_pixel = 8 * reader.output_color_type().0.samples() as u8;
    let rows = if reader.info().interlaced { interlaced_rows(width, height) } else { u64::from(height) };
    let mut samples = vec![0; size];
    let mut read = 0;
    loop {
        match reader.next_interlaced_row() {
            Ok(Some(row)) => match row.interlace() {
                InterlaceInfo::Null(_) => {
                    let target = samples.get_mut(read as usize * stride..).unwrap_or_default();
                    target.iter_mut().zip(row.data()).for_each(|(target, sample)| *target = *sample);
                }
                InterlaceInfo::Adam7(place) => {
                    png::expand_interlaced_row(&mut samples, stride, row.data(), place, bits_per_pixel);
                }
            },
            Ok(None) => return Ok(samples),
            // The essence ends behind the pixels, and the data's own checksum may be missing.
            Err(DecodingError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof && read == rows => {
                return Ok(samples);
            }
            Err(error) => return Err(unreadable(error)),
        }
        read += 1;
    }
}

/// How many rows the seven passes of an interlaced image have.
fn interlaced_rows(width: u32, height: u32) -> u64 {
    /// First column and row, and the step between rows, of each pass.
    const PASSES: [(u32, u32, u32); 7] = [(0, 0, 8), (4, 0, 8), (0, 4, 8), (2, 0, 4), (0, 2, 4), (1, 0, 2), (0, 1, 2)];
    let rows = |&(column, row, step): &(u32, u32, u32)| {
        if column < width { height.saturating_sub(row).div_ceil(step) } else { 0 }
    };
    PASSES.iter().map(rows).map(u64::from).sum()
}

fn to_rgb(color: ColorType, samples: Vec<u8>) -> Vec<u8> {
    match color {
        ColorType::Rgb => samples,
        ColorType::Rgba => {
            samples.as_chunks::<4>().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]).collect()
        }
        ColorType::Grayscale => samples.into_iter().flat_map(|grey| [grey; 3]).collect(),
        ColorType::GrayscaleAlpha => samples.as_chunks::<2>().0.iter().flat_map(|&[grey, _]| [grey; 3]).collect(),
        // Palettes were expanded.
        ColorType::Indexed => samples,
    }
}

fn refused(reason: &str) -> ModelError {
    ModelError::Image { reason: reason.to_owned() }
}

fn unreadable(error: DecodingError) -> ModelError {
    if let DecodingError::IoError(error) = &error
        && error.kind() == ErrorKind::UnexpectedEof
    {
        return refused("the PNG data is cut short (pixels are missing)");
    }
    refused(&error.to_string())
}
