//! Which files of a folder are images.

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// File name endings that the decoder understands.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// All image files below `folder` in the order of their paths. Hidden files and folders are left out.
pub(crate) fn find(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let hidden = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let mut files = Vec::new();
    for entry in
        WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(|entry| !hidden(entry))
    {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let is_image = entry
            .path()
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)));
        if is_image && entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}
