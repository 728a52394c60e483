//! Files that a command writes: in folders that are there, and under their name only when they are whole.

use crate::TerminalError;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Whether an output's folder is there. Making it would hide a mistyped path, and what was asked for would be somewhere
/// else; so commands look before they begin.
///
/// # Errors
/// [`TerminalError::NoFolder`], with the part of the path that is missing.
pub fn check_folder(path: &Path) -> Result<(), TerminalError> {
    let folder = folder_of(path);
    if folder.is_dir() {
        return Ok(());
    }
    // The first part that is missing is the one that was mistyped.
    let missing = folder.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.is_dir()).last();
    Err(TerminalError::NoFolder { path: path.to_owned(), folder: missing.unwrap_or(folder).to_owned() })
}

/// Writes a file that nobody but its owner may read, whole or not at all: under its name with `.partial` behind it, which a next run replaces, until it is on
/// disk.
///
/// # Errors
/// [`TerminalError::NoFolder`], [`TerminalError::Unwritable`]; what had the name before is left then.
pub fn write(path: &Path, content: &[u8]) -> Result<(), TerminalError> {
    check_folder(path)?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = descry_private_files::create(&partial)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| {
        // Nobody is left to tell of a failure of that.
        let _ = fs::remove_file(&partial);
        TerminalError::Unwritable { path: path.to_owned(), source }
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_named_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet/2026/hits.png");
        let error = write(&path, b"x").unwrap_err();
        let TerminalError::NoFolder { folder: missing, .. } = error else { panic!("{error}") };
        assert_eq!(missing, folder.path().join("sheet"));
        assert!(!missing.exists());
        assert!(check_folder(Path::new("hits.png")).is_ok());
        assert!(check_folder(Path::new("nowhere/hits.png")).unwrap_err().to_string().contains("no folder nowhere;"));
    }

    #[test]
    fn a_file_is_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hits.png");
        // What a killed run left.
        std::fs::write(folder.path().join("hits.png.partial"), "a longer torn text").unwrap();
        write(&path, b"first").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        // A folder cannot be replaced, and the failure leaves nothing.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(write(&taken, b"x").unwrap_err().to_string().contains("taken"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
