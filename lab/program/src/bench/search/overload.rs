//! `descry bench search overload`

use super::outcome::{publish, show_progress};
use crate::bench::json_output::JsonArguments;
use descry_gallery_bench::{OverloadPlan, measure_overload};
use descry_terminal::progress;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// As long as people write them.
const TEXT: &str = "a woman with long dark hair who wears a long purple coat over a white blouse, black trousers and brown \
                    boots, and carries a blue backpack on one shoulder and a red umbrella in her left hand";

/// Measure how many searches a running service answers in time when more come than it can do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry bench search overload --server http://127.0.0.1:50051 --gallery demo
  descry bench search overload --gallery demo --factors 2,10 --deadlines-ms 250,none --seconds 5")]
pub(crate) struct OverloadArguments {
    /// Address of the search service.
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "URL")]
    server: String,
    /// The gallery to search.
    #[arg(long, value_name = "NAME")]
    gallery: String,
    /// Description to search for; may be repeated [default: one of 40 words].
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// Multiples of the most that the service can do.
    #[arg(long, value_delimiter = ',', default_value = "1.2,2,4,10,20", value_name = "LIST")]
    factors: Vec<f64>,
    /// Deadlines in milliseconds, or `none`.
    #[arg(long, value_delimiter = ',', default_value = "250,1000,none", value_parser = deadline, value_name = "LIST")]
    deadlines_ms: Vec<Deadline>,
    /// How long each load lasts.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// Connections over which searches come.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    connections: u16,
    /// Searches under way at once while the most is measured.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    callers: u16,
    #[command(flatten)]
    json: JsonArguments,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Deadline(Option<Duration>);

fn deadline(text: &str) -> Result<Deadline, String> {
    if text == "none" {
        return Ok(Deadline(None));
    }
    match text.parse() {
        Ok(ms @ 1..) => Ok(Deadline(Some(Duration::from_millis(ms)))),
        _ => Err("milliseconds, or `none`".to_owned()),
    }
}

pub(super) async fn run(arguments: OverloadArguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let OverloadArguments { server, gallery, text, factors, deadlines_ms, seconds, connections, callers, json } =
        arguments;
    let step = Duration::try_from_secs_f64(seconds)?;
    let plan = OverloadPlan {
        url: server,
        gallery,
        texts: if text.is_empty() { vec![TEXT.to_owned()] } else { text },
        factors,
        deadlines: deadlines_ms.into_iter().map(|Deadline(deadline)| deadline).collect(),
        step,
        connections: connections.into(),
        callers: callers.into(),
    };
    let bar = progress::bar(0, "");
    let report = measure_overload(&plan, &stop, &|stage, done, total| show_progress(&bar, stage, done, total)).await;
    bar.finish_and_clear();
    let report = report?;
    publish(&json, &report, &report.rows(), report.interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_milliseconds_or_none() {
        assert_eq!(deadline("none"), Ok(Deadline(None)));
        assert_eq!(deadline("250"), Ok(Deadline(Some(Duration::from_millis(250)))));
        assert!(deadline("0").is_err() && deadline("soon").is_err() && deadline("-1").is_err());
    }
}
