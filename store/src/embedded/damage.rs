//! Images that cannot be read: named, counted, and passed over, so that one of them does not end every search that meets it.

use super::EmbeddedError;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Damaged images that are named one by one in the log; all are counted.
const NAMED_IN_LOG: usize = 100;

/// What is known to be damaged, by the number in the table of images.
#[derive(Debug, Default)]
pub(super) struct Damage {
    rows: Mutex<BTreeMap<i64, DamagedRow>>,
}

#[derive(Debug)]
struct DamagedRow {
    /// Whether it is on disk alone: what filters look at could not be read.
    is_unloaded: bool,
}

impl Damage {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<i64, DamagedRow>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many images are known to be damaged.
    pub(super) fn count(&self) -> u64 {
        self.rows().len() as u64
    }

    /// Numbers of all that are known to be damaged.
    pub(super) fn known(&self) -> HashSet<i64> {
        self.rows().keys().copied().collect()
    }

    /// Numbers of those that are not in memory.
    pub(super) fn unloaded(&self) -> HashSet<i64> {
        self.rows().iter().filter(|(_, row)| row.is_unloaded).map(|(id, _)| *id).collect()
    }

    /// Notes a damaged image, and says so the first time.
    pub(super) fn note(&self, id: i64, image_id: Option<&str>, reason: &str) {
        self.insert(id, image_id, reason, false);
    }

    /// As [`Damage::note`], for one that is not in memory.
    pub(super) fn note_unloaded(&self, id: i64, image_id: Option<&str>, reason: &str) {
        self.insert(id, image_id, reason, true);
    }

    fn insert(&self, id: i64, image_id: Option<&str>, reason: &str, is_unloaded: bool) {
        let mut rows = self.rows();
        if rows.contains_key(&id) {
            return;
        }
        rows.insert(id, DamagedRow { is_unloaded });
        if rows.len() <= NAMED_IN_LOG {
            let image_id = image_id.unwrap_or("(unreadable)");
            tracing::error!(
                row = id,
                image_id,
                reason,
                "an image is damaged and passed over; see `descry gallery check`"
            );
        }
    }

    /// These are gone, or written anew.
    pub(super) fn forget(&self, ids: impl IntoIterator<Item = i64>) {
        let mut rows = self.rows();
        if !rows.is_empty() {
            for id in ids {
                rows.remove(&id);
            }
        }
    }

    /// What was read of an image; nothing of one that is damaged. What else failed is an error.
    pub(super) fn pass_over<T>(
        &self,
        id: i64,
        image_id: impl FnOnce() -> Option<String>,
        read: Result<T, EmbeddedError>,
    ) -> Result<Option<T>, EmbeddedError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.is_damage() => {
                self.note(id, image_id().as_deref(), &error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_counted_once_until_it_is_written_anew() {
        let damage = Damage::default();
        let damaged = |id| EmbeddedError::DamagedImage { image: id, reason: "bad".to_owned() };
        for _again in 0..2 {
            let read: Result<(), _> = Err(damaged(7));
            assert!(matches!(damage.pass_over(7, || Some("a.jpg".to_owned()), read), Ok(None)));
        }
        damage.note_unloaded(9, None, "bad");
        assert_eq!((damage.count(), damage.unloaded()), (2, HashSet::from([9])));
        assert_eq!(damage.known(), HashSet::from([7, 9]));
        assert!(matches!(damage.pass_over(8, || None, Ok(3)), Ok(Some(3))));
        let failed: Result<(), _> = Err(EmbeddedError::NoRoom);
        assert!(damage.pass_over(8, || None, failed).is_err(), "that is no damage of an image");
        damage.forget([7, 8]);
        assert_eq!(damage.count(), 1);
    }
}
