//! Every decision of a line of searches, without clock and tasks.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Bounds of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineSettings {
    /// How long a search should take while others wait. More are let in together while it takes less, fewer while more.
    pub(super) target: Duration,
    /// Searches that are worked on together at most.
    pub(super) max_running: usize,
    /// Searches that wait at most.
    pub(super) max_waiting: usize,
}

/// Searches that are worked on together at least: an encoder runs some texts as fast as one.
const MIN_RUNNING: f64 = 4.0;
/// How many there are together before anything was measured.
const FIRST_RUNNING: f64 = 8.0;
/// What each search that took too long takes from them: three of ten, when all that are worked on together did.
const STEP_DOWN: f64 = 0.3;

/// What becomes of a search that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is worked on at once.
    Begins,
    /// It waits here.
    Waits(Place),
    /// It could not be answered in time.
    TooLate {
        /// When it is worth asking again.
        retry_after: Duration,
    },
}

/// Until when a search is of use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// It must have begun by then.
    pub(super) begin_by: Instant,
    /// It must be answered by then; `None` where its caller does not say.
    pub(super) answer_by: Option<Instant>,
}

/// A place in the line: the earlier limit goes first, of equal ones the earlier arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    limit: Instant,
    number: u64,
}

struct Waits<Waiter> {
    limits: Limits,
    items: usize,
    waiter: Waiter,
}

/// Those who wait, and how many are worked on.
pub(super) struct Line<Waiter> {
    settings: LineSettings,
    /// Items.
    running: usize,
    /// How many may be worked on together, in small steps.
    allowed: f64,
    taken: TimeTaken,
    pace: Pace,
    waiting: BTreeMap<Place, Waits<Waiter>>,
    next_number: u64,
}

impl<Waiter> Line<Waiter> {
    pub(super) fn new(settings: LineSettings) -> Self {
        Self {
            allowed: FIRST_RUNNING,
            settings,
            running: 0,
            taken: TimeTaken::default(),
            pace: Pace::default(),
            waiting: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// A search of so many items. Who must wait is held against what is known of the line; who needs not is not, so that an
    /// old measurement keeps nobody out for good.
    pub(super) fn arrive(&mut self, now: Instant, limits: Limits, items: usize, waiter: Waiter) -> Arrival {
        if self.waiting.is_empty() && self.has_room() {
            self.running += items;
            return Arrival::Begins;
        }
        let limit = limits.answer_by.map_or(limits.begin_by, |answer_by| answer_by.min(limits.begin_by));
        let place = Place { limit, number: self.next_number };
        let begins = now + self.wait_behind(self.ahead_of(&place));
        let ends = begins + self.taken.at_most();
        let in_time = begins <= limits.begin_by && limits.answer_by.is_none_or(|answer_by| ends <= answer_by);
        if !in_time || self.waiting.len() >= self.settings.max_waiting {
            return Arrival::TooLate { retry_after: self.clears_in() };
        }
        self.next_number += 1;
        self.waiting.insert(place, Waits { limits, items, waiter });
        Arrival::Waits(place)
    }

    /// The next one whose turn it is, if there is room. Inner `None`: it was too late for that one, who left the line.
    pub(super) fn next(&mut self, now: Instant) -> Option<Option<(Waiter, usize)>> {
        if !self.has_room() {
            return None;
        }
        let (_, Waits { limits: Limits { begin_by, answer_by }, items, waiter }) = self.waiting.pop_first()?;
        if now > begin_by || answer_by.is_some_and(|answer_by| now + self.taken.usual() > answer_by) {
            return Some(None);
        }
        self.running += items;
        Some(Some((waiter, items)))
    }

    /// Somebody does not wait any more.
    pub(super) fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// A search was answered after so long.
    pub(super) fn answered(&mut self, now: Instant, taken: Duration, items: usize) {
        self.taken.measure(taken);
        // What happens while there is room for more says nothing about how many would be too many, nor how fast they end.
        if self.has_room() {
            self.pace.pause();
        } else {
            self.pace.count(now);
            let mean = self.taken.mean();
            self.step(match mean {
                // Far away from the target: twice as many with each round.
                mean if mean < self.settings.target / 2 && taken < self.settings.target => 1.0,
                _ if taken <= self.settings.target => 1.0 / self.allowed,
                _ => -STEP_DOWN,
            });
        }
        self.running = self.running.saturating_sub(items);
    }

    /// A search ended without an answer, after so long: it failed, or its caller left. That tells nothing of how fast
    /// searches are, but for one that had already taken too long.
    pub(super) fn broken_off(&mut self, taken: Duration, items: usize) {
        if taken > self.settings.target && !self.has_room() {
            self.step(-STEP_DOWN);
        }
        self.pace.pause();
        self.running = self.running.saturating_sub(items);
    }

    fn step(&mut self, step: f64) {
        let most = (self.settings.max_running as f64).max(MIN_RUNNING);
        self.allowed = (self.allowed + step).clamp(MIN_RUNNING, most);
    }

    /// Items that are worked on, and searches that wait.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.running, self.waiting.len())
    }

    /// After how long everybody who waits now has begun, about.
    pub(super) fn clears_in(&self) -> Duration {
        self.wait_behind(self.waiting.len())
    }

    fn has_room(&self) -> bool {
        self.running < self.together() as usize
    }

    fn ahead_of(&self, place: &Place) -> usize {
        // Deadlines mostly rise with arrivals: then everybody is ahead, and nobody needs to be counted.
        match self.waiting.last_key_value() {
            Some((last, _)) if last > place => self.waiting.range(..place).count(),
            _ => self.waiting.len(),
        }
    }

    /// How long the place behind `ahead` others waits: so many searches end before.
    fn wait_behind(&self, ahead: usize) -> Duration {
        let each = self.pace.between_ends().unwrap_or_else(|| self.taken.mean().div_f64(self.together()));
        each.mul_f64((ahead + 1) as f64)
    }

    /// How many may be worked on together.
    fn together(&self) -> f64 {
        self.allowed.min(self.settings.max_running as f64).max(1.0)
    }
}

/// How long searches took lately.
#[derive(Debug, Default)]
struct TimeTaken {
    mean_seconds: f64,
    deviation_seconds: f64,
}

/// What the latest search counts against all before it.
const WEIGHT: f64 = 0.05;

impl TimeTaken {
    fn measure(&mut self, taken: Duration) {
        let seconds = taken.as_secs_f64();
        if self.mean_seconds == 0.0 {
            (self.mean_seconds, self.deviation_seconds) = (seconds, seconds / 2.0);
            return;
        }
        self.deviation_seconds += WEIGHT * ((seconds - self.mean_seconds).abs() - self.deviation_seconds);
        self.mean_seconds += WEIGHT * (seconds - self.mean_seconds);
    }

    fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.mean_seconds)
    }

    /// Longer than usual: with less than that left, a search is not begun.
    fn usual(&self) -> Duration {
        Duration::from_secs_f64(1.25 * self.mean_seconds + self.deviation_seconds)
    }

    /// Longer than almost all: who could not have that much left at its turn is told at once.
    fn at_most(&self) -> Duration {
        Duration::from_secs_f64(1.5 * self.mean_seconds + 2.0 * self.deviation_seconds)
    }
}

/// How fast searches end while as many are worked on as may be. They end in groups, as the encoder's batches do, so
/// stretches of many ends are measured.
#[derive(Debug, Default)]
struct Pace {
    stretch_began: Option<Instant>,
    ends: u32,
    between_ends_seconds: Option<f64>,
}

/// Ends of a stretch, and what the latest stretch counts against all before it.
const STRETCH: u32 = 32;
const STRETCH_WEIGHT: f64 = 0.3;

impl Pace {
    fn count(&mut self, now: Instant) {
        let Some(began) = self.stretch_began else {
            self.stretch_began = Some(now);
            return;
        };
        self.ends += 1;
        if self.ends == STRETCH {
            let each = now.duration_since(began).as_secs_f64() / f64::from(STRETCH);
            let known = self.between_ends_seconds.unwrap_or(each);
            self.between_ends_seconds = Some(known + STRETCH_WEIGHT * (each - known));
            (self.stretch_began, self.ends) = (Some(now), 0);
        }
    }

    /// There was room: this stretch says nothing.
    fn pause(&mut self) {
        (self.stretch_began, self.ends) = (None, 0);
    }

    fn between_ends(&self) -> Option<Duration> {
        self.between_ends_seconds.map(Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests;
