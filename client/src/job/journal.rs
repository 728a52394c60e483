//! The journal of a job, used by the thread that reads and by the task that collects acknowledgements.

use crate::ClientError;
use crate::time::unix_ms;
use descry_intake::{FileVersion, JobIdentity, Journal};
use descry_proto::search::v1::Gallery;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A journal, or none: then the service alone recognises what is there.
#[derive(Clone, Default)]
pub(crate) struct SharedJournal(Option<Arc<Mutex<Journal>>>);

impl SharedJournal {
    /// Opens the journal where one is wanted.
    pub(crate) fn open(path: Option<&Path>, identity: &JobIdentity) -> Result<Self, ClientError> {
        let journal = path.map(|path| Journal::open(path, identity)).transpose()?;
        Ok(Self(journal.map(|journal| Arc::new(Mutex::new(journal)))))
    }

    /// Whether exactly this version of the image was acknowledged.
    pub(crate) fn contains(&self, image_id: &str, version: &FileVersion) -> bool {
        self.lock().is_some_and(|journal| journal.contains(image_id, version))
    }

    /// Notes an acknowledgement. Returns whether there is a journal.
    pub(super) fn record(&self, image_id: &str, version: &FileVersion) -> Result<bool, ClientError> {
        match self.lock() {
            Some(mut journal) => Ok(journal.record(image_id, version).map(|()| true)?),
            None => Ok(false),
        }
    }

    pub(super) fn flush(&self) -> Result<(), ClientError> {
        match self.lock() {
            Some(mut journal) => Ok(journal.flush()?),
            None => Ok(()),
        }
    }

    /// A thread that panicked leaves at most a note missing, which costs sending one image again.
    fn lock(&self) -> Option<MutexGuard<'_, Journal>> {
        self.0.as_ref().map(|journal| journal.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which gallery, or generation of one, a journal tells of.
pub(crate) fn identity(address: &str, gallery: &Gallery) -> JobIdentity {
    JobIdentity {
        gallery: address.to_owned(),
        fingerprint: gallery.fingerprint.clone(),
        created_at_ms: gallery.created_at.as_ref().map(unix_ms).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_known_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.journal");
        let identity = identity("lobby", &Gallery { fingerprint: "f".repeat(64), ..Gallery::default() });
        let version = FileVersion { bytes: 3, modified_ms: 4 };
        let journal = SharedJournal::open(Some(&path), &identity).unwrap();
        assert!(!journal.contains("a", &version));
        assert!(journal.record("a", &version).unwrap());
        journal.flush().unwrap();
        drop(journal);
        assert!(SharedJournal::open(Some(&path), &identity).unwrap().contains("a", &version));
        let none = SharedJournal::open(None, &identity).unwrap();
        assert!(!none.record("a", &version).unwrap() && !none.contains("a", &version));
    }
}
