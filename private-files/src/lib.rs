//! Files and folders for nobody but their owner.
//!
//! What Descry keeps of people, whether a gallery, a job's journal or a report of failures, is no business of the other users of
//! a machine, whatever the process' umask says. Everything that makes such a file makes it here. Systems without Unix' modes
//! keep their own rules: there these functions do what the standard library does.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

/// Reading and writing for the owner.
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;
/// The same, and entering.
#[cfg(unix)]
const FOLDER_MODE: u32 = 0o700;
/// What anybody else may do.
#[cfg(unix)]
const OTHERS: u32 = 0o077;

/// To open files with, which are the owner's where that makes them. One that is there keeps its mode; [`tighten`] changes it.
#[must_use]
pub fn options() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there is no mode to set"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, FILE_MODE);
    options
}

/// Makes a file, or empties one that is there, for its owner alone.
///
/// # Errors
/// As [`File::create`].
pub fn create(path: &Path) -> io::Result<File> {
    let file = options().write(true).create(true).truncate(true).open(path)?;
    tighten(path)?;
    Ok(file)
}

/// Makes a folder, with those above it, for its owner alone. One that is there is left as it is: others may share it for what
/// else is in it.
///
/// # Errors
/// As [`std::fs::create_dir_all`].
pub fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, FOLDER_MODE);
    builder.create(path)
}

/// Takes away what others may do with a file, as they may with one of an earlier release. Whether there was something to take
/// away; not where there is no such file, or where it is no regular one, such as `/dev/stdout`.
///
/// # Errors
/// When the file is somebody else's.
pub fn tighten(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = match path.metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut permissions = metadata.permissions();
        if permissions.mode() & OTHERS == 0 {
            return Ok(false);
        }
        permissions.set_mode(permissions.mode() & !OTHERS);
        std::fs::set_permissions(path, permissions)?;
        Ok(true)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(false)
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("data/galleries");
        create_folder(&folder).unwrap();
        create_folder(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&above.path().join("data"))), (0o700, 0o700));
        let file = folder.join("file");
        create(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn what_an_earlier_release_left_open_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(!tighten(&file).unwrap(), "there is none");
        std::fs::write(&file, "kept").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
        assert!(tighten(&file).unwrap() && !tighten(&file).unwrap());
        assert_eq!((mode(&file), std::fs::read_to_string(&file).unwrap().as_str()), (0o600, "kept"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        create(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert!(!tighten(Path::new("/dev/null")).unwrap(), "it is everybody's");
    }
}
