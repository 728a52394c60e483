//! Progress of a job: a bar for people, lines of JSON for programs.

use super::report::Report;
use crate::output::say;
use crate::progress;
use indicatif::ProgressBar;
use serde_json::Value;
use std::time::Instant;

pub(super) enum Display {
    Bar(ProgressBar),
    JsonLines {
        /// When the last line was printed.
        printed_at: Instant,
        /// What had been answered then.
        answered: u64,
    },
}

impl Display {
    pub(super) fn new(is_json: bool, total: Option<u64>) -> Self {
        if is_json {
            return Self::JsonLines { printed_at: Instant::now(), answered: 0 };
        }
        Self::Bar(progress::counter(total, "images"))
    }

    pub(super) fn advance(&self, count: u64) {
        match self {
            Self::Bar(bar) => bar.inc(count),
            Self::JsonLines { .. } => {}
        }
    }

    pub(super) fn show_failures(&self, failed: u64) {
        match self {
            Self::Bar(bar) => bar.set_message(format!("{failed} failed")),
            Self::JsonLines { .. } => {}
        }
    }

    /// Prints a line for programs.
    pub(super) fn tick(&mut self, report: &Report) {
        match self {
            Self::Bar(_) => {}
            Self::JsonLines { printed_at, answered } => {
                let now_answered = report.indexed + report.unchanged;
                let seconds = printed_at.elapsed().as_secs_f64().max(1e-3);
                let per_second = now_answered.saturating_sub(*answered) as f64 / seconds;
                say!("{}", Value::Object(report.progress_json(per_second)));
                (*printed_at, *answered) = (Instant::now(), now_answered);
            }
        }
    }

    pub(super) fn finish(&self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::JsonLines { .. } => {}
        }
    }
}
