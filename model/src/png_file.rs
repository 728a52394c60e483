//! PNG files as Pillow reads them by default, `LOAD_TRUNCATED_IMAGES` off.
//!
//! - A chunk before the pixels whose checksum is wrong (the header, the palette, a text) refuses the file.
//! - The checksums of the pixels' own chunks and of all that follow are not looked at: the compressed data have one of their
//!   own, which counts.
//! - Pixels must be whole. A file that ends behind them, with no `IEND`, or without the data's own checksum, is read.
//!
//! We are stricter where Pillow makes black of what it does not have, without a word: for compressed data that end properly
//! but too early, and for an image of a palette without the palette. A header that names another compression than there is
//! refuses the file as well.
//!
//! We read what Pillow refuses for things beside the pixels: texts and colour profiles of more than a mebibyte, which we leave
//! alone, and a file that breaks off within a chunk behind the pixels.

use crate::ModelError;
use crate::orientation::ImageNotes;
use crate::patience::{Checkpoint, Patience, PatientReader};
use crate::png_notes::NoteTaker;
use crate::resize::RgbImage;
use flate2::Crc;
use png::{ColorType, DecodeOptions, Decoder, DecodingError, InterlaceInfo, Limits, Reader, Transformations};
use std::cell::Cell;
use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom};

/// What every PNG file begins with.
pub(crate) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Of a chunk beside its content: length, name and checksum.
const CHUNK_BYTES: usize = 12;
/// Where the header tells how pixels are stored.
const COLOR_TYPE_AT: usize = 9;
const INTERLACE_AT: usize = 12;
/// Room for the decoder beside the pixels.
const DECODER_BYTES: u64 = 1 << 20;
/// A decoder needs a few rows; no pixel has more than eight bytes.
const BYTES_PER_PIXEL: u64 = 8;

/// Files begin with their header.
const MAX_CHUNKS_BEFORE_HEADER: usize = 4_096;
/// Of compressed data behind the last pixel.
const MAX_BYTES_BEHIND_PIXELS: usize = 1 << 16;

/// A PNG file, its chunks read.
pub(crate) struct PngFile {
    /// A file of the header, the palette and all pixel data in one chunk: what the decoder needs.
    essence: Vec<u8>,
    is_interlaced: bool,
    pub(crate) notes: ImageNotes,
}

impl PngFile {
    /// Reads the chunks.
    ///
    /// - `takes_notes`: whether what the file says of its orientation is kept
    ///
    /// # Errors
    /// [`ModelError::Image`] for a checksum that is wrong before the pixels, for a palette of more than 256 colours, and for a
    /// file without pixels.
    pub(crate) fn open(bytes: &[u8], takes_notes: bool) -> Result<Self, ModelError> {
        let mut notes = takes_notes.then(NoteTaker::default);
        let (mut essence, mut palette, mut pixel_data) = (SIGNATURE.to_vec(), None, Vec::new());
        let chunks = Chunks { rest: bytes.get(SIGNATURE.len()..).unwrap_or_default() };
        let mut place = Place::BeforePixels;
        let (mut is_indexed, mut is_interlaced) = (false, false);
        for chunk in chunks {
            place = match (place, &chunk.name) {
                (_, b"IEND") => break,
                (Place::BeforePixels | Place::Pixels, b"IDAT") => {
                    pixel_data.push(chunk.content);
                    Place::Pixels
                }
                (Place::Pixels | Place::BehindPixels, _) => Place::BehindPixels,
                (Place::BeforePixels, name) => {
                    chunk.check()?;
                    match name {
                        b"IHDR" => {
                            is_indexed = chunk.content.get(COLOR_TYPE_AT) == Some(&(ColorType::Indexed as u8));
                            is_interlaced = chunk.content.get(INTERLACE_AT) == Some(&1);
                            write_chunk(&mut essence, b"IHDR", &[chunk.content])?;
                        }
                        // Of several the last counts. Elsewhere a palette is only a proposal.
                        b"PLTE" if is_indexed => palette = Some(whole_colors(chunk.content)?),
                        _ => {}
                    }
                    Place::BeforePixels
                }
            };
            if let Some(notes) = &mut notes
                && !matches!(place, Place::Pixels)
            {
                notes.take(&chunk);
            }
        }
        if pixel_data.is_empty() {
            return Err(refused("the PNG data is cut short (no pixels)"));
        }
        if let Some(palette) = palette {
            // Every colour that a palette does not have is black, and the decoder wants at least one.
            write_chunk(&mut essence, b"PLTE", &[if palette.is_empty() { &[0; 3] } else { palette }])?;
        }
        write_chunk(&mut essence, b"IDAT", &pixel_data)?;
        write_chunk(&mut essence, b"IEND", &[])?;
        Ok(Self { essence, is_interlaced, notes: notes.map(|taker| taker.notes).unwrap_or_default() })
    }

    /// Decodes the pixels; the size in the header is checked first.
    ///
    /// # Errors
    /// [`ModelError::ImageTooLarge`]; [`ModelError::Image`] for pixels that are damaged or not all there;
    /// [`ModelError::Abandoned`].
    pub(crate) fn decode(&self, max_pixels: u64, patience: Patience<'_>) -> Result<RgbImage, ModelError> {
        self.decode_either_way(max_pixels, patience).map_err(|error| patience.or_abandoned(error))
    }

    fn decode_either_way(&self, max_pixels: u64, patience: Patience<'_>) -> Result<RgbImage, ModelError> {
        // The decoder gives out all that it has taken in where another chunk begins, but of an interlaced image's data without
        // their checksum where nothing does.
        match decode_essence(&self.essence, max_pixels, patience) {
            Err(Fault::CutShort) if self.is_interlaced => {
                let without_end = self.essence.len().saturating_sub(CHUNK_BYTES);
                decode_essence(&self.essence[..without_end], max_pixels, patience).map_err(ModelError::from)
            }
            decoded => decoded.map_err(ModelError::from),
        }
    }
}

/// What a file says of its size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// In pixels.
    Stated { width: u32, height: u32, is_interlaced: bool },
    /// The header stands behind more chunks than are looked at, if there is one.
    TooFarOff,
    /// There is no header that a decoder would find.
    Missing,
}

/// Looks for the header where a decoder does: before the pixels, in its first place or not.
pub(crate) fn size(bytes: &[u8]) -> Size {
    let mut chunks = Chunks { rest: bytes.get(SIGNATURE.len()..).unwrap_or_default() };
    for _ in 0..MAX_CHUNKS_BEFORE_HEADER {
        let header = match chunks.next() {
            Some(Chunk { name, content, .. }) if &name == b"IHDR" => content,
            Some(Chunk { name, .. }) if !matches!(&name, b"IDAT" | b"IEND") => continue,
            Some(_) | None => return Size::Missing,
        };
        let number = |at: usize| header.get(at..)?.first_chunk().map(|&bytes| u32::from_be_bytes(bytes));
        return match (number(0), number(4)) {
            (Some(width), Some(height)) => {
                Size::Stated { width, height, is_interlaced: header.get(INTERLACE_AT) == Some(&1) }
            }
            _ => Size::Missing,
        };
    }
    Size::TooFarOff
}

/// Why an essence does not decode.
enum Fault {
    CutShort,
    Other(ModelError),
}

impl From<DecodingError> for Fault {
    fn from(error: DecodingError) -> Self {
        if is_cut_short(&error) { Self::CutShort } else { Self::Other(refused(&error.to_string())) }
    }
}

impl From<Fault> for ModelError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::CutShort => refused("the PNG data is cut short (pixels are missing)"),
            Fault::Other(error) => error,
        }
    }
}

fn decode_essence(essence: &[u8], max_pixels: u64, patience: Patience<'_>) -> Result<RgbImage, Fault> {
    let bytes_left = Cell::new(usize::MAX);
    let source = EssenceReader { data: PatientReader::new(essence, patience), bytes_left: &bytes_left };
    let mut options = DecodeOptions::default();
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(source, options);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info()?;
    let (width, height) = (header.width, header.height);
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels {
        return Err(Fault::Other(ModelError::ImageTooLarge { width, height, max_pixels }));
    }
    let bytes = pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(DECODER_BYTES);
    decoder.set_limits(Limits { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) });
    let mut reader = decoder.read_info()?;
    let samples = read_samples(&mut reader, &bytes_left, patience)?;
    Ok(RgbImage {
        width: width as usize,
        height: height as usize,
        samples: to_rgb(reader.output_color_type().0, samples),
    })
}

/// The essence, of which no more than so many bytes are given out.
struct EssenceReader<'a> {
    data: PatientReader<'a>,
    bytes_left: &'a Cell<usize>,
}

impl BufRead for EssenceReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let piece = self.data.fill_buf()?;
        Ok(&piece[..piece.len().min(self.bytes_left.get())])
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes_left.set(self.bytes_left.get().saturating_sub(bytes));
        self.data.consume(bytes);
    }
}

impl Read for EssenceReader<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let left = target.len().min(self.bytes_left.get());
        let read = self.data.read(&mut target[..left])?;
        self.bytes_left.set(self.bytes_left.get().saturating_sub(read));
        Ok(read)
    }
}

impl Seek for EssenceReader<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.data.seek(position)
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

pub(crate) struct Chunk<'data> {
    pub(crate) name: [u8; 4],
    /// As much of it as there is.
    pub(crate) content: &'data [u8],
    /// `None` where the file ends before it.
    pub(crate) checksum: Option<u32>,
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

/// The colours of a palette without what is left over behind the last; the decoder takes three bytes for one.
fn whole_colors(palette: &[u8]) -> Result<&[u8], ModelError> {
    const MAX_COLORS: usize = 256;
    let colors = palette.len() / 3;
    if colors > MAX_COLORS {
        return Err(refused(&format!(
            "its palette has {colors} colours, expected at most {MAX_COLORS}; save the file again"
        )));
    }
    Ok(&palette[..3 * colors])
}

fn write_chunk(file: &mut Vec<u8>, name: &[u8; 4], parts: &[&[u8]]) -> Result<(), ModelError> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(bytes).map_err(|_| refused("its PNG chunks are over 4 GiB"))?;
    file.reserve(bytes + CHUNK_BYTES);
    file.extend(length.to_be_bytes());
    file.extend(name);
    parts.iter().for_each(|part| file.extend(*part));
    // Nobody looks at the checksum any more.
    file.extend([0; 4]);
    Ok(())
}

/// Every row's samples, eight bits each.
fn read_samples(
    reader: &mut Reader<EssenceReader<'_>>,
    bytes_left: &Cell<usize>,
    patience: Patience<'_>,
) -> Result<Vec<u8>, Fault> {
    let too_long = || Fault::Other(refused("its rows are too long"));
    let (width, height) = reader.info().size();
    let size = reader.output_buffer_size().ok_or_else(too_long)?;
    let stride = reader.output_line_size(width).ok_or_else(too_long)?;
    let bits_per_pixel = 8 * reader.output_color_type().0.samples() as u8;
    let rows = if reader.info().interlaced { interlaced_rows(width, height) } else { u64::from(height) };
    let mut samples = vec![0; size];
    let mut read = 0;
    let mut checkpoint = Checkpoint::new(patience);
    loop {
        if read == rows {
            // Behind the pixels stands a checksum, and nobody has to unpack what else does.
            bytes_left.set(MAX_BYTES_BEHIND_PIXELS);
        }
        checkpoint.pass(stride).map_err(Fault::Other)?;
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
            // The pixels are all there; the data's own checksum may be missing.
            Err(error) if read == rows && is_cut_short(&error) => return Ok(samples),
            Err(error) => return Err(error.into()),
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

/// Whether data ends before it should. The decoder tells some of its reasons in words only.
fn is_cut_short(error: &DecodingError) -> bool {
    const WORDS: [&str; 2] = ["InsufficientInput", "does not have enough data"];
    match error {
        DecodingError::IoError(error) => error.kind() == ErrorKind::UnexpectedEof,
        DecodingError::Format(reason) => {
            let reason = reason.to_string();
            WORDS.iter().any(|words| reason.contains(words))
        }
        DecodingError::Parameter(_) | DecodingError::LimitsExceeded => false,
    }
}
