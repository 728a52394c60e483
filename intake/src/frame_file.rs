//! The file of a frame: looked at for its size, and decoded when the first crop is cut out of it.

use descry_model::{ExifTime, ImageHeader, RgbImage, decode_image, exif_time};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A frame's file. It is decoded once for all its crops, and its pixels are let go with the last of them.
#[derive(Debug)]
pub(crate) struct Frame {
    path: PathBuf,
    max_bytes: u64,
    max_pixels: u64,
    turns_upright: bool,
    /// Between looking at the file and decoding it, so that it is read once.
    content: Mutex<Option<Vec<u8>>>,
    look: OnceLock<Look>,
    decoded: OnceLock<Result<RgbImage, String>>,
}

/// What a file tells before it is decoded.
#[derive(Debug)]
struct Look {
    /// None where only decoding tells, be it that the file cannot be decoded.
    header: Option<ImageHeader>,
    taken: Option<ExifTime>,
}

impl Frame {
    pub(crate) fn new(path: PathBuf, max_bytes: u64, max_pixels: u64, turns_upright: bool) -> Self {
        let (content, look, decoded) = (Mutex::default(), OnceLock::new(), OnceLock::new());
        Self { path, max_bytes, max_pixels, turns_upright, content, look, decoded }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the other one is of the same file, and read alike.
    pub(crate) fn is_read_as(&self, other: &Self) -> bool {
        let of = |frame: &Self| (frame.max_bytes, frame.max_pixels, frame.turns_upright);
        self.path == other.path && of(self) == of(other)
    }

    /// Width and height in pixels, of the picture that boxes are about, without decoding it where its header tells them.
    ///
    /// # Errors
    /// Why the frame cannot be decoded, as far as the header tells.
    pub(crate) fn size_px(&self) -> Result<(u32, u32), &str> {
        let is_small =
            |header: &&ImageHeader| u64::from(header.width_px) * u64::from(header.height_px) <= self.max_pixels;
        match self.look().header.as_ref().filter(is_small) {
            Some(header) => Ok(header.size_px(self.turns_upright)),
            None => self.pixels().map(size_of),
        }
    }

    /// Whether it makes a difference if the frame is turned upright. Where nobody knows, it may.
    pub(crate) fn may_be_turned(&self) -> bool {
        self.look().header.is_none_or(|header| header.is_turned())
    }

    /// When it was taken, by its EXIF data.
    pub(crate) fn taken(&self) -> Option<&ExifTime> {
        self.look().taken.as_ref()
    }

    /// The pixels, or why there are none.
    pub(crate) fn pixels(&self) -> Result<&RgbImage, &str> {
        self.decoded.get_or_init(|| self.decode()).as_ref().map_err(String::as_str)
    }

    fn look(&self) -> &Look {
        self.look.get_or_init(|| {
            let Ok(content) = self.read() else { return Look { header: None, taken: None } };
            let look = Look { header: ImageHeader::read(&content), taken: exif_time(&content) };
            *self.content.lock().unwrap_or_else(PoisonError::into_inner) = Some(content);
            look
        })
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let file = File::open(&self.path).map_err(|error| format!("cannot be read: {error}"))?;
        let read = file.take(self.max_bytes.saturating_add(1)).read_to_end(&mut content);
        read.map_err(|error| format!("cannot be read: {error}"))?;
        if content.len() as u64 > self.max_bytes {
            return Err(format!("over {} bytes, which are the most that are read", self.max_bytes));
        }
        Ok(content)
    }

    fn decode(&self) -> Result<RgbImage, String> {
        let content = self.content.lock().unwrap_or_else(PoisonError::into_inner).take();
        let content = content.map_or_else(|| self.read(), Ok)?;
        let decoded = decode_image(&content, self.max_pixels, self.turns_upright).map_err(|error| error.to_string())?;
        // Boxes were fitted into what the header says.
        let stated = self.look.get().and_then(|look| look.header).map(|header| header.size_px(self.turns_upright));
        match stated {
            Some((width, height)) if (width, height) != size_of(&decoded) => Err(format!(
                "its header says {width} x {height} pixels, and there are {} x {}",
                decoded.width, decoded.height
            )),
            Some(_) | None => Ok(decoded),
        }
    }
}

/// No decoder gives more.
fn size_of(pixels: &RgbImage) -> (u32, u32) {
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    (side(pixels.width), side(pixels.height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A bitmap of 3 by 2 pixels, which end early.
    fn torn() -> Vec<u8> {
        let mut file = b"BM".to_vec();
        for number in [78_u32, 0, 54, 40, 3, 2] {
            file.extend(number.to_le_bytes());
        }
        file.extend([1, 0, 24, 0]);
        file.extend([0; 24]);
        file
    }

    #[test]
    fn the_size_is_known_without_decoding() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bmp");
        fs::write(&path, torn()).unwrap();
        let frame = Frame::new(path.clone(), 1000, 1000, false);
        assert_eq!(frame.size_px(), Ok((3, 2)));
        assert!(frame.decoded.get().is_none() && !frame.may_be_turned());
        assert!(frame.pixels().is_err(), "its pixels are missing");
        // The reason is the decoder's where the header alone says enough.
        for (content, max_bytes, max_pixels, said) in
            [(torn(), 1000, 5, "pixels"), (torn(), 10, 1000, "over 10 bytes"), (b"text".to_vec(), 1000, 1000, "not")]
        {
            fs::write(&path, content).unwrap();
            let frame = Frame::new(path.clone(), max_bytes, max_pixels, false);
            assert!(frame.size_px().unwrap_err().contains(said), "{:?}", frame.size_px());
        }
        assert!(Frame::new(folder.path().join("b.bmp"), 9, 9, false).size_px().unwrap_err().contains("cannot be read"));
    }
}
