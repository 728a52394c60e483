//! How a member is, and whether work goes to it.

use crate::encoder_client::{EncoderModel, Work};
use descry_retry::{Again, Retries, RetryPolicy};
use std::time::Duration;
use tokio::time::Instant;

/// How willingly work is given to a member; the best ones get all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It answers.
    Serving,
    /// It is full, and said when it wants to see more.
    Full,
    /// It owes an answer for long, and is being asked whether it is there at all.
    Suspected,
    /// It broke off, refused, or does not answer.
    LeftOut,
    /// It was not asked yet.
    Unknown,
}

/// What is known of a member at present.
pub(super) struct State {
    /// What it ran when it last said so.
    pub(super) model: Option<EncoderModel>,
    pub(super) left_out: Option<String>,
    pub(super) is_suspected: bool,
    pub(super) failures_in_a_row: u32,
    /// For interactive work and for bulk: what is full for the one may have room for the other.
    pub(super) full_until: [Option<Instant>; 2],
    /// Pauses between probes of one that is left out. They begin anew when it answered a call.
    pub(super) pauses: Retries,
    pub(super) has_failed_since_answer: bool,
    /// When it last answered a call, whatever it said.
    pub(super) last_answer: Option<Instant>,
    pub(super) next_probe: Instant,
    /// Set where its calls fail with nothing wrong on the way.
    pub(super) trial: Option<Trial>,
}

/// A member that says what it runs, but failed several calls in a row: one call at a time goes to it, after pauses, until
/// it answers one.
pub(super) struct Trial {
    pub(super) reason: String,
    pub(super) next: Instant,
    pub(super) is_running: bool,
}

pub(super) const INTERACTIVE: usize = 0;
pub(super) const BULK: usize = 1;

/// However the pauses are set, a member that is down keeps nobody busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Which of the two some work is.
pub(super) fn priority(work: &Work) -> usize {
    match work {
        Work::Text(_) | Work::QueryImage { .. } => INTERACTIVE,
        Work::Images { .. } => BULK,
    }
}

impl State {
    pub(super) fn new(pauses: RetryPolicy) -> Self {
        Self {
            model: None,
            left_out: None,
            is_suspected: false,
            failures_in_a_row: 0,
            full_until: [None; 2],
            pauses: pauses.begin(),
            has_failed_since_answer: false,
            last_answer: None,
            next_probe: Instant::now(),
            trial: None,
        }
    }

    /// Before it is asked again, or tried again.
    pub(super) fn next_pause(&mut self) -> Duration {
        self.pauses.next_pause(Again::Later).unwrap_or_default().max(SHORTEST_PAUSE)
    }

    pub(super) fn standing(&self, priorities: &[usize]) -> Standing {
        let is_full = |priority: &usize| self.full_until[*priority].is_some_and(|until| Instant::now() < until);
        let is_paused = |trial: &Trial| trial.is_running || Instant::now() < trial.next;
        if self.left_out.is_some() || self.trial.as_ref().is_some_and(is_paused) {
            Standing::LeftOut
        } else if self.model.is_none() {
            Standing::Unknown
        } else if self.is_suspected {
            Standing::Suspected
        } else if priorities.iter().any(is_full) {
            Standing::Full
        } else {
            Standing::Serving
        }
    }
}
