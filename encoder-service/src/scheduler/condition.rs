//! Whether a tower still works: a device that is lost fails every run, and nobody should be sent to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// One failed run may be the batch's fault, so many in a row are the tower's.
const FAILURES: usize = 3;

/// The condition of one scheduler's towers.
pub(super) struct Condition {
    failures_in_a_row: AtomicUsize,
    works: watch::Sender<bool>,
}

impl Default for Condition {
    fn default() -> Self {
        Self { failures_in_a_row: AtomicUsize::new(0), works: watch::Sender::new(true) }
    }
}

impl Condition {
    /// A run ended, well or not.
    pub(super) fn ran(&self, well: bool) {
        if well {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            self.tell(true);
        } else if self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.tell(false);
        }
    }

    /// A thread of the scheduler is gone; no run will end well.
    pub(super) fn broke(&self) {
        self.failures_in_a_row.store(FAILURES, Ordering::Relaxed);
        self.tell(false);
    }

    /// Tells whether the towers work, and when that changes.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.works.subscribe()
    }

    fn tell(&self, works: bool) {
        self.works.send_if_modified(|told| std::mem::replace(told, works) != works);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_count_and_a_good_run_heals() {
        let condition = Condition::default();
        let works = condition.watch();
        for well in [false, false, true, false, false] {
            condition.ran(well);
            assert!(*works.borrow());
        }
        condition.ran(false);
        assert!(!*works.borrow());
        condition.ran(true);
        assert!(*works.borrow());
        condition.broke();
        assert!(!*works.borrow());
    }
}
