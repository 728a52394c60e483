//! Searches that nobody waits for any more.
//!
//! A caller who goes away or whose deadline passes drops the future of the search. The thread that searches does not see
//! that by itself: it asks here, once for a few hundred rows and once for an embedding, and ends.

use super::EmbeddedError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a search was given up. Cheap to ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Abandonment(Arc<AtomicBool>);

/// Whoever waits for a search. Dropped, the search is given up.
#[derive(Debug)]
pub(super) struct Caller(Abandonment);

impl Caller {
    /// Someone who waits, and what the search asks.
    pub(super) fn new() -> (Self, Abandonment) {
        let abandonment = Abandonment::default();
        (Self(abandonment.clone()), abandonment)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Abandonment {
    #[inline]
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`EmbeddedError::Abandoned`] once the caller has gone.
    pub(super) fn check(&self) -> Result<(), EmbeddedError> {
        if self.is_abandoned() { Err(EmbeddedError::Abandoned) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
