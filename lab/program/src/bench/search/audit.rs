//! `descry bench search audit`

use super::outcome::{publish, show_progress};
use super::{IMAGES_OF_AN_IDENTITY, ShapeArguments};
use crate::bench::json_output::JsonArguments;
use descry_gallery_bench::{AuditPlan, run_audit_benchmark};
use descry_terminal::progress;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Measure what an audit log costs searches: the same queries to a service with one and to a service without, in turns.
///
/// The log lies where the temporary files do. On a disk in memory it costs less than on any other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry bench search audit --images 20000 --callers 16")]
pub(super) struct AuditArguments {
    /// Images of each gallery.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    images: u64,
    #[command(flatten)]
    shape: ShapeArguments,
    /// Turns of each service, 256 searches each.
    #[arg(long, default_value_t = 21, value_name = "N")]
    turns: u64,
    /// Searches under way at once.
    #[arg(long, default_value_t = 16, value_name = "N")]
    callers: usize,
    /// Where temporary files are made [default: the system's folder for them].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArguments,
}

pub(super) async fn run(arguments: AuditArguments, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let AuditArguments { images, shape, turns, callers, scratch, json } = arguments;
    let plan = AuditPlan { images, shape: shape.shape(images, IMAGES_OF_AN_IDENTITY), turns, callers, scratch };
    let bar = progress::bar(0, "");
    let report = run_audit_benchmark(&plan, &stop, &|stage, done, total| show_progress(&bar, stage, done, total)).await;
    bar.finish_and_clear();
    let report = report?;
    publish(&json, &report, &report.rows(), report.interrupted)
}
