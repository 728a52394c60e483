//! What an audit log costs searches: the same queries to a service with one and to a service without, in turns within one run.

use crate::process_memory::scratch_folder;
use crate::report_row::{ReportRow, Target};
use crate::search_server::SearchServer;
use crate::service_sides::ServiceSide;
use crate::store_filling::BATCH_IMAGES;
use crate::synthetic_gallery::{GalleryShape, SyntheticGallery};
use crate::{GalleryBenchError, Progress};
use descry_bench::RatioSummary;
use descry_model::Embedding;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Searches of a turn: several times as many as are under way at once.
const TURN_SEARCHES: usize = 256;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPlan {
    /// Images of each gallery.
    pub images: u64,
    /// What their embeddings look like.
    pub shape: GalleryShape,
    /// Turns of each service; the first of them warms up.
    pub turns: u64,
    /// Searches under way at once.
    pub callers: usize,
    /// Where the temporary files are made; without one where the system keeps such. The log lies there too: what is measured is
    /// the disk as much as the program.
    pub scratch: Option<PathBuf>,
}

/// Searches with an audit log and without.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditReport {
    /// Images of each of the two galleries.
    pub images: u64,
    /// Searches under way at once.
    pub callers: usize,
    /// Turns that count.
    pub turns: u64,
    /// With a log.
    pub audited_searches_per_s: f64,
    /// Without.
    pub plain_searches_per_s: f64,
    /// The rate with a log as a share of the rate without, of each turn.
    pub share: Option<RatioSummary>,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// Starts both services with equal galleries, and searches both in turns.
///
/// # Errors
/// [`GalleryBenchError::Setting`] for a plan that cannot be carried out, otherwise what a service says.
pub async fn run_audit_benchmark(
    plan: &AuditPlan,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<AuditReport, GalleryBenchError> {
    if plan.images == 0 || plan.callers == 0 {
        let reason = "must be at least 1".to_owned();
        return Err(GalleryBenchError::Setting { setting: "--images, --callers", reason });
    }
    let gallery = SyntheticGallery::new(plan.shape)?;
    let folder = scratch_folder(plan.scratch.as_deref())?;
    let log = folder.path().join("audit");
    let audited = SearchServer::start_with(&folder.path().join("audited.sqlite3"), |config| {
        config.audit.folder = log;
    })
    .await?;
    let plain = SearchServer::start(&folder.path().join("plain.sqlite3")).await?;
    let dimension = plan.shape.dimension;
    let sides = [
        ServiceSide::create(audited.client(), gallery.fingerprint(), dimension).await?,
        ServiceSide::create(plain.client(), gallery.fingerprint(), dimension).await?,
    ];
    let mut written = 0;
    while written < plan.images {
        let end = (written + BATCH_IMAGES).min(plan.images);
        let batch = [gallery.images(written..end)?];
        for side in &sides {
            side.write(&batch).await?;
        }
        written = end;
        progress("filling", written, plan.images);
    }
    let queries = gallery.queries(TURN_SEARCHES as u64, plan.images)?;
    let mut times: Vec<(f64, f64)> = Vec::new();
    for turn in 0..plan.turns {
        if stop.is_cancelled() {
            break;
        }
        let (audited, plain) = match turn.is_multiple_of(2) {
            true => {
                let audited = search(&sides[0], &queries, plan.callers).await?;
                (audited, search(&sides[1], &queries, plan.callers).await?)
            }
            false => {
                let plain = search(&sides[1], &queries, plan.callers).await?;
                (search(&sides[0], &queries, plan.callers).await?, plain)
            }
        };
        if turn > 0 {
            times.push((audited.as_secs_f64(), plain.as_secs_f64()));
        }
        progress("searching in turns", turn + 1, plan.turns);
    }
    drop(sides);
    audited.stop().await?;
    plain.stop().await?;
    let searches = (times.len() * TURN_SEARCHES) as f64;
    Ok(AuditReport {
        images: plan.images,
        callers: plan.callers,
        turns: times.len() as u64,
        audited_searches_per_s: searches / times.iter().map(|(audited, _)| audited).sum::<f64>(),
        plain_searches_per_s: searches / times.iter().map(|(_, plain)| plain).sum::<f64>(),
        share: RatioSummary::of_times(&times),
        interrupted: stop.is_cancelled(),
    })
}

/// Asks all queries, some at once.
async fn search(side: &ServiceSide, queries: &[Embedding], callers: usize) -> Result<Duration, GalleryBenchError> {
    let begin = Instant::now();
    let searching = queries.iter().map(|query| side.search(query));
    futures::stream::iter(searching).buffer_unordered(callers).try_for_each(async |_| Ok(())).await?;
    Ok(begin.elapsed())
}

impl AuditReport {
    /// A table's rows.
    pub fn rows(&self) -> Vec<ReportRow> {
        let mut rows = vec![
            ReportRow::new("searches with an audit log", self.audited_searches_per_s, "/s"),
            ReportRow::new("searches without", self.plain_searches_per_s, "/s"),
        ];
        if let Some(share) = &self.share {
            rows.push(ReportRow::new("share, median", share.median, "").target(Target::AtLeast(0.95)));
            rows.push(ReportRow::new("share, lower quartile", share.lower_quartile, ""));
            rows.push(ReportRow::new("share, upper quartile", share.upper_quartile, ""));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn both_are_asked_in_turns() {
        let shape = GalleryShape { dimension: 16, identities: 40, clusters: 0, seed: 7 };
        let plan = AuditPlan { images: 300, shape, turns: 2, callers: 16, scratch: None };
        let report = run_audit_benchmark(&plan, &CancellationToken::new(), &|_, _, _| {}).await.unwrap();
        assert_eq!((report.turns, report.rows().len()), (1, 5));
        assert!(report.audited_searches_per_s > 0.0 && report.plain_searches_per_s > 0.0);
    }
}
