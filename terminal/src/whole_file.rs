//! Files that are read whole: none of them without a limit.

use crate::TerminalError;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::path::Path;

/// The most that is read of a picture.
pub const MAX_IMAGE_BYTES: u64 = 64 << 20;

/// Reads a file or a pipe, as a shell hands it over, of at most `max_bytes`.
///
/// # Errors
/// [`TerminalError::TooLarge`], without having read more than that; [`TerminalError::NotAFile`] for folders and devices,
/// of which `/dev/zero` never ends; [`TerminalError::Unreadable`].
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, TerminalError> {
    // Asked before it is opened: opening a device can do things.
    let metadata = std::fs::metadata(path).map_err(unreadable(path))?;
    check(path, &metadata, |kind| kind.is_pipe())?;
    read_open(path, File::open(path).map_err(unreadable(path))?, max_bytes)
}

/// As [`read`], for a path that somebody else named: nothing but a regular file, and never waiting for one.
///
/// # Errors
/// As [`read`]; [`TerminalError::NotAFile`] also for pipes.
pub fn read_regular(path: &Path, max_bytes: u64) -> Result<Vec<u8>, TerminalError> {
    let metadata = std::fs::metadata(path).map_err(unreadable(path))?;
    check(path, &metadata, |_| false)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        // Whoever puts a pipe in the file's place meanwhile does not hold the program up.
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path).map_err(unreadable(path))?;
    check(path, &file.metadata().map_err(unreadable(path))?, |_| false)?;
    read_open(path, file, max_bytes)
}

fn read_open(path: &Path, file: File, max_bytes: u64) -> Result<Vec<u8>, TerminalError> {
    let too_large = || TerminalError::TooLarge { path: path.to_owned(), max_bytes };
    if file.metadata().is_ok_and(|metadata| metadata.len() > max_bytes) {
        return Err(too_large());
    }
    let mut content = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut content).map_err(unreadable(path))?;
    if content.len() as u64 > max_bytes { Err(too_large()) } else { Ok(content) }
}

/// What a path leads to, besides files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    Pipe,
    Device,
}

impl Kind {
    fn is_pipe(self) -> bool {
        self == Self::Pipe
    }

    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::FileTypeExt as _;
        match metadata.file_type() {
            kind if kind.is_dir() => Self::Folder,
            kind if kind.is_fifo() || kind.is_socket() => Self::Pipe,
            _ => Self::Device,
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        if metadata.is_dir() { Self::Folder } else { Self::Device }
    }
}

fn check(path: &Path, metadata: &Metadata, may_be: impl Fn(Kind) -> bool) -> Result<(), TerminalError> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = Kind::of(metadata);
    let found = match kind {
        kind if may_be(kind) => return Ok(()),
        Kind::Folder => "a folder",
        Kind::Pipe => "a pipe",
        Kind::Device => "a device",
    };
    Err(TerminalError::NotAFile { path: path.to_owned(), found })
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> TerminalError {
    let path = path.to_owned();
    move |source| TerminalError::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn no_more_is_read_than_is_allowed_and_the_message_says_how_much_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        std::fs::write(&path, vec![b'a'; 4096]).unwrap();
        assert_eq!(read(&path, 4096).unwrap().len(), 4096);
        let error = read(&path, 4095).unwrap_err();
        assert!(matches!(error, TerminalError::TooLarge { max_bytes: 4095, .. }));
        let error = read(&path, 2048).unwrap_err().to_string();
        assert!(error.contains("list.txt") && error.contains("2.00 KiB"), "{error}");
        // Sparse: the size alone decides, nothing is read.
        File::create(&path).unwrap().set_len(1 << 34).unwrap();
        assert!(matches!(read_regular(&path, MAX_IMAGE_BYTES), Err(TerminalError::TooLarge { .. })));
    }

    #[test]
    fn devices_and_folders_are_no_files() {
        for (path, found) in [("/dev/zero", "a device"), ("/", "a folder")] {
            for read in [read, read_regular] {
                let error = read(Path::new(path), 100).unwrap_err().to_string();
                assert!(error.starts_with(path) && error.contains(found), "{error}");
            }
        }
        assert!(read(Path::new("/nowhere"), 1).unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn a_pipe_of_the_shell_is_read_up_to_the_limit_but_only_who_is_at_the_keyboard_may_name_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(read_regular(&path, 100), Err(TerminalError::NotAFile { found: "a pipe", .. })));
        for (sent, is_read) in [(100, true), (5_000, false)] {
            let writer = path.clone();
            // It ends with an error when nobody reads the rest.
            let writing = std::thread::spawn(move || std::fs::write(writer, vec![b'a'; sent]));
            assert_eq!(read(&path, 100).is_ok(), is_read);
            drop(writing.join());
        }
    }
}
