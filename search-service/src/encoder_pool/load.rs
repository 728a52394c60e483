//! How busy a member is: what it has to do, times how long it took of late.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// After so long a measurement counts for little more than a third.
const DECAY: Duration = Duration::from_secs(10);

/// The load of one tower of a member.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Items that were sent and not answered.
    in_flight: AtomicUsize,
    latency: Mutex<PeakLatency>,
}

impl Load {
    pub(super) fn begin(&self, items: usize) {
        self.in_flight.fetch_add(items, Ordering::Relaxed);
    }

    /// Items are no longer waited for. Without an answer they would have taken longer still, so that failing fast makes no
    /// member look fast; where nothing was measured yet they count when they took longer than `usual`.
    pub(super) fn end(&self, items: usize, took: Duration, is_answered: bool, usual: Duration) {
        self.in_flight.fetch_sub(items, Ordering::Relaxed);
        let now = Instant::now();
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let known = latency.at(now).unwrap_or(usual.as_secs_f64());
        if is_answered || known <= took.as_secs_f64() {
            latency.observe(took, now);
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Of the last calls, the slow ones more; nothing where there was none.
    pub(super) fn latency(&self) -> Option<Duration> {
        let now = Instant::now();
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).at(now).map(Duration::from_secs_f64)
    }

    /// Whether this one will sooner be done with one item more than `other`. Where one of them was never measured, what
    /// they have to do decides alone: a newcomer is not overrun.
    pub(super) fn is_lighter_than(&self, other: &Self) -> bool {
        let (own, others) = (self.in_flight() + 1, other.in_flight() + 1);
        match (self.latency(), other.latency()) {
            (Some(latency), Some(others_latency)) => {
                latency.as_secs_f64() * (own as f64) < others_latency.as_secs_f64() * (others as f64)
            }
            (None, _) | (_, None) => own < others,
        }
    }
}

/// An average that follows a slow call at once, and fast ones little by little (peak EWMA, as in Finagle and tower): who
/// was slow just now gets little, and little by little more.
#[derive(Debug, Default)]
struct PeakLatency {
    measured: Option<(f64, Instant)>,
}

/// No latency is shorter, so that no member's cost is 0 whatever it has to do.
const SHORTEST_SECONDS: f64 = 1e-4;

impl PeakLatency {
    fn observe(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64().max(SHORTEST_SECONDS);
        let average = match self.measured {
            Some((average, at)) if took < average => {
                let kept = decay(at, now);
                average * kept + took * (1.0 - kept)
            }
            Some(_) | None => took,
        };
        self.measured = Some((average, now));
    }

    /// In seconds. It falls with time, so that who was slow once is tried again.
    fn at(&self, now: Instant) -> Option<f64> {
        self.measured.map(|(average, at)| (average * decay(at, now)).max(SHORTEST_SECONDS))
    }
}

fn decay(since: Instant, now: Instant) -> f64 {
    (-now.saturating_duration_since(since).as_secs_f64() / DECAY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = ms(250);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn measured(in_flight: usize, took: &[u64]) -> Load {
        let load = Load::default();
        for took in took {
            load.begin(1);
            load.end(1, ms(*took), true, USUAL);
        }
        load.begin(in_flight);
        load
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_counts_at_once_and_fast_ones_little_by_little() {
        let load = measured(0, &[10, 500]);
        assert_eq!(load.latency(), Some(ms(500)));
        tokio::time::advance(DECAY).await;
        let later = load.latency().unwrap();
        assert!((ms(180)..ms(190)).contains(&later), "{later:?}");
        load.begin(1);
        load.end(1, ms(10), true, USUAL);
        let after_a_fast_one = load.latency().unwrap();
        assert!((ms(185)..ms(195)).contains(&after_a_fast_one), "{after_a_fast_one:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn failing_fast_makes_no_member_look_fast() {
        let load = measured(0, &[100]);
        load.begin(1);
        load.end(1, ms(1), false, USUAL);
        assert_eq!((load.latency(), load.in_flight()), (Some(ms(100)), 0));
        load.begin(1);
        load.end(1, ms(300), false, USUAL);
        assert_eq!(load.latency(), Some(ms(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_that_never_answers_is_measured_by_how_long_it_was_waited_for() {
        let load = measured(0, &[]);
        load.begin(2);
        load.end(1, ms(249), false, USUAL);
        assert_eq!(load.latency(), None);
        load.end(1, ms(250), false, USUAL);
        assert_eq!(load.latency(), Some(ms(250)));
        assert!(measured(20, &[10]).is_lighter_than(&load));
    }

    #[tokio::test(start_paused = true)]
    async fn the_lighter_one_is_sooner_done() {
        assert!(measured(1, &[10]).is_lighter_than(&measured(2, &[10])));
        // Four times as fast with twice as much to do.
        assert!(measured(3, &[10]).is_lighter_than(&measured(1, &[40])));
        assert!(!measured(9, &[10]).is_lighter_than(&measured(1, &[40])));
        // A newcomer gets as much as it has to do, not everything.
        assert!(measured(0, &[]).is_lighter_than(&measured(1, &[10])));
        assert!(!measured(2, &[]).is_lighter_than(&measured(1, &[10])));
    }
}
