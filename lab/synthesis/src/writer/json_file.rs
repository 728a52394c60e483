//! JSON files that a crash at any moment leaves as they were before or as they should be after.

use crate::SynthesisError;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Writes beside the file, brings that to the disk, and only then gives it the name.
pub(super) fn write(path: &Path, content: &impl Serialize) -> Result<(), SynthesisError> {
    let partial = partial_path(path);
    let written = write_partial(&partial, content).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // The reason is told; what is left of the file is in nobody's way.
        let _ = fs::remove_file(&partial);
    }
    written.map_err(SynthesisError::unwritable(path))
}

fn write_partial(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(content)?;
    text.push(b'\n');
    let mut file = File::create(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// Where a file is until it is whole.
pub(super) fn partial_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_as_before_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, &1).unwrap();
        // In the way of the new one.
        let partial = partial_path(&path);
        fs::create_dir(&partial).unwrap();
        let message = write(&path, &2).unwrap_err().to_string();
        assert!(message.contains("a.json"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"1\n");
        fs::remove_dir(&partial).unwrap();
        // What a crash left is overwritten.
        fs::write(&partial, "a longer torn text").unwrap();
        write(&path, &3).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3\n");
        assert!(!partial.exists());
    }
}
