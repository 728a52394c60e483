//! Which files of a folder are images.

use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// File name endings that the decoder understands.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Image files in the order of their paths.
    pub images: Vec<PathBuf>,
    /// Entries that cannot be read, such as links that lead nowhere.
    pub unreadable: Vec<walkdir::Error>,
}

/// Looks for image files below `folder`. Hidden files and folders are left out.
pub fn find(folder: &Path) -> Found {
    let hidden = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let mut found = Found::default();
    for entry in entries.filter_entry(|entry| !hidden(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_image(entry.path()) => found.images.push(entry.into_path()),
            Ok(_) => {}
            Err(error) => found.unreadable.push(error),
        }
    }
    found
}

/// Whether the file's name ends like an image's that can be decoded.
pub fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}
