//! Whose turn it is to change a gallery.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// One lock for each gallery that is being changed. First come, first served: who waits for a gallery alone is not
/// passed by later writes.
#[derive(Debug, Default)]
pub(super) struct Turns {
    of_galleries: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

/// Held by a write, beside others.
#[derive(Debug)]
pub(super) struct Beside {
    _guard: OwnedRwLockReadGuard<()>,
}

/// Held by what must have the gallery alone.
#[derive(Debug)]
pub(super) struct Alone {
    _guard: OwnedRwLockWriteGuard<()>,
}

impl Turns {
    pub(super) async fn beside(&self, gallery: &str) -> Beside {
        Beside { _guard: self.of(gallery).read_owned().await }
    }

    pub(super) async fn alone(&self, gallery: &str) -> Alone {
        Alone { _guard: self.of(gallery).write_owned().await }
    }

    fn of(&self, gallery: &str) -> Arc<RwLock<()>> {
        let mut galleries = self.of_galleries.lock().unwrap_or_else(PoisonError::into_inner);
        // A lock that nobody holds or waits for is of no use any more; names come from callers and must not pile up.
        galleries.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(galleries.entry(gallery.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn writes_go_on_side_by_side_and_a_switch_has_the_gallery_alone() {
        let turns = Turns::default();
        let (first, second) = (turns.beside("lobby").await, turns.beside("lobby").await);
        let mut alone = Box::pin(turns.alone("lobby"));
        assert!(alone.as_mut().now_or_never().is_none());
        assert!(turns.beside("lobby").now_or_never().is_none(), "who waits for the gallery alone is not passed");
        assert!(turns.alone("yard").now_or_never().is_some(), "another gallery is no concern");
        drop((first, second));
        let held = alone.await;
        assert!(turns.beside("lobby").now_or_never().is_none());
        drop(held);
        assert!(turns.beside("lobby").now_or_never().is_some());
        assert_eq!(turns.of_galleries.lock().unwrap().len(), 1, "what nobody holds is forgotten");
    }
}
