//! Searches take turns: as many are worked on as are fast together, the others wait in the order of their deadlines, and
//! whoever would come too late is told at once.

mod line;

use crate::SearchError;
use crate::config::SearchingConfig;
use crate::metrics;
use descry_serving::deadline;
use line::{Arrival, Line, LineSettings, Place};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The line of all searches of this service. Clones share it.
#[derive(Clone)]
pub(crate) struct Admission {
    line: Arc<Mutex<Line<oneshot::Sender<Turn>>>>,
    max_wait: Duration,
}

/// A search that is being worked on. Dropping it ends its turn.
pub(crate) struct Turn {
    admission: Admission,
    began: Instant,
}

/// A search that waits. Dropping it leaves the line.
struct Waiting {
    admission: Admission,
    place: Option<Place>,
}

const WHAT: &str = "the line of searches";

impl Admission {
    pub(crate) fn new(config: &SearchingConfig) -> Self {
        let settings = LineSettings {
            target: Duration::from_millis(config.target_ms),
            max_running: config.max_running,
            max_waiting: config.max_waiting,
        };
        Self { line: Arc::new(Mutex::new(Line::new(settings))), max_wait: Duration::from_millis(config.max_wait_ms) }
    }

    /// Waits until a search may begin.
    ///
    /// # Errors
    /// [`SearchError::Overloaded`], most often at once: the answer would come after the caller's deadline, or the wait would
    /// be longer than is allowed.
    pub(crate) async fn turn(&self) -> Result<Turn, SearchError> {
        let now = Instant::now();
        let patience = deadline::remaining().map_or(self.max_wait, |left| left.min(self.max_wait));
        let (begin, begun) = oneshot::channel();
        let arrival = self.lock().arrive(now, now + patience, begin);
        self.measure();
        match arrival {
            Arrival::Begins => Ok(Turn { admission: self.clone(), began: now }),
            Arrival::TooLate { retry_after } => Err(overloaded(retry_after)),
            Arrival::Waits(place) => {
                let mut waiting = Waiting { admission: self.clone(), place: Some(place) };
                let begun = tokio::time::timeout(patience, begun).await;
                if let Ok(Ok(turn)) = begun {
                    waiting.place = None;
                    return Ok(turn);
                }
                drop(waiting);
                let retry_after = self.lock().clears_in();
                Err(overloaded(retry_after))
            }
        }
    }

    /// Lets those begin who may.
    fn go_on(&self) {
        loop {
            let now = Instant::now();
            // Sent without the lock: a turn that nobody takes any more ends at once.
            let Some(begin) = self.lock().next(now) else { break };
            if let Some(begin) = begin {
                // Whoever left gives the turn back by dropping it.
                let _ = begin.send(Turn { admission: self.clone(), began: now });
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
        metrics::measure_line(running, waiting);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = Instant::now();
        self.admission.lock().end(now, now.duration_since(self.began));
        self.admission.go_on();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.admission.lock().leave(place);
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

    #[tokio::test(start_paused = true)]
    async fn turns_are_given_back_however_a_search_ends() {
        let admission = admission(1);
        let first = admission.turn().await.unwrap();
        let second = tokio::spawn({
            let admission = admission.clone();
            async move { admission.turn().await.map(drop) }
        });
        let abandoned = tokio::spawn({
            let admission = admission.clone();
            async move { admission.turn().await.map(drop) }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(admission.lock().lengths(), (1, 2));
        // The line is as long as is allowed.
        let refused = admission.turn().await.err().unwrap();
        assert!(matches!(refused, SearchError::Overloaded { retry_after_ms: 50.., .. }), "{refused}");
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        assert_eq!(admission.lock().lengths(), (1, 1));
        drop(first);
        second.await.unwrap().unwrap();
        assert_eq!(admission.lock().lengths(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_is_allowed() {
        let admission = admission(1);
        let _first = admission.turn().await.unwrap();
        let started = Instant::now();
        assert!(admission.turn().await.is_err());
        assert_eq!(started.elapsed(), Duration::from_millis(500));
        assert_eq!(admission.lock().lengths(), (1, 0));
    }
}
