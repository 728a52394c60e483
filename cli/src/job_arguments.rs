//! Flags of commands that fill a gallery.

use crate::job_display::JobDisplay;
use anyhow::Context as _;
use descry_client::{JobOptions, PATIENCE};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RETRY_FOR_S: u64 = PATIENCE.as_secs();

/// How a job reports, and when it gives up.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobArguments {
    /// Write every image that failed to this file (.csv, or .jsonl with one JSON object a line): id, path and reason.
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// Stop when more images than this have failed [default: go on].
    #[arg(long, value_name = "N")]
    max_failures: Option<u64>,
    /// How long to try again while the service is not available.
    #[arg(long = "retry-for", default_value_t = RETRY_FOR_S, value_name = "SECONDS")]
    retry_for_s: u64,
    /// Print progress as one JSON object a line, every second and at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

impl JobArguments {
    /// For the client. `stop` ends the job in good order.
    pub(crate) fn options(&self, stop: CancellationToken) -> JobOptions {
        let Self { failures, max_failures, retry_for_s, json: _ } = self;
        let retry_for = Duration::from_secs(*retry_for_s);
        JobOptions { failures: failures.clone(), max_failures: *max_failures, retry_for, stop }
    }

    /// What shows the job.
    pub(crate) fn display(&self) -> JobDisplay {
        JobDisplay::new(self.json)
    }
}

/// A number of images a second.
pub(crate) fn parse_rate(text: &str) -> anyhow::Result<f32> {
    let rate = text.parse::<f32>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.with_context(|| format!("{text:?} is not a number of images above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_above_zero() {
        assert!((parse_rate("12.5").unwrap() - 12.5).abs() < 1e-6);
        for wrong in ["0", "-1", "nan", "inf", "many"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
