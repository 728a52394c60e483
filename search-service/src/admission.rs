//! Searches take turns: as many are worked on as are fast together, the others wait in the order of their deadlines, and
//! whoever would come too late is told at once.
//!
//! Each model has lines of its own, one for each kind of search: images take a hundred times as long as texts, and an
//! encoder that hangs holds up nobody who does not need it.

mod line;

use crate::SearchError;
use crate::config::SearchingConfig;
use crate::metrics;
use descry_model::Fingerprint;
use descry_serving::deadline;
use line::{Arrival, Limits, Line, LineSettings, Place};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The lines of all searches of this service. Clones share them.
#[derive(Clone)]
pub(crate) struct Admission {
    lines: Arc<Mutex<Lines>>,
    settings: LineSettings,
    max_wait: Duration,
}

/// By model and kind.
type Lines = HashMap<(Fingerprint, Kind), Arc<Queue>>;

/// What a search needs most of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The vision tower.
    Images,
    /// The text tower.
    Texts,
    /// The store alone.
    Stored,
}

/// How long a search may wait for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as is usual.
    Usual,
    /// Until its caller's deadline: it is one of a list, whose caller waits for all.
    OfList,
}

/// One line.
struct Queue {
    line: Mutex<Line<oneshot::Sender<Turn>>>,
    kind: Kind,
}

/// A search that is being worked on. Dropping it ends its turn.
pub(crate) struct Turn {
    queue: Arc<Queue>,
    began: Instant,
    items: usize,
    is_answered: bool,
}

/// A search that waits. Dropping it leaves the line.
struct Waiting {
    queue: Arc<Queue>,
    place: Option<Place>,
}

const WHAT: &str = "the line of searches";

/// Lines that are kept. A gallery's model has three; nobody but whoever makes galleries can make more of them.
const MAX_LINES: usize = 3_072;

impl Admission {
    pub(crate) fn new(config: &SearchingConfig) -> Self {
        let settings = LineSettings {
            target: Duration::from_millis(config.target_ms),
            max_running: config.max_running,
            max_waiting: config.max_waiting,
        };
        Self { lines: Arc::default(), settings, max_wait: Duration::from_millis(config.max_wait_ms) }
    }

    /// Waits until a search of so many items may begin: images or texts to encode.
    ///
    /// # Errors
    /// [`SearchError::Overloaded`], most often at once: the answer would come after the caller's deadline, or the wait would
    /// be longer than is allowed.
    pub(crate) async fn turn(
        &self,
        model: &Fingerprint,
        kind: Kind,
        items: usize,
        patience: Patience,
    ) -> Result<Turn, SearchError> {
        let queue = self.queue(model, kind);
        let (now, left) = (Instant::now(), deadline::remaining());
        let wait = match (patience, left) {
            (Patience::OfList, Some(left)) => left,
            (Patience::Usual, Some(left)) => left.min(self.max_wait),
            (_, None) => self.max_wait,
        };
        let limits = Limits { begin_by: now + wait, answer_by: left.and_then(|left| now.checked_add(left)) };
        let (begin, begun) = oneshot::channel();
        let arrival = queue.lock().arrive(now, limits, items, begin);
        queue.measure();
        match arrival {
            Arrival::Begins => Ok(Turn { queue, began: now, items, is_answered: false }),
            Arrival::TooLate { retry_after } => Err(overloaded(retry_after)),
            Arrival::Waits(place) => {
                let mut waiting = Waiting { queue: Arc::clone(&queue), place: Some(place) };
                let begun = tokio::time::timeout(wait, begun).await;
                if let Ok(Ok(turn)) = begun {
                    waiting.place = None;
                    return Ok(turn);
                }
                drop(waiting);
                let retry_after = queue.lock().clears_in();
                Err(overloaded(retry_after))
            }
        }
    }

    fn queue(&self, model: &Fingerprint, kind: Kind) -> Arc<Queue> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (model.clone(), kind);
        if lines.len() >= MAX_LINES && !lines.contains_key(&key) {
            // Those that nobody is in have only their measurements to lose.
            lines.retain(|_, queue| queue.lock().lengths() != (0, 0));
        }
        let queue = || Arc::new(Queue { line: Mutex::new(Line::new(self.settings)), kind });
        Arc::clone(lines.entry(key).or_insert_with(queue))
    }
}

impl Turn {
    /// The search was answered: how long it took says how many may be worked on together.
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Queue {
    /// Lets those begin who may.
    fn go_on(self: &Arc<Self>) {
        loop {
            let now = Instant::now();
            // Sent without the lock: a turn that nobody takes any more ends at once.
            let Some(next) = self.lock().next(now) else { break };
            if let Some((begin, items)) = next {
                // Whoever left gives the turn back by dropping it.
                let _ = begin.send(Turn { queue: Arc::clone(self), began: now, items, is_answered: false });
            }
        }
        self.measure();
    }

    fn lock(&self) -> MutexGuard<'_, Line<oneshot::Sender<Turn>>> {
        // Nothing in the line's methods is left half done by a panic.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self) {
        let (running, waiting) = self.lock().lengths();
        metrics::measure_line(self.kind.name(), running, waiting);
    }
}

impl Kind {
    /// As metrics call it.
    fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Texts => "texts",
            Self::Stored => "stored",
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = Instant::now();
        let taken = now.duration_since(self.began);
        {
            let mut line = self.queue.lock();
            match self.is_answered {
                true => line.answered(now, taken, self.items),
                false => line.broken_off(taken, self.items),
            }
        }
        self.queue.go_on();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.queue.lock().leave(place);
        }
    }
}

fn overloaded(retry_after: Duration) -> SearchError {
    metrics::count_refused_search();
    let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).clamp(50, 5_000);
    SearchError::Overloaded { what: WHAT, retry_after_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_running: usize) -> Admission {
        Admission::new(&SearchingConfig { target_ms: 100, max_running, max_waiting: 2, max_wait_ms: 500 })
    }

    fn model(name: &str) -> Fingerprint {
        Fingerprint::of_parts([("test", name.as_bytes())])
    }

    async fn turn(admission: &Admission) -> Result<Turn, SearchError> {
        admission.turn(&model("a"), Kind::Texts, 1, Patience::Usual).await
    }

    fn lengths(admission: &Admission) -> (usize, usize) {
        admission.queue(&model("a"), Kind::Texts).lock().lengths()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_given_back_however_a_search_ends() {
        let admission = admission(1);
        let first = turn(&admission).await.unwrap();
        let wait = || {
            let admission = admission.clone();
            tokio::spawn(async move { turn(&admission).await.map(drop) })
        };
        let (second, abandoned) = (wait(), wait());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(lengths(&admission), (1, 2));
        // The line is as long as is allowed.
        let refused = turn(&admission).await.err().unwrap();
        assert!(matches!(refused, SearchError::Overloaded { retry_after_ms: 50.., .. }), "{refused}");
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        assert_eq!(lengths(&admission), (1, 1));
        first.answered();
        second.await.unwrap().unwrap();
        assert_eq!(lengths(&admission), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_is_allowed() {
        let admission = admission(1);
        let _first = turn(&admission).await.unwrap();
        let started = Instant::now();
        assert!(turn(&admission).await.is_err());
        assert_eq!(started.elapsed(), Duration::from_millis(500));
        assert_eq!(lengths(&admission), (1, 0));
    }

    #[tokio::test]
    async fn a_line_holds_up_nobody_in_another_one() {
        let admission = admission(1);
        let _held = turn(&admission).await.unwrap();
        for (name, kind) in [("a", Kind::Images), ("a", Kind::Stored), ("b", Kind::Texts)] {
            let _beside = admission.turn(&model(name), kind, 3, Patience::Usual).await.unwrap();
        }
    }

    #[tokio::test]
    async fn lines_are_forgotten_before_they_are_too_many() {
        let admission = admission(1);
        let _held = turn(&admission).await.unwrap();
        for number in 0..MAX_LINES + 10 {
            drop(admission.turn(&model(&number.to_string()), Kind::Stored, 1, Patience::Usual).await.unwrap());
        }
        assert!(admission.lines.lock().unwrap().len() <= MAX_LINES);
        assert_eq!(lengths(&admission), (1, 0), "whoever is in a line stays in it");
    }
}
