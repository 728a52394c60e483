//! Which files of a folder are images.

use crate::LeftOut;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// File name endings of the formats that are decoded.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "jfif", "jpe", "pjpeg", "png", "webp", "bmp"];

/// Endings of images of other formats.
const OTHER_IMAGES: [&str; 17] = [
    "gif", "tif", "tiff", "avif", "heic", "heif", "jxl", "jp2", "j2k", "ppm", "pgm", "pnm", "dng", "cr2", "nef", "svg",
    "ico",
];

/// What [`LeftOut`] calls files that people do not see.
pub(crate) const HIDDEN: &str = "hidden files and folders";

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Image files in the order of their paths.
    pub images: Vec<PathBuf>,
    /// Entries that cannot be read, such as links that lead nowhere.
    pub unreadable: Vec<walkdir::Error>,
    /// Everything else.
    pub left_out: LeftOut,
}

/// Looks for image files below `folder`. Hidden files and folders are left out.
pub fn find(folder: &Path) -> Found {
    let hidden = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let (mut found, mut hidden_ones) = (Found::default(), LeftOut::default());
    let seen = |entry: &walkdir::DirEntry| {
        let is_hidden = hidden(entry);
        if is_hidden {
            hidden_ones.add(HIDDEN, || entry.path().display().to_string());
        }
        !is_hidden
    };
    for entry in entries.filter_entry(seen) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) if !entry.file_type().is_file() => {
                found.left_out.add("devices, pipes and sockets", || entry.path().display().to_string());
            }
            Ok(entry) if is_image(entry.path()) => found.images.push(entry.into_path()),
            Ok(entry) => {
                let name = entry.file_name().to_string_lossy();
                found.left_out.add(&kind_of(&name), || entry.path().display().to_string());
            }
            Err(error) => found.unreadable.push(error),
        }
    }
    found.left_out.extend(hidden_ones);
    found
}

/// Whether the file's name ends like an image's that can be decoded.
pub fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// What [`LeftOut`] calls files with such a name.
pub(crate) fn kind_of(file_name: &str) -> String {
    match file_name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()) {
        Some(ending) if OTHER_IMAGES.contains(&ending.as_str()) => {
            format!(".{ending} files (images of a format that is not read)")
        }
        Some(ending) if !ending.is_empty() && ending.len() <= 16 => format!(".{ending} files"),
        Some(_) | None => "files without an ending".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_folder_is_an_image_or_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".thumbnails")).unwrap();
        let images = ["a.JPG", "b.jfif", "c.jpe", "d.pjpeg", "e.webp"];
        for name in images.into_iter().chain(["f.heic", "g.HEIC", "h.tif", "notes.md", "README", ".thumbnails/i.jpg"]) {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        let found = find(folder.path());
        assert!(found.images.iter().map(|path| path.file_name().unwrap()).eq(images));
        let left_out: Vec<(&str, u64)> = found.left_out.kinds().map(|(name, kind)| (name, kind.count)).collect();
        let expected = [
            (".heic files (images of a format that is not read)", 2),
            (".md files", 1),
            (".tif files (images of a format that is not read)", 1),
            ("files without an ending", 1),
            (HIDDEN, 1),
        ];
        assert_eq!(left_out, expected);
    }
}
