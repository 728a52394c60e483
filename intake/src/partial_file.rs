//! Files that appear under their name only when they are complete.

use crate::IntakeError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A file being written under its name with `.partial` behind it. Dropped unpublished, it is removed.
pub(crate) struct PartialFile {
    path: PathBuf,
    partial: PathBuf,
    is_published: bool,
}

impl PartialFile {
    /// Creates the partial file, early enough that a wrong path costs no work.
    pub(crate) fn create(path: &Path) -> Result<(Self, File), IntakeError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(IntakeError::unwritable(&partial))?;
        Ok((Self { path: path.to_owned(), partial, is_published: false }, file))
    }

    /// The name it will have.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the file to disk and gives it its name.
    pub(crate) fn publish(mut self, file: File) -> Result<(), IntakeError> {
        let renamed = file.sync_all().and_then(|()| fs::rename(&self.partial, &self.path));
        renamed.map_err(IntakeError::unwritable(&self.path))?;
        self.is_published = true;
        // The new name itself survives a power cut only with the folder's entry. Not every system can sync folders.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_published {
            // Nobody is left to tell of a failure; a file named `.partial` explains itself.
            let _ = fs::remove_file(&self.partial);
        }
    }
}
