//! The folder that is written: whole or not at all, and for its owner alone.

use anyhow::Context as _;
use descry_terminal::new_file;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// A folder under another name until it is finished; nothing is left of it otherwise.
#[derive(Debug)]
pub(super) struct NewFolder {
    path: PathBuf,
    partial: PathBuf,
    is_finished: bool,
}

impl NewFolder {
    /// # Errors
    /// Where something is there already, or the folder above is not.
    pub(super) fn begin(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().with_context(|| format!("{} names no folder", path.display()))?;
        new_file::check_folder(path)?;
        let is_free = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        anyhow::ensure!(is_free, "{} is there already, and not an empty folder; name another one", path.display());
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".partial-{}", std::process::id()));
        let partial = path.with_file_name(hidden);
        anyhow::ensure!(!partial.exists(), "{} is left of an earlier run; remove it", partial.display());
        descry_private_files::create_folder(&partial).with_context(|| partial.display().to_string())?;
        Ok(Self { path: path.to_owned(), partial, is_finished: false })
    }

    /// A new file in it.
    pub(super) fn file(&self, name: &str) -> anyhow::Result<NewFile> {
        let path = self.partial.join(name);
        let file = descry_private_files::options().write(true).create_new(true).open(&path);
        Ok(NewFile { writer: BufWriter::new(file.with_context(|| path.display().to_string())?), path })
    }

    /// A file with this content.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let mut file = self.file(name)?;
        file.writer.write_all(content).with_context(|| file.path.display().to_string())?;
        file.finish()
    }

    /// Gives the folder its name, when everything in it is on disk.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let finished = File::open(&self.partial)
            .and_then(|folder| folder.sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.path));
        finished.with_context(|| self.path.display().to_string())?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_dir_all(&self.partial)
        {
            tracing::warn!(folder = %self.partial.display(), %error, "what was begun is left; remove it");
        }
    }
}

/// A file of JSON, an object a line.
#[derive(Debug)]
pub(super) struct NewFile {
    writer: BufWriter<File>,
    path: PathBuf,
}

impl NewFile {
    pub(super) fn line(&mut self, object: &impl serde::Serialize) -> anyhow::Result<()> {
        let written = serde_json::to_writer(&mut self.writer, object).map_err(std::io::Error::from);
        written.and_then(|()| self.writer.write_all(b"\n")).with_context(|| self.path.display().to_string())
    }

    /// When it is on disk.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let file = self.writer.into_inner().map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_whole_or_not_there_and_for_its_owner() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("answer");
        let folder = NewFolder::begin(&path).unwrap();
        folder.write("a", b"x").unwrap();
        assert!(!path.exists());
        drop(folder);
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0, "nothing is left");

        fs::create_dir(&path).unwrap();
        let folder = NewFolder::begin(&path).unwrap();
        let mut file = folder.file("a").unwrap();
        file.line(&serde_json::json!({ "b": 1 })).unwrap();
        file.finish().unwrap();
        folder.finish().unwrap();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "{\"b\":1}\n");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("a"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1);

        let error = NewFolder::begin(&path).unwrap_err().to_string();
        assert!(error.contains("not an empty folder"), "{error}");
        assert!(NewFolder::begin(&path.join("a")).unwrap_err().to_string().contains("not an empty folder"));
        assert!(NewFolder::begin(&above.path().join("missing/answer")).is_err());
    }
}
