//! One image on its way into a gallery, and one that stays behind.

use crate::{FrameCrop, IntakeError, KnownMetadata, image_signature};
use descry_model::{ExifTime, exif_time};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What tells a changed file from one that stayed, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    /// Size.
    pub bytes: u64,
    /// Time of the last change, in milliseconds since 1970-01-01T00:00:00Z; 0 where the file system keeps none.
    pub modified_ms: i64,
}

impl FileVersion {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { bytes: metadata.len(), modified_ms: metadata.modified().map_or(0, unix_ms) }
    }

    /// Whether there is an image in so many bytes that may be read.
    pub(crate) fn check_size(&self, max_bytes: u64) -> Result<(), String> {
        match self.bytes {
            0 => Err("it is empty (0 bytes)".to_owned()),
            bytes if bytes > max_bytes => Err(format!("{bytes} bytes, at most {max_bytes} are accepted")),
            _ => Ok(()),
        }
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(error) => i64::try_from(error.duration().as_millis()).map_or(i64::MIN, |before| -before),
    }
}

/// As much of a JPEG file is read for its EXIF data, which stands in front in a piece of at most 64 KiB. Elsewhere it may stand
/// behind the pixels.
const JPEG_NOTES_BYTES: u64 = 256 << 10;

/// Where an image's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In a file of their own, not yet read.
    File(PathBuf),
    /// In memory, because they came out of an archive.
    Bytes(Vec<u8>),
    /// In a frame, to be cut out of it.
    Crop(FrameCrop),
}

impl Content {
    /// When the image, or the frame that it is cut from, was taken, by its EXIF data. What cannot be read tells nothing here:
    /// reading the image says so.
    pub(crate) fn exif_time(&self, max_image_bytes: u64) -> Option<ExifTime> {
        match self {
            Self::Bytes(bytes) => exif_time(bytes),
            Self::Crop(crop) => crop.frame().taken().cloned(),
            Self::File(path) => {
                let (mut file, mut bytes) = (File::open(path).ok()?, Vec::new());
                file.by_ref().take(JPEG_NOTES_BYTES).read_to_end(&mut bytes).ok()?;
                if !image_signature::is_jpeg(&bytes) {
                    file.take(max_image_bytes).read_to_end(&mut bytes).ok()?;
                }
                exif_time(&bytes)
            }
        }
    }
}

/// An image of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEntry {
    /// Its name in the gallery.
    pub image_id: String,
    /// Where it came from, for people to find it: a path, or `shard.tar!member`.
    pub origin: String,
    /// Which state of the file this is; in an archive, of the member.
    pub version: FileVersion,
    /// What is known of it.
    pub metadata: KnownMetadata,
    /// Its bytes.
    pub content: Content,
}

impl ImageEntry {
    /// The encoded image.
    ///
    /// # Errors
    /// [`IntakeError::ImageTooLarge`] over `max_image_bytes`, also when the file has grown since it was found;
    /// [`IntakeError::Unreadable`] when the file cannot be read.
    pub fn read(self, max_image_bytes: u64) -> Result<Vec<u8>, IntakeError> {
        let bytes = match self.content {
            Content::Bytes(bytes) => bytes,
            Content::Crop(crop) => crop.encode()?,
            Content::File(path) => {
                let file = File::open(&path).map_err(IntakeError::unreadable(&path))?;
                let mut bytes = Vec::with_capacity(self.version.bytes.min(max_image_bytes) as usize);
                let limit = max_image_bytes.saturating_add(1);
                file.take(limit).read_to_end(&mut bytes).map_err(IntakeError::unreadable(&path))?;
                bytes
            }
        };
        let size = bytes.len() as u64;
        if size > max_image_bytes {
            let (origin, max_bytes) = (self.origin, max_image_bytes);
            return Err(IntakeError::ImageTooLarge { origin, bytes: size, max_bytes });
        }
        Ok(bytes)
    }

    /// The image's own file, or its frame's; none in an archive.
    pub fn path(&self) -> Option<&Path> {
        match &self.content {
            Content::File(path) => Some(path),
            Content::Crop(crop) => Some(crop.path()),
            Content::Bytes(_) => None,
        }
    }
}

/// Something of an input that does not get into the gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedEntry {
    /// The image it would have become; empty where that is not known.
    pub image_id: String,
    /// Where it is: a path, `shard.tar!member`, or a file and its row.
    pub origin: String,
    /// Why it was left out.
    pub reason: String,
}

/// A short stand-in for an image id, so that millions of them fit into memory: the first 128 bits of its SHA-256.
///
/// Two of a billion ids share them with a probability of 10^-21, far below that of a memory error, and nobody gains from
/// searching for such a pair: all it does is leave one of the searcher's own images out.
pub(crate) fn id_digest(image_id: &str) -> u128 {
    let digest = Sha256::digest(image_id.as_bytes());
    digest.iter().take(16).fold(0, |bits, &byte| (bits << 8) | u128::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn reading_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        fs::write(&path, b"12345").unwrap();
        let version = FileVersion::of(&fs::metadata(&path).unwrap());
        assert_eq!(version.bytes, 5);
        for content in [Content::File(path.clone()), Content::Bytes(b"12345".to_vec())] {
            let entry = ImageEntry {
                image_id: "a.jpg".to_owned(),
                origin: path.display().to_string(),
                version,
                metadata: KnownMetadata::default(),
                content,
            };
            assert_eq!(entry.clone().read(5).unwrap(), b"12345");
            assert!(matches!(entry.read(4), Err(IntakeError::ImageTooLarge { bytes: 5, .. })));
        }
    }

    #[test]
    fn an_ids_digest_is_the_front_of_sha256() {
        assert_eq!(id_digest("abc"), 0xba78_16bf_8f01_cfea_4141_40de_5dae_2223);
    }

    #[test]
    fn times_before_the_epoch_are_negative() {
        assert_eq!(unix_ms(UNIX_EPOCH - Duration::from_millis(1500)), -1500);
        assert_eq!(unix_ms(UNIX_EPOCH + Duration::from_millis(1500)), 1500);
    }
}
