//! Image files as 8-bit RGB of the tower's size, read as serving reads them.

use crate::{InputSettings, LoadingSettings};
use descry_model::{ResizeFilter, RgbImage, decode_image, resize};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Largest image file that is read. Those of the data sets have less than a hundredth of it.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// How image files are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageFiles {
    pub(super) height_px: usize,
    pub(super) width_px: usize,
    max_image_pixels: u64,
}

impl ImageFiles {
    pub(super) fn new(input: &InputSettings, loading: &LoadingSettings) -> Self {
        Self { height_px: input.height_px, width_px: input.width_px, max_image_pixels: loading.max_image_pixels }
    }

    /// Reads, decodes and resizes one image. An EXIF orientation is not applied: the published code does not.
    ///
    /// # Errors
    /// The system's reason, or that it is no file, too large, or no image.
    pub(super) fn read(&self, path: &Path) -> io::Result<RgbImage> {
        let bytes = read_limited(path, MAX_FILE_BYTES)?;
        let decoded = decode_image(&bytes, self.max_image_pixels, false).map_err(io::Error::other)?;
        Ok(resize(&decoded, self.height_px, self.width_px, ResizeFilter::PillowBilinear))
    }
}

fn read_limited(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    // Opening a named pipe would wait for whoever writes into it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file at the limit from one beyond it, whatever its metadata claims.
    File::open(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("it is over the limit of {max_bytes} bytes for an image file")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture;

    #[test]
    fn images_come_in_the_size_of_the_tower() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bmp");
        fixture::write_image(&path, 5, 9, 1);
        let image = ImageFiles::new(&fixture::input(), &fixture::loading(1)).read(&path).unwrap();
        assert_eq!((image.height, image.width), (16, 8));
        assert_eq!(image.samples.len(), 16 * 8 * 3);
    }

    #[test]
    fn what_is_no_image_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let files = ImageFiles::new(&fixture::input(), &fixture::loading(1));
        assert!(files.read(folder.path()).unwrap_err().to_string().contains("not a file"));
        let path = folder.path().join("a.jpg");
        assert_eq!(files.read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, b"text").unwrap();
        assert!(files.read(&path).unwrap_err().to_string().contains("not a readable image"));
        assert_eq!(read_limited(&path, 4).unwrap(), b"text");
        assert!(read_limited(&path, 3).unwrap_err().to_string().contains("limit of 3 bytes"));
    }
}
