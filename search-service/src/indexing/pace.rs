//! Taking in no more images a second than wanted, so that other work stays fast.

use std::time::Duration;
use tokio::time::Instant;

/// The pace of one stream.
#[derive(Debug)]
pub(crate) struct Pace {
    between: Duration,
    next: Instant,
}

/// How far a stream may run ahead after a pause of its own.
const BURST: Duration = Duration::from_millis(250);

/// Images a second. A stream that is slower would keep its place for no work at all.
const SLOWEST: f32 = 0.01;

/// Refuses what is no pace, in words.
pub(crate) fn check_rate(rate: f32) -> Result<(), String> {
    if rate == 0.0 || (rate.is_finite() && rate >= SLOWEST) {
        return Ok(());
    }
    Err(format!("{rate}; 0 for no limit, or at least {SLOWEST} images a second"))
}

impl Pace {
    /// The slower of what a stream asks for and what the service allows, in images a second; no limit where both are 0.
    ///
    /// # Errors
    /// What [`check_rate`] says of what is asked for.
    pub(crate) fn new(asked: f32, allowed: f32) -> Result<Self, String> {
        check_rate(asked)?;
        let limits = [asked, allowed].into_iter().filter(|rate| *rate > 0.0);
        let rate = limits.fold(f32::INFINITY, f32::min);
        let between = if rate.is_finite() { Duration::from_secs_f32(1.0 / rate.max(SLOWEST)) } else { Duration::ZERO };
        Ok(Self { between, next: Instant::now() })
    }

    /// Waits for the time of the next image.
    pub(crate) async fn wait(&mut self) {
        if self.between.is_zero() {
            return;
        }
        let now = Instant::now();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let time = self.next.max(earliest);
        self.next = time + self.between;
        tokio::time::sleep_until(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn images_come_at_the_slower_rate() {
        let seconds_for_100 = async |asked, allowed| {
            let (mut pace, start) = (Pace::new(asked, allowed).unwrap(), Instant::now());
            for _ in 0..100 {
                pace.wait().await;
            }
            start.elapsed().as_secs_f32()
        };
        assert!((seconds_for_100(50.0, 0.0).await - 2.0).abs() < 0.1);
        assert!((seconds_for_100(50.0, 20.0).await - 5.0).abs() < 0.1);
        assert!((seconds_for_100(0.0, 20.0).await - 5.0).abs() < 0.1);
        assert_eq!(seconds_for_100(0.0, 0.0).await, 0.0);
    }
    #[test]
    fn what_is_no_pace_is_refused() {
        for rate in [1e-38, f32::MIN_POSITIVE, 0.009, -1.0, -0.001, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(Pace::new(rate, 0.0).unwrap_err().contains("at least 0.01"), "{rate}");
        }
        for rate in [0.0, -0.0, 0.01, 1e30, f32::MAX] {
            Pace::new(rate, 5.0).unwrap();
        }
    }
}
