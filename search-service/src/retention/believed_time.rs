//! Whether the clock is to be believed before images are removed by it.
//!
//! A clock that is ahead, for five seconds or for a day, would have everything removed that is kept shorter than that. So
//! the time by which images are removed goes on by the monotonic clock, and follows the system's clock over a leap only
//! after that one has run evenly for as long as the leap is wide, seven days at most. Where a process starts, the newest
//! time that was believed before takes the place of its own memory: it lies in the store. A clock that is behind removes
//! less, and is followed at once; when it comes back to where it was, it is believed at once. What was waited for counts on
//! in the next process: some machines do not run around the clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time by which images are removed.
#[derive(Debug)]
pub(crate) struct BelievedTime {
    state: Mutex<Option<State>>,
    longest_wait: Duration,
}

#[derive(Debug, Clone, Copy)]
struct State {
    believed_ms: i64,
    /// The latest time that was ever believed, and what has passed since.
    latest_ms: i64,
    wall_ms: i64,
    at: Instant,
    /// The leap over which the clock is not yet followed.
    leap: Option<Leap>,
}

/// A leap of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leap {
    /// How far the clock is ahead of the time that is believed.
    pub(crate) ahead_ms: i64,
    /// How long the clock has run evenly since.
    pub(crate) waited: Duration,
    /// How much longer the clock must run evenly before it is believed.
    pub(crate) believed_in: Duration,
}

/// How far the clock may be from what the monotonic one says: it is adjusted now and then.
const ADJUSTMENT_MS: i64 = 60_000;

/// By how much the clock may be ahead of the newest time that an earlier process believed: services are down for a while,
/// those of an office over the holidays.
const DOWN_TIME_MS: i64 = 7 * 86_400_000;

/// How long the clock must run evenly after it leapt once more, whatever was waited before: machines sleep at night.
const SETTLING: Duration = Duration::from_secs(3_600);

/// What a process leaves to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Believed {
    /// The time that was believed, in milliseconds since the Unix epoch.
    pub(crate) believed_ms: i64,
    /// What the clock said then.
    pub(crate) wall_ms: i64,
    /// How long it had run evenly since it leapt, if it had.
    pub(crate) waited: Duration,
}

impl BelievedTime {
    pub(crate) fn new(longest_wait: Duration) -> Self {
        Self { state: Mutex::default(), longest_wait }
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a process has begun to look at the clock.
    pub(crate) fn has_begun(&self) -> bool {
        self.state().is_some()
    }

    /// Begins with what was believed before, where that is known.
    pub(crate) fn begin(&self, before: Option<Believed>, wall_ms: i64, now: Instant) {
        let before = before.unwrap_or(Believed { believed_ms: wall_ms, wall_ms, waited: Duration::ZERO });
        let ahead_ms = wall_ms.saturating_sub(before.believed_ms);
        let is_leap = ahead_ms > DOWN_TIME_MS;
        let believed_ms = if is_leap { before.believed_ms } else { wall_ms };
        let latest_ms = believed_ms.max(before.believed_ms);
        // A clock that went back since is another one.
        let waited = if wall_ms >= before.wall_ms { before.waited } else { Duration::ZERO };
        let leap = is_leap.then_some(Leap { ahead_ms, waited, believed_in: Duration::ZERO });
        *self.state() = Some(State { believed_ms, latest_ms, wall_ms, at: now, leap });
    }

    /// What the next process is to know.
    pub(crate) fn to_keep(&self) -> Option<Believed> {
        let State { believed_ms, wall_ms, leap, .. } = (*self.state())?;
        Some(Believed { believed_ms, wall_ms, waited: leap.map_or(Duration::ZERO, |leap| leap.waited) })
    }

    /// The time by which images may be removed, and the leap of the clock that it does not follow yet.
    pub(crate) fn read(&self, wall_ms: i64, now: Instant) -> (i64, Option<Leap>) {
        let mut state = self.state();
        // Whoever asks before the first sweep must not take what was believed before from it.
        let Some(last) = *state else { return (wall_ms, None) };
        let first = State { believed_ms: wall_ms, latest_ms: wall_ms, wall_ms, at: now, leap: None };
        let passed_ms = milliseconds(now.saturating_duration_since(last.at));
        let latest_ms = last.latest_ms.saturating_add(passed_ms);
        let followed = State { believed_ms: wall_ms, latest_ms: latest_ms.max(wall_ms), ..first };
        let ahead_ms = wall_ms.saturating_sub(latest_ms);
        let next = if ahead_ms <= ADJUSTMENT_MS {
            followed
        } else {
            let unevenness_ms = wall_ms.saturating_sub(last.wall_ms).saturating_sub(passed_ms).saturating_abs();
            let is_even = unevenness_ms <= ADJUSTMENT_MS;
            let wait = Duration::from_millis(ahead_ms.unsigned_abs()).min(self.longest_wait);
            let waited = match last.leap {
                Some(leap) if is_even => leap.waited.saturating_add(now.saturating_duration_since(last.at)),
                // A further leap.
                Some(leap) => leap.waited.min(wait.saturating_sub(SETTLING)),
                None => Duration::ZERO,
            };
            match wait.checked_sub(waited).filter(|left| !left.is_zero()) {
                Some(believed_in) => {
                    let leap = Some(Leap { ahead_ms, waited, believed_in });
                    let believed_ms = last.believed_ms.saturating_add(passed_ms);
                    State { believed_ms, latest_ms, leap, ..first }
                }
                None => followed,
            }
        };
        *state = Some(next);
        (next.believed_ms, next.leap)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 86_400_000;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    struct Clocks {
        believed: BelievedTime,
        began: Instant,
    }

    impl Clocks {
        fn begun(before_ms: Option<i64>) -> Self {
            let (believed, began) = (BelievedTime::new(WEEK), Instant::now());
            assert!(!believed.has_begun());
            let before = before_ms.map(|ms| Believed { believed_ms: ms, wall_ms: ms, waited: Duration::ZERO });
            believed.begin(before, NOON, began);
            Self { believed, began }
        }

        /// Seconds of the believed time since noon, and whether a leap is waited for.
        fn at(&self, second: u64, clock_off_ms: i64) -> (i64, bool) {
            let wall_ms = NOON + 1_000 * second as i64 + clock_off_ms;
            let (believed_ms, leap) = self.believed.read(wall_ms, self.began + Duration::from_secs(second));
            ((believed_ms - NOON) / 1_000, leap.is_some())
        }
    }

    #[test]
    fn a_clock_that_is_ahead_for_a_moment_is_not_believed() {
        let clocks = Clocks::begun(None);
        assert_eq!(clocks.at(10, 0), (10, false));
        for second in 11..16 {
            assert_eq!(clocks.at(second, 400 * DAY_MS), (second as i64, true));
        }
        assert_eq!(clocks.at(16, 0), (16, false));
        assert_eq!(clocks.at(20, 30_000), (50, false), "an adjustment");
    }

    #[test]
    fn a_clock_that_stays_ahead_is_believed_in_the_end() {
        let clocks = Clocks::begun(None);
        let hour_ms = 3_600_000;
        assert_eq!(clocks.at(100, hour_ms), (100, true));
        assert_eq!(clocks.at(3_699, hour_ms), (3_699, true));
        assert_eq!(clocks.at(3_700, hour_ms), (3_700 + 3_600, false));
        // 400 days take a week.
        let clocks = Clocks::begun(None);
        assert_eq!(clocks.at(100, 400 * DAY_MS), (100, true));
        assert!(clocks.at(100 + WEEK.as_secs() - 1, 400 * DAY_MS).1);
        assert!(!clocks.at(100 + WEEK.as_secs(), 400 * DAY_MS).1);
    }

    #[test]
    fn a_further_leap_takes_as_long_as_both_and_an_hour_at_least() {
        let clocks = Clocks::begun(None);
        assert!(clocks.at(100, 3_600_000).1);
        assert!(clocks.at(3_600, 7_200_000).1);
        assert!(clocks.at(3_800, 7_200_000).1, "the first leap alone would be believed by now");
        assert!(clocks.at(3_600 + 7_199, 7_200_000).1, "one look saw nothing of the first hour");
        assert!(!clocks.at(3_600 + 7_200, 7_200_000).1);
    }

    /// Eight hours of a clock that is right, looked at every quarter of an hour. Returns whether a leap is waited for at the
    /// end, and what is left to the next day.
    fn working_day(kept: Option<Believed>, morning_ms: i64) -> (bool, Option<Believed>) {
        let (believed, began) = (BelievedTime::new(WEEK), Instant::now());
        believed.begin(kept, morning_ms, began);
        let mut is_waiting = true;
        for quarter in 0..=32 {
            let passed = Duration::from_secs(900 * quarter);
            is_waiting = believed.read(morning_ms + passed.as_millis() as i64, began + passed).1.is_some();
        }
        (is_waiting, believed.to_keep())
    }

    #[test]
    fn a_machine_that_is_off_at_night_and_at_weekends_removes_what_is_due() {
        let mut kept = None;
        for day in (0..30).filter(|day| day % 7 < 5) {
            let is_waiting;
            (is_waiting, kept) = working_day(kept, NOON + day * DAY_MS);
            assert!(!is_waiting, "day {day}");
        }
    }

    #[test]
    fn what_was_waited_for_counts_on_in_the_next_process() {
        let long_ago = NOON - 14 * DAY_MS;
        let mut kept = Some(Believed { believed_ms: long_ago, wall_ms: long_ago, waited: Duration::ZERO });
        let days = (0..40).find(|day| {
            let is_waiting;
            (is_waiting, kept) = working_day(kept, NOON + day * DAY_MS);
            !is_waiting
        });
        // A week is 21 times eight hours.
        assert!(days.is_some_and(|days| (20..=22).contains(&days)), "{days:?}");
    }

    #[test]
    fn a_clock_that_is_behind_is_followed_at_once() {
        let clocks = Clocks::begun(None);
        assert_eq!(clocks.at(100, -DAY_MS), (100 - 86_400, false));
        assert_eq!(clocks.at(101, 0), (101, false), "this far it was believed before");
        assert_eq!(clocks.at(102, DAY_MS), (102, true));
    }

    #[test]
    fn a_start_with_a_clock_that_is_ahead_is_noticed_by_what_was_believed_before() {
        let asked_before = BelievedTime::new(WEEK);
        assert_eq!(asked_before.read(NOON, Instant::now()), (NOON, None));
        assert!(!asked_before.has_begun(), "a sweep is still to say what was believed before");
        let long_ago = Clocks::begun(Some(NOON - 400 * DAY_MS));
        assert_eq!(long_ago.at(1, 0), (1 - 400 * 86_400, true));
        assert!(!Clocks::begun(Some(NOON - DAY_MS / 2)).at(1, 0).1, "a service may be down for half a day");
        assert!(!Clocks::begun(Some(NOON + DAY_MS)).at(1, 0).1);
        assert!(!Clocks::begun(None).at(1, 0).1, "nothing is known");
    }

    #[test]
    fn without_a_wait_every_clock_is_believed() {
        let believed = BelievedTime::new(Duration::ZERO);
        let now = Instant::now();
        believed.begin(None, NOON, now);
        assert_eq!(believed.read(NOON + DAY_MS, now), (NOON + DAY_MS, None));
    }
}
