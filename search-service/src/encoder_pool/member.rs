//! One encoder: what it runs, how busy it is, and whether work goes to it.

use super::load::Load;
use super::standing::{BULK, INTERACTIVE, Standing, State, Trial, priority};
use crate::SearchError;
use crate::encoder_client::{DEPENDENCY, EncoderClient, EncoderModel, Work};
use crate::metrics;
use descry_model::Fingerprint;
use descry_retry::RetryPolicy;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The failures with nothing wrong on the way after which a member is on trial.
const MOST_FAILURES: u32 = 3;

/// One encoder.
pub(crate) struct Member {
    /// The first of the configured places where it is found at present.
    place: AtomicUsize,
    /// Its address, for people.
    pub(super) address: String,
    /// What it is called in metrics. Addresses behind names come and go without end; these do not.
    pub(super) label: String,
    pub(super) client: EncoderClient,
    texts: Load,
    images: Load,
    state: Mutex<State>,
    /// Counts how often it fell silent; who waits for it then asks another one as well.
    silence: watch::Sender<u64>,
    /// The next probe is due sooner than its keeper believes.
    due_changed: Notify,
    /// Told when it fails: another one may stand behind its name by now.
    trouble: Arc<Notify>,
    pub(super) answered_calls: AtomicU64,
    pub(super) failed_calls: AtomicU64,
}

/// No answer in time.
struct Silent;

impl Member {
    pub(super) fn new(
        place: usize,
        address: String,
        label: String,
        client: EncoderClient,
        pauses: RetryPolicy,
        trouble: Arc<Notify>,
    ) -> Self {
        Self {
            place: AtomicUsize::new(place),
            address,
            label,
            client,
            texts: Load::default(),
            images: Load::default(),
            state: Mutex::new(State::new(pauses)),
            silence: watch::Sender::new(0),
            due_changed: Notify::new(),
            trouble,
            answered_calls: AtomicU64::new(0),
            failed_calls: AtomicU64::new(0),
        }
    }

    pub(super) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed)
    }

    pub(super) fn set_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it ran when it last said so, whether or not it answers now.
    pub(super) fn model(&self) -> Option<EncoderModel> {
        self.state().model.clone()
    }

    pub(super) fn runs(&self, fingerprint: &Fingerprint) -> Option<EncoderModel> {
        self.model().filter(|model| model.fingerprint == *fingerprint)
    }

    pub(super) fn standing(&self, work: &Work) -> Standing {
        self.state().standing(&[priority(work)])
    }

    /// Its standing for whatever work is worse off, and why it is left out. One on trial is, whether or not its next call is
    /// due.
    pub(super) fn standing_and_reason(&self) -> (Standing, Option<String>) {
        let state = self.state();
        match (&state.left_out, &state.trial) {
            (Some(reason), _) => (Standing::LeftOut, Some(reason.clone())),
            (None, Some(trial)) => (Standing::LeftOut, Some(trial.reason.clone())),
            (None, None) => (state.standing(&[INTERACTIVE, BULK]), None),
        }
    }

    /// How long a full one does not want to see such work.
    pub(super) fn full_for(&self, work: &Work) -> Option<Duration> {
        let until = self.state().full_until[priority(work)]?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    pub(super) fn load(&self, work: &Work) -> &Load {
        match work {
            Work::Text(_) => &self.texts,
            Work::QueryImage { .. } | Work::Images { .. } => &self.images,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.texts.in_flight() + self.images.in_flight()
    }

    /// The latency of texts and of images.
    pub(super) fn latencies(&self) -> [Option<Duration>; 2] {
        [self.texts.latency(), self.images.latency()]
    }

    /// Told when it falls silent from now on.
    pub(super) fn silence(&self) -> watch::Receiver<u64> {
        self.silence.subscribe()
    }

    /// Asks what it runs. That it does not say is nothing against it: the limit is the asker's own, which may be short.
    pub(super) async fn ask(&self, limit: Duration) -> Result<EncoderModel, SearchError> {
        let answer = self.question(limit).await.unwrap_or_else(|Silent| {
            let reason = format!("{} did not say within {} ms which model it runs", self.address, limit.as_millis());
            Err(SearchError::Unavailable { dependency: DEPENDENCY, reason })
        });
        if let Ok(model) = &answer {
            self.said(model);
        }
        answer
    }

    async fn question(&self, limit: Duration) -> Result<Result<EncoderModel, SearchError>, Silent> {
        match tokio::time::timeout(limit, self.client.model(limit)).await {
            Ok(Err(SearchError::DeadlineExceeded { .. })) | Err(_) => Err(Silent),
            Ok(answer) => Ok(answer),
        }
    }

    /// Asks whether it is there. One that does not answer is left out, and who waits for it is told. It is there as well when
    /// it has no room for the question, and when it answered a call meanwhile: it is busy, and its work must not be sent to
    /// others that are as busy.
    async fn probe(&self, limit: Duration) -> bool {
        let begun = Instant::now();
        let answer = self.question(limit).await;
        let reason = match &answer {
            Ok(Ok(model)) => {
                self.said(model);
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(Silent) => format!("it did not say within {} ms which model it runs", limit.as_millis()),
        };
        let mut state = self.state();
        let has_answered_meanwhile = state.last_answer.is_some_and(|at| at >= begun);
        if has_answered_meanwhile || matches!(answer, Ok(Err(SearchError::Overloaded { .. }))) {
            state.is_suspected = false;
            self.is_there(&mut state);
            return true;
        }
        drop(state);
        self.leave_out(reason);
        if answer.is_err() {
            self.silence.send_modify(|count| *count += 1);
        }
        false
    }

    fn said(&self, model: &EncoderModel) {
        let mut state = self.state();
        let fingerprint = &model.fingerprint;
        if let Some(earlier) = state.model.as_ref().filter(|earlier| earlier.fingerprint != *fingerprint) {
            tracing::info!(member = self.address, %fingerprint, earlier = %earlier.fingerprint, "an encoder runs another model");
            // It was started anew, with other towers.
            state.failures_in_a_row = 0;
            state.trial = None;
        }
        state.model = Some(model.clone());
        state.is_suspected = false;
        self.is_there(&mut state);
    }

    /// Nothing is wrong on the way to it.
    fn is_there(&self, state: &mut State) {
        let was_left_out = state.left_out.take().is_some();
        if was_left_out && state.trial.is_none() {
            tracing::info!(member = self.address, "an encoder is back");
        }
        metrics::encoder_is_up(&self.label, state.trial.is_none());
    }

    /// It answered a call, whatever: it is there.
    pub(super) fn answered(&self) {
        self.answered_calls.fetch_add(1, Ordering::Relaxed);
        metrics::count_encoder_call(&self.label, "answered");
        let mut state = self.state();
        state.last_answer = Some(Instant::now());
        state.failures_in_a_row = 0;
        state.is_suspected = false;
        if std::mem::take(&mut state.has_failed_since_answer) {
            state.pauses.succeed();
        }
        if state.trial.take().is_some() | state.left_out.take().is_some() {
            tracing::info!(member = self.address, "an encoder is back");
            metrics::encoder_is_up(&self.label, true);
        }
    }

    /// A call broke off, or it refused to serve. It is asked at once whether it is there, and after a pause when that
    /// happened before.
    pub(super) fn broke(&self, reason: &str) {
        self.failed_calls.fetch_add(1, Ordering::Relaxed);
        metrics::count_encoder_call(&self.label, "failed");
        self.leave_out(reason.to_owned());
    }

    /// It failed a call with nothing wrong on the way.
    pub(super) fn failed(&self, reason: &str) {
        self.failed_calls.fetch_add(1, Ordering::Relaxed);
        metrics::count_encoder_call(&self.label, "failed");
        let mut state = self.state();
        state.last_answer = Some(Instant::now());
        state.failures_in_a_row += 1;
        if state.failures_in_a_row < MOST_FAILURES || state.trial.is_some() {
            return;
        }
        state.has_failed_since_answer = true;
        let next = Instant::now() + state.next_pause();
        state.trial = Some(Trial { reason: reason.to_owned(), next, is_running: false });
        drop(state);
        tracing::warn!(
            member = self.address,
            reason,
            "an encoder that fails gets one call at a time until it answers one"
        );
        metrics::encoder_is_up(&self.label, false);
    }

    /// A call begins; whether it is one on trial.
    pub(super) fn begin_trial(&self) -> bool {
        match &mut self.state().trial {
            Some(trial) => {
                trial.is_running = true;
                true
            }
            None => false,
        }
    }

    /// A call on trial was not answered. When it was, there is no trial any more.
    pub(super) fn end_trial(&self) {
        let mut state = self.state();
        let next = Instant::now() + state.next_pause();
        if let Some(trial) = &mut state.trial {
            trial.is_running = false;
            trial.next = next;
        }
    }

    /// It has no room for such work.
    pub(super) fn push_back(&self, work: &Work, delay: Duration) {
        let now = Instant::now();
        let mut state = self.state();
        state.last_answer = Some(now);
        state.full_until[priority(work)] = now.checked_add(delay);
    }

    /// It owes an answer since then. One that answered others meanwhile is only slow.
    pub(super) fn suspect(&self, since: Instant) {
        let mut state = self.state();
        let is_there = state.last_answer.is_some_and(|at| at > since);
        if state.left_out.is_none() && !state.is_suspected && !is_there {
            state.is_suspected = true;
            state.next_probe = Instant::now();
            drop(state);
            self.due_changed.notify_one();
        }
    }

    /// It answered with another model than it said.
    pub(super) fn changed_model(&self) {
        let mut state = self.state();
        state.model = None;
        state.next_probe = Instant::now();
        drop(state);
        self.due_changed.notify_one();
    }

    fn leave_out(&self, reason: String) {
        self.trouble.notify_one();
        let mut state = self.state();
        state.is_suspected = false;
        let now = Instant::now();
        let is_first = !std::mem::replace(&mut state.has_failed_since_answer, true);
        let was_left_out = state.left_out.replace(reason.clone()).is_some();
        if was_left_out {
            return;
        }
        let pause = state.next_pause();
        state.next_probe = if is_first { now } else { now + pause };
        drop(state);
        tracing::warn!(member = self.address, reason, "an encoder is left out until it answers again");
        metrics::encoder_is_up(&self.label, false);
        self.due_changed.notify_one();
    }

    /// Asks it again and again what it runs, more often where that is in doubt. Never ends.
    pub(super) async fn keep(self: Arc<Self>, interval: Duration, limit: Duration) {
        loop {
            let due = self.state().next_probe;
            tokio::select! {
                biased;
                () = self.due_changed.notified() => {}
                () = tokio::time::sleep_until(due) => {
                    let is_there = self.probe(limit).await;
                    let mut state = self.state();
                    let pause = if is_there { interval } else { state.next_pause() };
                    state.next_probe = Instant::now() + pause;
                }
            }
        }
    }
}
