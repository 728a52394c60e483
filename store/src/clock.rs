//! The time of writes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as the system's clock says, but for its sudden steps: in one process the time goes
/// back only when the clock was ahead by minutes, and follows a leap forward only when it lasts.
#[must_use]
pub fn now_ms() -> i64 {
    static CLOCK: Mutex<Option<SteadyClock>> = Mutex::new(None);
    let (wall_ms, now) = (wall_ms(), Instant::now());
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    clock.get_or_insert_with(|| SteadyClock::new(wall_ms, now)).read(wall_ms, now)
}

/// Milliseconds since the Unix epoch, whatever the system's clock says at this moment.
#[must_use]
pub fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Further ahead than this, the system's clock is followed only after a while.
const LEAP_MS: i64 = 60_000;

/// How long a leap forward must last.
const LEAP_LASTS: Duration = Duration::from_secs(60);

/// Further behind than this, the clock was wrong before, and is followed at once. A smaller step back is made up for by
/// going at half the speed.
const MAX_SLOWED_MS: i64 = 600_000;

/// A clock without the small steps and the short leaps of another.
#[derive(Debug)]
struct SteadyClock {
    told_ms: i64,
    told_at: Instant,
    leapt_at: Option<Instant>,
}

impl SteadyClock {
    fn new(wall_ms: i64, now: Instant) -> Self {
        Self { told_ms: wall_ms, told_at: now, leapt_at: None }
    }

    fn read(&mut self, wall_ms: i64, now: Instant) -> i64 {
        let passed_ms = milliseconds(now.saturating_duration_since(self.told_at));
        let expected_ms = self.told_ms.saturating_add(passed_ms);
        let ahead_ms = wall_ms.saturating_sub(expected_ms);
        let leapt_at = (ahead_ms > LEAP_MS).then(|| self.leapt_at.unwrap_or(now));
        let told_ms = match leapt_at {
            Some(leapt_at) if now.saturating_duration_since(leapt_at) < LEAP_LASTS => expected_ms,
            Some(_) => wall_ms,
            None if ahead_ms < -MAX_SLOWED_MS => wall_ms,
            None => wall_ms.max(self.told_ms + passed_ms / 2),
        };
        // Halves of a millisecond would be lost if the time were asked for more often than that.
        if passed_ms >= 2 || told_ms != expected_ms {
            (self.told_ms, self.told_at) = (told_ms, now);
        }
        self.leapt_at = leapt_at.filter(|_| told_ms != wall_ms);
        told_ms
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000_000;

    /// Reads a clock second after second while the system's clock is off by so many seconds.
    fn check(offsets_s: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let began = Instant::now();
        let mut clock = SteadyClock::new(NOON, began);
        let read = |(second, offset_s): (u64, i64)| {
            let wall_ms = NOON + 1_000 * (second as i64 + offset_s);
            (clock.read(wall_ms, began + Duration::from_secs(second)) - NOON) / 1_000
        };
        (1..).zip(offsets_s).map(read).collect()
    }

    #[test]
    fn a_step_back_slows_the_time_down_until_it_is_made_up_for() {
        let told = check([0, 0].into_iter().chain([-60; 150]));
        assert!(told.is_sorted(), "never back");
        assert_eq!(told[1], 2);
        assert_eq!((told[151] - 152 + 60, told[60]), (0, 2 + 59 / 2));
    }

    #[test]
    fn a_leap_is_followed_when_it_lasts() {
        let days = 400 * 86_400;
        let told = check([0, 0, days, days, days, 0, 0]);
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7], "400 days ahead for three seconds");
        let told = check([0].into_iter().chain([days; 62]));
        assert_eq!((told[60], told[61]), (61, 62 + days));
        assert_eq!(check([0, 30, 0]), [1, 32, 32], "half a minute is an adjustment");
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_followed_back() {
        assert_eq!(check([0, -3_600, -3_600]), [1, 2 - 3_600, 3 - 3_600]);
    }
}
