//! Files that appear under their name only when they are complete.

use crate::IntakeError;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process;

const ENDING: &str = ".partial";

/// A file being written beside its place, as `.NAME.PID.partial`. Dropped unpublished, it is removed; what a killed
/// process leaves, the next one removes that writes a file of this name.
pub(crate) struct PartialFile {
    path: PathBuf,
    partial: PathBuf,
    is_published: bool,
}

impl PartialFile {
    /// Creates the partial file, early enough that a wrong path costs no work.
    pub(crate) fn create(path: &Path) -> Result<(Self, File), IntakeError> {
        let (folder, start) = place(path);
        remove_abandoned(folder, &start);
        let mut name = start;
        name.push(format!("{}{ENDING}", process::id()));
        let partial = folder.join(name);
        let file = descry_private_files::create(&partial).map_err(IntakeError::unwritable(&partial))?;
        // Says that this process is there, also to those who see other processes' numbers. Not every file system can
        // lock; there, nothing is removed either.
        let _ = file.try_lock();
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
        if let Ok(folder) = File::open(place(&self.path).0) {
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

/// The folder of a file, and how its partial files' names begin.
fn place(path: &Path) -> (&Path, OsString) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut start = OsString::from(".");
    start.push(path.file_name().unwrap_or_default());
    start.push(".");
    (folder, start)
}

/// Removes the partial files of processes that are gone: nobody holds their locks.
fn remove_abandoned(folder: &Path, start: &OsString) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.as_encoded_bytes().strip_prefix(start.as_encoded_bytes());
        let number = number.and_then(|rest| rest.strip_suffix(ENDING.as_bytes()));
        let is_partial = number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit));
        if !is_partial || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        let is_abandoned = OpenOptions::new().write(true).open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_abandoned {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_processes_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.npz");
        let name = |number: u32| folder.path().join(format!(".e.npz.{number}.partial"));
        let others = [".e.npz.x.partial", ".f.npz.1.partial", "e.npz.partial"].map(|name| folder.path().join(name));
        for left in others.iter().chain([&name(1), &name(2)]) {
            fs::write(left, b"half").unwrap();
        }
        // Process 2 still writes.
        let busy = OpenOptions::new().write(true).open(name(2)).unwrap();
        busy.try_lock().unwrap();
        let (partial, file) = PartialFile::create(&path).unwrap();
        assert!(!name(1).exists() && name(2).exists() && name(process::id()).exists());
        partial.publish(file).unwrap();
        assert!(path.exists() && !name(process::id()).exists());
        assert!(others.iter().all(|path| path.exists()));
    }
}
