//! What is sent: captions and image files.

use crate::BenchError;
use crate::encoder_calls::Items;
use crate::synthetic_images::synthetic_jpegs;
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// Forty descriptions of people of 20 to 45 words, as long as those of the published data sets.
const BUNDLED_CAPTIONS: &str = include_str!("../data/captions.txt");
/// Images that are generated when no folder is given.
const SYNTHETIC_IMAGES: usize = 64;
const SYNTHETIC_SEED: u64 = 20;
/// More images than this would measure the disk, and fill the memory.
const MAX_IMAGES: usize = 512;

/// Texts and image files, sent over and over in this order. What a plan does not send may be empty.
#[derive(Debug, Clone)]
pub struct Workload {
    /// One description each.
    pub texts: Vec<String>,
    /// Whole image files.
    pub images: Vec<Bytes>,
}

impl Workload {
    pub(crate) fn text_items(&self) -> Items {
        Items::Texts(self.texts.as_slice().into())
    }

    pub(crate) fn image_items(&self) -> Items {
        Items::Images(self.images.as_slice().into())
    }
}

/// Captions of a file, one a line, or the bundled ones.
///
/// # Errors
/// [`BenchError::Unreadable`], [`BenchError::NoCaptions`].
pub fn load_captions(file: Option<&Path>) -> Result<Vec<String>, BenchError> {
    let Some(path) = file else { return Ok(lines(BUNDLED_CAPTIONS)) };
    let content =
        std::fs::read_to_string(path).map_err(|source| BenchError::Unreadable { path: path.to_owned(), source })?;
    let captions = lines(&content);
    if captions.is_empty() {
        return Err(BenchError::NoCaptions { path: path.to_owned() });
    }
    Ok(captions)
}

fn lines(content: &str) -> Vec<String> {
    content.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The first 512 of these files, or generated ones when there are none.
///
/// # Errors
/// [`BenchError::Unreadable`].
pub fn load_images(files: &[PathBuf]) -> Result<Vec<Bytes>, BenchError> {
    if files.is_empty() {
        return synthetic_jpegs(SYNTHETIC_IMAGES, SYNTHETIC_SEED);
    }
    let read = |path: &PathBuf| match std::fs::read(path) {
        Ok(content) => Ok(content.into()),
        Err(source) => Err(BenchError::Unreadable { path: path.clone(), source }),
    };
    files.iter().take(MAX_IMAGES).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_captions_are_as_long_as_published_ones() {
        let captions = load_captions(None).unwrap();
        assert!(captions.len() >= 40);
        for caption in captions {
            let words = caption.split_whitespace().count();
            assert!((20..=45).contains(&words), "{words} words: {caption}");
        }
    }

    #[test]
    fn empty_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let blank = folder.path().join("blank.txt");
        std::fs::write(&blank, "\n  \n").unwrap();
        assert!(matches!(load_captions(Some(&blank)), Err(BenchError::NoCaptions { .. })));
        let missing = folder.path().join("missing.txt");
        assert!(load_captions(Some(&missing)).unwrap_err().to_string().contains("missing.txt"));
        assert!(load_images(&[missing]).is_err());
    }
}
