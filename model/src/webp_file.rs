//! WebP files, looked through before a decoder gets them.
//!
//! `image-webp` believes what a file says: it decodes a frame of any size to its end before it compares that with the picture's,
//! allocates for notes what they claim to have, and takes any number of chunks. So the chunks are walked here first, each
//! frame's size is read where the decoder will read it, and notes are taken from the file as they stand there.
//!
//! What remains is the decoder's: a lossless picture may bring 65,536 groups of codes whatever its size, some 400 bytes of
//! memory for each byte of the file. [`MAX_LOSSLESS_BYTES_PER_PIXEL`] keeps small pictures from it; one of a million pixels and
//! nine megabytes still takes 3.5 GB while it is decoded. And a lossy one is read whole before any of it is decoded, so that
//! this cannot be stopped: about a second for fifty million pixels.

use crate::ModelError;
use crate::orientation::ImageNotes;

/// Of a file, the frames of an animation included.
const MAX_CHUNKS: usize = 4_096;
/// What samples without any order take, twice.
const MAX_LOSSLESS_BYTES_PER_PIXEL: u64 = 8;
/// For a palette and tables of codes, however small the picture is.
const LOSSLESS_TABLE_BYTES: u64 = 1 << 16;
/// Of a chunk, before its content: name and length.
const CHUNK_HEADER_BYTES: usize = 8;
/// Where the first chunk begins.
const FIRST_CHUNK_AT: usize = 12;
/// Of an animation's frame, before its chunks: place, size and duration.
const FRAME_HEADER_BYTES: usize = 16;
const IS_ANIMATED: u8 = 1 << 1;

/// Width and height, in pixels.
type Size = (u32, u32);

/// Whether a file says it is a WebP.
pub(crate) fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..).is_some_and(|rest| rest.starts_with(b"WEBP"))
}

/// What a file says beside its pixels.
#[derive(Debug)]
pub(crate) struct WebpFile<'data> {
    /// Of the picture that decoding makes. No frame that is decoded is larger.
    pub(crate) size: Size,
    /// Over the picture: twice where there is an animation's frame to be put into it, or transparency that is stored apart.
    pub(crate) passes: u64,
    /// Of losslessly packed data.
    pub(crate) lossless_bytes: u64,
    exif: Option<&'data [u8]>,
    xmp: Option<&'data [u8]>,
}

impl<'data> WebpFile<'data> {
    /// Walks the chunks as the decoder does. What it refuses by itself before it decodes anything is left to it.
    ///
    /// # Errors
    /// [`ModelError::Image`] for a file without a picture's size; for a frame of another size than its picture's, or beyond it;
    /// for more than 4,096 chunks; and for lossless data that are longer than any picture of that size needs.
    pub(crate) fn open(bytes: &'data [u8]) -> Result<Self, ModelError> {
        let cut_short = || refused("the WebP data is cut short or damaged (no size)".to_owned());
        let first = Chunk::at(bytes, FIRST_CHUNK_AT).ok_or_else(cut_short)?;
        match &first.name {
            b"VP8 " => Ok(Self::of(lossy_size(first.data).ok_or_else(cut_short)?)),
            b"VP8L" => {
                let mut file = Self::of(lossless_size(first.data).ok_or_else(cut_short)?);
                file.check_lossless(&first, file.size)?;
                Ok(file)
            }
            b"VP8X" => {
                let size = || Some((number(first.data, 4)? + 1, number(first.data, 7)? + 1));
                let mut file = Self::of(size().ok_or_else(cut_short)?);
                file.walk(bytes, &first)?;
                Ok(file)
            }
            name => Err(refused(format!("the WebP data begins with a chunk {}", name.escape_ascii()))),
        }
    }

    /// What can say which way up the picture is.
    pub(crate) fn notes(&self) -> ImageNotes {
        ImageNotes { exif: self.exif.map(<[u8]>::to_vec), xmp: self.xmp.map(<[u8]>::to_vec) }
    }

    fn of(size: Size) -> Self {
        Self { size, passes: 1, lossless_bytes: 0, exif: None, xmp: None }
    }

    /// The chunks behind a header of their own.
    fn walk(&mut self, bytes: &'data [u8], header: &Chunk<'data>) -> Result<(), ModelError> {
        let is_animated = header.data.first().is_some_and(|flags| flags & IS_ANIMATED != 0);
        let stated = bytes.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |&stated| u32::from_le_bytes(stated));
        let end = header.next.saturating_add((stated as usize).saturating_sub(FIRST_CHUNK_AT));
        let (mut position, mut chunks, mut has_frame) = (header.next, 0, false);
        while position < end
            && let Some(chunk) = Chunk::at(bytes, position)
        {
            chunks += 1;
            if chunks > MAX_CHUNKS {
                return Err(refused(format!(
                    "the WebP data has more than {MAX_CHUNKS} chunks or frames; save one frame as a picture"
                )));
            }
            match &chunk.name {
                // An animation's pictures stand in its frames.
                b"VP8 " | b"VP8L" if is_animated => {}
                b"ANMF" if has_frame => {}
                b"ANMF" => {
                    has_frame = true;
                    self.check_frame(bytes, &chunk)?;
                }
                b"VP8 " => check_size(lossy_size(chunk.data), self.size)?,
                b"VP8L" => {
                    check_size(lossless_size(chunk.data), self.size)?;
                    self.check_lossless(&chunk, self.size)?;
                }
                b"ALPH" => self.check_transparency(&chunk, self.size)?,
                b"EXIF" if self.exif.is_none() => self.exif = chunk.whole(),
                b"XMP " if self.xmp.is_none() => self.xmp = chunk.whole(),
                _ => {}
            }
            position = chunk.next;
        }
        Ok(())
    }

    /// The first frame of an animation, which is the one that is decoded.
    fn check_frame(&mut self, bytes: &'data [u8], frame: &Chunk<'data>) -> Result<(), ModelError> {
        let place = || Some((2 * number(frame.data, 0)?, 2 * number(frame.data, 3)?));
        let size = || Some((number(frame.data, 6)? + 1, number(frame.data, 9)? + 1));
        let (Some((left, top)), Some(size)) = (place(), size()) else {
            return Err(refused("the WebP data is cut short (in its first frame)".to_owned()));
        };
        if left + size.0 > self.size.0 || top + size.1 > self.size.1 {
            return Err(refused(format!(
                "its first frame of {}x{} pixels goes beyond its {}x{} pixels; save the picture again",
                size.0, size.1, self.size.0, self.size.1
            )));
        }
        self.passes = 2;
        let mut position = frame.start + FRAME_HEADER_BYTES;
        let mut is_behind_transparency = false;
        for _ in 0..2 {
            let Some(chunk) = Chunk::at(bytes, position) else { break };
            match &chunk.name {
                // The decoder takes what stands behind transparency for a lossy frame, whatever its name is.
                name if is_behind_transparency || name == b"VP8 " => check_size(lossy_size(chunk.data), size)?,
                b"VP8L" => {
                    check_size(lossless_size(chunk.data), size)?;
                    self.check_lossless(&chunk, size)?;
                }
                b"ALPH" => self.check_transparency(&chunk, size)?,
                _ => {}
            }
            is_behind_transparency = &chunk.name == b"ALPH";
            position = chunk.next;
        }
        Ok(())
    }

    fn check_transparency(&mut self, chunk: &Chunk<'_>, size: Size) -> Result<(), ModelError> {
        self.passes = 2;
        let is_lossless = chunk.data.first().is_some_and(|flags| flags & 0b11 != 0);
        if is_lossless { self.check_lossless(chunk, size) } else { Ok(()) }
    }

    fn check_lossless(&mut self, chunk: &Chunk<'_>, (width, height): Size) -> Result<(), ModelError> {
        let bytes = chunk.content().len() as u64;
        let pixels = u64::from(width) * u64::from(height);
        self.lossless_bytes += bytes;
        if bytes > pixels * MAX_LOSSLESS_BYTES_PER_PIXEL + LOSSLESS_TABLE_BYTES {
            return Err(refused(format!(
                "its lossless data take {bytes} bytes for {width}x{height} pixels, and no picture of that size needs so many; \
                 save the picture again"
            )));
        }
        Ok(())
    }
}

/// A frame that is decoded is as large as it was said before.
fn check_size(found: Option<Size>, stated: Size) -> Result<(), ModelError> {
    match found {
        Some(found) if found == stated => Ok(()),
        Some((width, height)) => Err(refused(format!(
            "it has a frame of {width}x{height} pixels where it says {}x{}; save the picture again",
            stated.0, stated.1
        ))),
        None => Err(refused("the WebP data is damaged (a frame without a size)".to_owned())),
    }
}

struct Chunk<'data> {
    name: [u8; 4],
    /// Where its content begins.
    start: usize,
    /// As it says.
    length: usize,
    /// From where its content begins to the end of the file: some readers look no further at its length.
    data: &'data [u8],
    /// Where the next begins, which may be beyond the file.
    next: usize,
}

impl<'data> Chunk<'data> {
    fn at(bytes: &'data [u8], position: usize) -> Option<Self> {
        let (&name, rest) = bytes.get(position..)?.split_first_chunk()?;
        let (&length, data) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(length) as usize;
        let start = position + CHUNK_HEADER_BYTES;
        Some(Self { name, start, length, data, next: start.saturating_add(length).saturating_add(length % 2) })
    }

    /// As much of its content as there is.
    fn content(&self) -> &'data [u8] {
        &self.data[..self.length.min(self.data.len())]
    }

    /// Its content; `None` where the file ends within it.
    fn whole(&self) -> Option<&'data [u8]> {
        self.data.get(..self.length)
    }
}

/// Three bytes of a header.
fn number(data: &[u8], at: usize) -> Option<u32> {
    let &[low, middle, high] = data.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes([low, middle, high, 0]))
}

/// The size that a lossy frame begins with. `None` for one that only changes another.
fn lossy_size(data: &[u8]) -> Option<Size> {
    const MARK: [u8; 3] = [0x9D, 0x01, 0x2A];
    let is_key_frame = data.first()? & 1 == 0;
    let &[width_low, width_high, height_low, height_high] = data.get(6..)?.first_chunk()?;
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    (is_key_frame && data.get(3..6)? == MARK).then(|| (side(width_low, width_high), side(height_low, height_high)))
}

/// The size that lossless data begin with.
fn lossless_size(data: &[u8]) -> Option<Size> {
    let header = u32::from_le_bytes(*data.strip_prefix(&[0x2F])?.first_chunk()?);
    Some(((header & 0x3FFF) + 1, (header >> 14 & 0x3FFF) + 1))
}

fn refused(reason: String) -> ModelError {
    ModelError::Image { reason }
}

#[cfg(test)]
mod tests;
