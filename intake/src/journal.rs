//! What of an indexing job is already in the gallery, so that a killed job continues where it was.

mod forgetting;

pub use forgetting::forget_images;

use crate::image_entry::id_digest;
use crate::{FileVersion, IntakeError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The format's version, and the header's first field, by which a journal is known.
const VERSION: u32 = 1;

/// How every header begins; a file that holds less than a header but begins like this was torn while it was made.
const HEADER_START: &[u8] = b"{\"descry_journal\":";

/// Longest line, in bytes: more than the longest name in an archive takes when each of its bytes is escaped.
const MAX_LINE_BYTES: u64 = 8 << 20;

/// Which gallery a journal tells of. A gallery that was deleted and made anew has another time of creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobIdentity {
    /// The gallery's name.
    pub gallery: String,
    /// Fingerprint of the model that fills it.
    pub fingerprint: String,
    /// When the gallery was made, in milliseconds since 1970-01-01T00:00:00Z.
    pub created_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    descry_journal: u32,
    #[serde(flatten)]
    identity: JobIdentity,
}

/// The file below a journal.
trait JournalFile: Read + Write + Seek + Send {
    /// Gives up what is behind so many bytes.
    fn cut(&mut self, bytes: u64) -> std::io::Result<()>;

    /// Brings everything to the disk.
    fn sync(&mut self) -> std::io::Result<()>;
}

impl JournalFile for File {
    fn cut(&mut self, bytes: u64) -> std::io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.sync_all()
    }
}

/// A file with a JSON header, and then one line `[image id, bytes, modified_ms]` for each acknowledged image.
///
/// In memory an image takes 32 bytes: a digest of its id (128 bits, too many for two ids to share one) and the version
/// acknowledged last.
pub struct Journal {
    path: PathBuf,
    /// Holds the lock of the file until it is dropped.
    writer: BufWriter<Box<dyn JournalFile>>,
    acknowledged: HashMap<u128, FileVersion>,
}

impl Journal {
    /// Opens the journal of a job, or begins one. A journal of another identity is begun anew: what it
    /// tells of is gone. A torn end, such as a killed job leaves, is cut off.
    ///
    /// # Errors
    /// [`IntakeError::Missing`] for a folder that is not there; [`IntakeError::JournalInUse`] while another process has it
    /// open; [`IntakeError::NotAJournal`] for any other file,
    /// which is left as it is; [`IntakeError::Unreadable`] and [`IntakeError::Unwritable`].
    pub fn open(path: &Path, identity: &JobIdentity) -> Result<Self, IntakeError> {
        // A folder that is not there is more often a slip of the pen than a wish.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            return Err(IntakeError::Missing { path: folder.to_owned() });
        }
        let file = descry_private_files::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(IntakeError::unwritable(path))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => IntakeError::JournalInUse { path: path.to_owned() },
            TryLockError::Error(source) => IntakeError::Unwritable { path: path.to_owned(), source },
        })?;
        Self::over(path, Box::new(file), identity)
    }

    fn over(path: &Path, mut file: Box<dyn JournalFile>, identity: &JobIdentity) -> Result<Self, IntakeError> {
        let unwritable = IntakeError::unwritable(path);
        let (acknowledged, end) = read(path, &mut *file, identity)?;
        let is_new = end == 0;
        // Before anything new is written: after a power loss a new header must not stand before the lines of another job,
        // nor lines without their header.
        file.cut(end).and_then(|()| if is_new { file.sync() } else { Ok(()) }).map_err(unwritable)?;
        file.seek(SeekFrom::Start(end)).map_err(IntakeError::unwritable(path))?;
        let mut journal = Self { path: path.to_owned(), writer: BufWriter::new(file), acknowledged };
        if is_new {
            journal.write_line(&Header { descry_journal: VERSION, identity: identity.clone() })?;
            journal.flush()?;
            journal.writer.get_mut().sync().map_err(IntakeError::unwritable(path))?;
        }
        Ok(journal)
    }

    /// Whether exactly this version of the image is in the gallery.
    pub fn contains(&self, image_id: &str, version: &FileVersion) -> bool {
        self.acknowledged.get(&id_digest(image_id)) == Some(version)
    }

    /// Notes that this version of the image is in the gallery. It is on disk after the next [`Journal::flush`].
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`], from this note or earlier ones.
    pub fn record(&mut self, image_id: &str, version: &FileVersion) -> Result<(), IntakeError> {
        self.write_line(&(image_id, version.bytes, version.modified_ms))?;
        self.acknowledged.insert(id_digest(image_id), *version);
        Ok(())
    }

    /// Hands all notes to the system: a killed process loses only what comes after.
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`].
    pub fn flush(&mut self) -> Result<(), IntakeError> {
        self.writer.flush().map_err(IntakeError::unwritable(&self.path))
    }

    /// Number of images in it.
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Whether it holds no image.
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    fn write_line(&mut self, content: &impl Serialize) -> Result<(), IntakeError> {
        let line = serde_json::to_string(content).map_err(std::io::Error::from);
        line.and_then(|line| writeln!(self.writer, "{line}")).map_err(IntakeError::unwritable(&self.path))
    }
}

/// The images in the file, and where the usable part of it ends: at 0 when it has to be begun anew.
fn read(
    path: &Path,
    file: &mut dyn JournalFile,
    identity: &JobIdentity,
) -> Result<(HashMap<u128, FileVersion>, u64), IntakeError> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut next_line = |line: &mut Vec<u8>| {
        line.clear();
        reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', line).map_err(IntakeError::unreadable(path))
    };
    let mut acknowledged = HashMap::new();
    let mut end = next_line(&mut line)? as u64;
    match serde_json::from_slice::<Header>(&line) {
        Ok(header) if line.ends_with(b"\n") => {
            if header.descry_journal != VERSION || header.identity != *identity {
                return Ok((acknowledged, 0));
            }
        }
        Ok(_) | Err(_) => {
            let is_torn = !line.ends_with(b"\n") && (line.starts_with(HEADER_START) || HEADER_START.starts_with(&line));
            return if is_torn {
                Ok((acknowledged, 0))
            } else {
                Err(IntakeError::NotAJournal { path: path.to_owned() })
            };
        }
    }
    loop {
        let bytes = next_line(&mut line)? as u64;
        // A line that is no note is the torn end. Whatever follows it is given up too: it costs indexing some images
        // again, which the gallery recognises as unchanged.
        let note = serde_json::from_slice::<(String, u64, i64)>(&line);
        let (true, Ok((image_id, size, modified_ms))) = (line.ends_with(b"\n"), note) else {
            return Ok((acknowledged, end));
        };
        acknowledged.insert(id_digest(&image_id), FileVersion { bytes: size, modified_ms });
        end += bytes;
    }
}

#[cfg(test)]
mod power_loss;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const VERSION_ONE: FileVersion = FileVersion { bytes: 10, modified_ms: -5 };
    const VERSION_TWO: FileVersion = FileVersion { bytes: 10, modified_ms: 6 };

    fn identity(created_at_ms: i64) -> JobIdentity {
        JobIdentity { gallery: "lobby".to_owned(), fingerprint: "f".repeat(64), created_at_ms }
    }

    #[test]
    fn a_later_job_knows_what_an_earlier_one_did() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("jobs/lobby.journal");
        let refused = Journal::open(&missing, &identity(1));
        assert!(matches!(refused, Err(IntakeError::Missing { .. })));
        let path = folder.path().join("lobby.journal");
        let mut journal = Journal::open(&path, &identity(1)).unwrap();
        journal.record("a \"quoted\"\nname.jpg", &VERSION_ONE).unwrap();
        journal.record("b.jpg", &VERSION_ONE).unwrap();
        journal.record("b.jpg", &VERSION_TWO).unwrap();
        assert!(matches!(Journal::open(&path, &identity(1)), Err(IntakeError::JournalInUse { .. })));
        drop(journal);
        let journal = Journal::open(&path, &identity(1)).unwrap();
        assert_eq!(journal.len(), 2);
        assert!(journal.contains("a \"quoted\"\nname.jpg", &VERSION_ONE));
        assert!(journal.contains("b.jpg", &VERSION_TWO) && !journal.contains("b.jpg", &VERSION_ONE));
        drop(journal);
        assert!(Journal::open(&path, &identity(2)).unwrap().is_empty());
        assert!(Journal::open(&path, &identity(1)).unwrap().is_empty());
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        for content in ["my notes", "my notes\n", "{\"a\":1}\n", "{\"descry_journal\":true}\n"] {
            fs::write(&path, content).unwrap();
            assert!(matches!(Journal::open(&path, &identity(1)), Err(IntakeError::NotAJournal { .. })), "{content}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    proptest! {
        #[test]
        fn any_torn_end_is_cut_off(kept in 0_usize..200) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j");
            let mut journal = Journal::open(&path, &identity(1)).unwrap();
            journal.record("a.jpg", &VERSION_ONE).unwrap();
            journal.record("b.jpg", &VERSION_ONE).unwrap();
            drop(journal);
            let mut content = fs::read(&path).unwrap();
            content.truncate(kept);
            let lines = content.iter().filter(|&&byte| byte == b'\n').count();
            fs::write(&path, content).unwrap();
            let mut journal = Journal::open(&path, &identity(1)).unwrap();
            prop_assert_eq!(journal.len(), lines.saturating_sub(1));
            journal.record("c.jpg", &VERSION_TWO).unwrap();
            drop(journal);
            let journal = Journal::open(&path, &identity(1)).unwrap();
            prop_assert!(journal.contains("c.jpg", &VERSION_TWO));
            prop_assert_eq!(journal.len(), lines.saturating_sub(1) + 1);
        }
    }
}
