//! How often a search that waits for one encoder may ask another one as well.

use crate::encoder_client::Work;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a second call costs, in what each answered one earns: at most one in ten is made twice, so that members that are all
/// slow do not get twice as much to do.
const COST: u32 = 10;

/// As much as is saved up for the moment in which a member with many calls stops.
const MOST: u32 = 64 * COST;

/// Where no delay is configured.
const USUAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Hedges {
    delay: Option<Duration>,
    saved: AtomicU32,
}

impl Hedges {
    /// None are made with a delay of 0.
    pub(super) fn new(delay_ms: u64) -> Self {
        let delay = (delay_ms > 0).then(|| Duration::from_millis(delay_ms));
        Self { delay, saved: AtomicU32::new(MOST) }
    }

    /// After how long another member is asked as well, for what somebody waits for.
    pub(super) fn delay(&self, work: &Work) -> Option<Duration> {
        match work {
            Work::Text(_) | Work::QueryImage { .. } => self.delay,
            Work::Images { .. } => None,
        }
    }

    /// What takes longer without an answer is slow.
    pub(super) fn usual(&self) -> Duration {
        self.delay.unwrap_or(USUAL)
    }

    /// A call was answered.
    pub(super) fn earn(&self) {
        let _ =
            self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| (saved < MOST).then_some(saved + 1));
    }

    /// Whether a second call may be made.
    pub(super) fn spend(&self) -> bool {
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(COST)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_call_in_ten_is_made_twice_beside_the_first() {
        let hedges = Hedges::new(250);
        assert_eq!((0..1_000).filter(|_| hedges.spend()).count(), 64);
        let second_calls = (0..1_000)
            .filter(|_| {
                hedges.earn();
                hedges.spend()
            })
            .count();
        assert_eq!(second_calls, 100);
        (0..10_000).for_each(|_| hedges.earn());
        assert_eq!((0..1_000).filter(|_| hedges.spend()).count(), 64);
    }

    #[test]
    fn only_what_somebody_waits_for_is_asked_twice() {
        let bulk = Work::Images { images: Vec::new(), apply_exif_orientation: false };
        let text = Work::Text("a red coat".to_owned());
        assert_eq!(Hedges::new(250).delay(&text), Some(Duration::from_millis(250)));
        assert_eq!((Hedges::new(250).delay(&bulk), Hedges::new(0).delay(&text)), (None, None));
    }
}
