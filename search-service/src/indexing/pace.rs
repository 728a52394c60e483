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

impl Pace {
    /// The slower of what a stream asks for and what the service allows; no limit where neither gives one.
    pub(crate) fn new(asked: f32, allowed: f32) -> Self {
        let limits = [asked, allowed].into_iter().filter(|rate| *rate > 0.0);
        let rate = limits.fold(f32::INFINITY, f32::min);
        let between = if rate.is_finite() { Duration::from_secs_f32(1.0 / rate.max(1e-3)) } else { Duration::ZERO };
        Self { between, next: Instant::now() }
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
            let (mut pace, start) = (Pace::new(asked, allowed), Instant::now());
            for _ in 0..100 {
                pace.wait().await;
            }
            start.elapsed().as_secs_f32()
        };
        assert!((seconds_for_100(50.0, 0.0).await - 2.0).abs() < 0.1);
        assert!((seconds_for_100(50.0, 20.0).await - 5.0).abs() < 0.1);
        assert!((seconds_for_100(0.0, 20.0).await - 5.0).abs() < 0.1);
        assert_eq!(seconds_for_100(0.0, 0.0).await, 0.0);
        assert_eq!(seconds_for_100(f32::NAN, -3.0).await, 0.0);
    }
}
