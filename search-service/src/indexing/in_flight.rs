//! The ids of one stream between encoding and writing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The store does not know of these images yet, so it cannot tell whether another image of the same id is unchanged.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// How often each id is on its way.
    counts: Mutex<HashMap<String, usize>>,
}

impl InFlight {
    /// Notes ids and tells which of them were on their way already.
    pub(super) fn enter(&self, ids: &[String]) -> Vec<bool> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter()
            .map(|id| {
                let count = counts.entry(id.clone()).or_default();
                *count += 1;
                *count > 1
            })
            .collect()
    }

    pub(super) fn leave(&self, ids: &[String]) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(count) = counts.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_ids_are_told_until_all_have_left() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let in_flight = InFlight::default();
        assert_eq!(in_flight.enter(&ids(&["a", "b", "a"])), [false, false, true]);
        in_flight.leave(&ids(&["a"]));
        assert_eq!(in_flight.enter(&ids(&["a"])), [true]);
        in_flight.leave(&ids(&["a", "a", "b"]));
        assert_eq!(in_flight.enter(&ids(&["a", "b"])), [false, false]);
    }
}
