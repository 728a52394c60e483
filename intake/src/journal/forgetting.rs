//! Taking images out of a journal, so that it does not name for ever what was erased from its gallery.

use super::{Header, JobIdentity, MAX_LINE_BYTES, VERSION};
use crate::IntakeError;
use crate::partial_file::PartialFile;
use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

/// Rewrites a journal without some of its images; it is whole at any moment, and on disk when this returns. A torn end is given
/// up, as the next job would give it up. Returns how many notes were taken out.
///
/// # Errors
/// [`IntakeError::Missing`] where there is none; [`IntakeError::JournalInUse`] while a job has it open;
/// [`IntakeError::NotAJournal`] for any other file, which is left as it is; [`IntakeError::Unreadable`] and
/// [`IntakeError::Unwritable`].
pub fn forget_images(path: &Path, is_forgotten: impl Fn(&JobIdentity, &str) -> bool) -> Result<u64, IntakeError> {
    if !path.is_file() {
        return Err(IntakeError::Missing { path: path.to_owned() });
    }
    let file = File::options().read(true).write(true).open(path).map_err(IntakeError::unwritable(path))?;
    // Until the new file has its name: no job writes into one that nobody reads any more.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => IntakeError::JournalInUse { path: path.to_owned() },
        TryLockError::Error(source) => IntakeError::Unwritable { path: path.to_owned(), source },
    })?;
    let mut reader = BufReader::new(&file);
    let mut line = Vec::new();
    let mut next_line = |line: &mut Vec<u8>| {
        line.clear();
        reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', line).map_err(IntakeError::unreadable(path))
    };
    next_line(&mut line)?;
    let header = serde_json::from_slice::<Header>(&line).ok().filter(|_| line.ends_with(b"\n"));
    let Some(header) = header.filter(|header| header.descry_journal == VERSION) else {
        return Err(IntakeError::NotAJournal { path: path.to_owned() });
    };
    let (partial, new) = PartialFile::create(path)?;
    let mut writer = BufWriter::new(new);
    let mut write = |line: &[u8]| writer.write_all(line).map_err(IntakeError::unwritable(path));
    write(&line)?;
    let mut forgotten = 0;
    loop {
        next_line(&mut line)?;
        let note = serde_json::from_slice::<(String, u64, i64)>(&line);
        let (true, Ok((image_id, _, _))) = (line.ends_with(b"\n"), note) else { break };
        if is_forgotten(&header.identity, &image_id) {
            forgotten += 1;
        } else {
            write(&line)?;
        }
    }
    if forgotten == 0 {
        return Ok(0);
    }
    let new = writer
        .into_inner()
        .map_err(|error| IntakeError::Unwritable { path: path.to_owned(), source: error.into_error() })?;
    partial.publish(new)?;
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileVersion, Journal};
    use std::fs;

    const ONE: FileVersion = FileVersion { bytes: 10, modified_ms: -5 };

    fn identity(gallery: &str) -> JobIdentity {
        JobIdentity { gallery: gallery.to_owned(), fingerprint: "f".repeat(64), created_at_ms: 1 }
    }

    #[test]
    fn what_is_forgotten_is_in_the_file_no_more_and_the_rest_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lobby.journal");
        let mut journal = Journal::open(&path, &identity("lobby")).unwrap();
        for image_id in ["a.jpg", "the \"other\".jpg", "b.jpg", "the \"other\".jpg"] {
            journal.record(image_id, &ONE).unwrap();
        }
        journal.flush().unwrap();
        let is_other = |_: &JobIdentity, image_id: &str| image_id == "the \"other\".jpg";
        assert!(matches!(forget_images(&path, is_other), Err(IntakeError::JournalInUse { .. })));
        drop(journal);
        // Torn by a killed job.
        let mut content = fs::read(&path).unwrap();
        content.extend(br#"["the \"other\".jpg",1"#);
        fs::write(&path, content).unwrap();
        assert_eq!(forget_images(&path, |identity, _| identity.gallery == "yard").unwrap(), 0);
        assert_eq!(forget_images(&path, is_other).unwrap(), 2);
        assert_eq!(forget_images(&path, is_other).unwrap(), 0);
        assert!(!fs::read_to_string(&path).unwrap().contains("other"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let journal = Journal::open(&path, &identity("lobby")).unwrap();
        assert!(journal.contains("a.jpg", &ONE) && journal.contains("b.jpg", &ONE) && journal.len() == 2);
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        assert!(matches!(forget_images(&path, |_, _| true), Err(IntakeError::Missing { .. })));
        for content in ["", "my notes\n", "{\"descry_journal\":2}\n"] {
            fs::write(&path, content).unwrap();
            assert!(matches!(forget_images(&path, |_, _| true), Err(IntakeError::NotAJournal { .. })), "{content}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }
}
