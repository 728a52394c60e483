//! Files that a crash at any moment leaves as they were before or as they should be after.

use crate::TrainError;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Last part of the name of what is still being written.
const PARTIAL: &str = ".partial";

/// Writes beside the file, brings that to the disk, and only then gives it the name.
pub(super) fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), TrainError> {
    let partial = partial_path(path);
    let written = write_partial(&partial, content).and_then(|()| fs::rename(&partial, path));
    if let Err(source) = written {
        // The reason is told; what is left of the file is in nobody's way.
        let _ = fs::remove_file(&partial);
        return Err(TrainError::Unwritable { path: path.to_owned(), source });
    }
    // The new name itself survives a power cut only with the folder's entry. Not every system can sync folders.
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn write_partial(path: &Path, content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 18, File::create(path)?);
    content(&mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// A hidden name, which no pattern such as `*.safetensors` finds.
fn partial_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{PARTIAL}"))
}

/// Whether a crash left a file of this name.
pub(super) fn is_partial(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(PARTIAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_failed_write_leaves_the_file_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, |writer| writer.write_all(b"one")).unwrap();
        let failed = write(&path, |writer| {
            writer.write_all(b"tw")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let partial = partial_path(&path);
        assert!(is_partial(&partial.file_name().unwrap().to_string_lossy()) && !is_partial("a.json"));
        fs::write(&partial, "a longer torn text").unwrap();
        write(&path, |writer| writer.write_all(b"two")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(!partial.exists());
    }
}
