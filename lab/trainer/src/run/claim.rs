//! Whose a folder is: free for a new run, or held by a process that trains into it.

use super::durable_file;
use super::files::{DESCRIPTION, HISTORY, LOCK, SETTINGS, TOKENIZER, unreadable, unwritable};
use crate::TrainError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// Locks a folder until the file is dropped.
///
/// # Errors
/// [`TrainError::RunFolder`] while another process holds it; [`TrainError::Unwritable`].
pub(super) fn lock(folder: &Path) -> Result<File, TrainError> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(false).open(&path).map_err(|source| unwritable(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::RunFolder {
            path: folder.to_owned(),
            reason: "another process is training into it; wait for it, or choose another folder".to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unwritable(&path, source)),
    }
}

/// Accepts no folder, an empty one, and one in which a process was killed while it made its run or took it back.
///
/// # Errors
/// [`TrainError::RunFolder`] naming what is in the way; [`TrainError::Unreadable`].
pub(super) fn check_empty(folder: &Path) -> Result<(), TrainError> {
    let refuse = |reason: String| Err(TrainError::RunFolder { path: folder.to_owned(), reason });
    let names = match names(folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unreadable(folder, source)),
    };
    if names.iter().any(|name| name == DESCRIPTION) {
        return refuse("it holds a run already; continue that with --resume, or choose another folder".to_owned());
    }
    // Without the lock's file, none of these is ours to overwrite.
    let was_begun = names.iter().any(|name| name == LOCK);
    let ours = [LOCK, TOKENIZER, SETTINGS, HISTORY];
    let is_ours = |name: &str| was_begun && (ours.contains(&name) || durable_file::is_partial(name));
    match names.iter().find(|name| !is_ours(name.as_str())) {
        Some(name) => refuse(format!("it is not empty: it holds {name:?}; choose a new or empty folder")),
        None => Ok(()),
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Removes what a killed process left half written.
pub(super) fn remove_partial_files(folder: &Path) -> Result<(), TrainError> {
    for name in names(folder).map_err(|source| unreadable(folder, source))? {
        if durable_file::is_partial(&name) {
            // It would be overwritten by the next write of that file anyway.
            let _ = fs::remove_file(folder.join(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_leaves_of_making_a_run_and_of_taking_it_back_is_free() {
        let folder = tempfile::tempdir().unwrap();
        for name in [LOCK, ".tokenizer.json.partial", TOKENIZER, SETTINGS, HISTORY, ".run.json.partial"] {
            fs::write(folder.path().join(name), "").unwrap();
            check_empty(folder.path()).unwrap();
        }
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        assert!(check_empty(folder.path()).is_err());
    }
}
