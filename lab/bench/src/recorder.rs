//! Collects the answers of one load in one stretch of time.

use crate::BenchError;
use crate::encoder_calls::{Answer, Fault};
use crate::encoder_report::{Failure, ItemKind, LoadMeasurement};
use crate::statistics::LatencyHistogram;
use crate::timing_totals::TimingTotals;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The measured stretch of time; what is sent before its start warms up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

/// Which requests belong to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// Those answered in it: a closed loop's throughput is what comes out.
    Answered,
    /// Those due in it, whenever they are answered: an open loop must not forget its slowest requests.
    Due,
}

/// Shared by everything that sends.
#[derive(Debug)]
pub(crate) struct Recorder {
    window: Window,
    membership: Membership,
    collected: Mutex<Collected>,
}

#[derive(Debug)]
struct Collected {
    latencies: LatencyHistogram,
    due: u64,
    requests_ok: u64,
    requests_failed: BTreeMap<String, Failure>,
    requests_shed: u64,
    items_ok: u64,
    items_failed: BTreeMap<String, Failure>,
    timings: TimingTotals,
    last_answer: Option<Instant>,
}

impl Recorder {
    pub(crate) fn new(window: Window, membership: Membership) -> Result<Self, BenchError> {
        let collected = Collected {
            latencies: LatencyHistogram::new()?,
            due: 0,
            requests_ok: 0,
            requests_failed: BTreeMap::new(),
            requests_shed: 0,
            items_ok: 0,
            items_failed: BTreeMap::new(),
            timings: TimingTotals::default(),
            last_answer: None,
        };
        Ok(Self { window, membership, collected: Mutex::new(collected) })
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// A request is due and is sent.
    pub(crate) fn sent(&self, due: Instant) {
        if self.window.contains(due) {
            self.collected().due += 1;
        }
    }

    /// A request is due and is not sent.
    pub(crate) fn shed(&self, due: Instant) {
        if self.window.contains(due) {
            self.collected().requests_shed += 1;
        }
    }

    /// A request that was due at `due` is answered at `answered`.
    pub(crate) fn answered(&self, due: Instant, answered: Instant, result: Result<Answer, Fault>) {
        let counts = match self.membership {
            Membership::Answered => self.window.contains(answered),
            Membership::Due => self.window.contains(due),
        };
        if !counts {
            return;
        }
        let mut collected = self.collected();
        collected.last_answer = collected.last_answer.max(Some(answered));
        match result {
            Ok(answer) => {
                collected.requests_ok += 1;
                collected.items_ok += answer.items_ok;
                collected.latencies.record(answered.saturating_duration_since(due));
                for fault in answer.item_faults {
                    count(&mut collected.items_failed, format!("{:?}", fault.code), fault.message);
                }
                if let Some(timings) = answer.timings {
                    collected.timings.add(&timings);
                }
            }
            Err(fault) => count(&mut collected.requests_failed, format!("{:?}", fault.code), fault.message),
        }
    }

    /// What was collected, when the run ended at `ended`. `patient` says that answers were waited for, so that those
    /// which did not come have failed.
    pub(crate) fn measurement(&self, kind: ItemKind, ended: Instant, patient: bool) -> LoadMeasurement {
        let collected = self.collected();
        let mut requests_failed = collected.requests_failed.clone();
        let settled =
            collected.requests_ok + collected.requests_failed.values().map(|failure| failure.count).sum::<u64>();
        if self.membership == Membership::Due && patient && collected.due > settled {
            let first_message = "no answer within the benchmark's patience".to_owned();
            requests_failed.insert("Unanswered".to_owned(), Failure { count: collected.due - settled, first_message });
        }
        let mut until = ended.min(self.window.end);
        if self.membership == Membership::Due {
            until = until.max(collected.last_answer.unwrap_or(until));
        }
        let elapsed_s = until.saturating_duration_since(self.window.start).as_secs_f64();
        LoadMeasurement {
            kind,
            elapsed_s,
            items_per_s: if elapsed_s > 0.0 { collected.items_ok as f64 / elapsed_s } else { 0.0 },
            requests_ok: collected.requests_ok,
            requests_failed,
            requests_shed: collected.requests_shed,
            items_ok: collected.items_ok,
            items_failed: collected.items_failed.clone(),
            latency: collected.latencies.summary(),
            timings: collected.timings.summary(),
        }
    }

    fn collected(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// After `warm_up` from `begin` on, for `length`.
    pub(crate) fn after(begin: Instant, warm_up: Duration, length: Duration) -> Self {
        let start = begin + warm_up;
        Self { start, end: start + length }
    }

    fn contains(&self, moment: Instant) -> bool {
        (self.start..self.end).contains(&moment)
    }
}

fn count(failures: &mut BTreeMap<String, Failure>, code: String, message: String) {
    failures.entry(code).or_insert(Failure { count: 0, first_message: message }).count += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::encoder::v1::Timings;
    use tonic::Code;

    const SECOND: Duration = Duration::from_secs(1);

    fn recorder(membership: Membership) -> (Recorder, Instant) {
        let begin = Instant::now();
        (Recorder::new(Window::after(begin, 2 * SECOND, 10 * SECOND), membership).unwrap(), begin)
    }

    fn answer(items_ok: u64, batch_size: u32) -> Result<Answer, Fault> {
        let timings = Timings { queue_ms: 4.0, prepare_ms: 1.0, run_ms: 8.0, batch_size };
        Ok(Answer { items_ok, item_faults: Vec::new(), timings: Some(timings) })
    }

    #[test]
    fn a_closed_loop_counts_what_is_answered_in_the_window() {
        let (recorder, begin) = recorder(Membership::Answered);
        recorder.answered(begin, begin + SECOND, answer(1, 1));
        recorder.answered(begin + SECOND, begin + 3 * SECOND, answer(20, 8));
        recorder.answered(begin + 11 * SECOND, begin + 13 * SECOND, answer(1, 1));
        let found = recorder.measurement(ItemKind::Text, begin + 13 * SECOND, true);
        assert_eq!((found.requests_ok, found.items_ok, found.items_per_s), (1, 20, 2.0));
        assert!((found.latency.unwrap().max_ms / 2000.0 - 1.0).abs() < 0.002);
    }

    #[test]
    fn an_open_loop_counts_what_is_due_in_the_window_and_waits_for_it() {
        let (recorder, begin) = recorder(Membership::Due);
        for due in [1, 5, 11] {
            recorder.sent(begin + due * SECOND);
        }
        recorder.shed(begin + SECOND);
        recorder.shed(begin + 6 * SECOND);
        recorder.answered(begin + SECOND, begin + 3 * SECOND, answer(1, 1));
        recorder.answered(begin + 11 * SECOND, begin + 22 * SECOND, answer(1, 1));
        let found = recorder.measurement(ItemKind::Image, begin + 40 * SECOND, true);
        assert_eq!((found.requests_ok, found.requests_shed, found.elapsed_s), (1, 1, 20.0));
        assert!((found.latency.unwrap().p50_ms / 11_000.0 - 1.0).abs() < 0.002);
        assert_eq!(found.requests_failed["Unanswered"].count, 1);
        // Who ended the run early did not wait for answers.
        let interrupted = recorder.measurement(ItemKind::Image, begin + 40 * SECOND, false);
        assert!(interrupted.requests_failed.is_empty());
    }

    #[test]
    fn failures_are_counted_by_code_and_have_no_latency() {
        let (recorder, begin) = recorder(Membership::Answered);
        let fault = |code, message: &str| Fault { code, message: message.to_owned() };
        for message in ["first", "second"] {
            recorder.answered(begin, begin + 3 * SECOND, Err(fault(Code::ResourceExhausted, message)));
        }
        let item_faults = vec![fault(Code::InvalidArgument, "blank")];
        recorder.answered(begin, begin + 3 * SECOND, Ok(Answer { items_ok: 0, item_faults, timings: None }));
        let found = recorder.measurement(ItemKind::Text, begin + 12 * SECOND, true);
        assert_eq!(found.requests_failed["ResourceExhausted"], Failure { count: 2, first_message: "first".to_owned() });
        assert_eq!(found.items_failed["InvalidArgument"].count, 1);
        assert_eq!((found.requests_ok, found.items_ok, found.timings), (1, 0, None));
        assert_eq!(found.latency.unwrap().count, 1);
    }

    #[test]
    fn an_interrupted_run_lasts_until_then() {
        let (recorder, begin) = recorder(Membership::Answered);
        recorder.answered(begin, begin + 3 * SECOND, answer(8, 8));
        assert_eq!(recorder.measurement(ItemKind::Text, begin + 4 * SECOND, false).items_per_s, 4.0);
        assert_eq!(recorder.measurement(ItemKind::Text, begin + SECOND, false).elapsed_s, 0.0);
    }
}
