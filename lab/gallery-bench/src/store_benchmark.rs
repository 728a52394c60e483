//! The embedded store alone: writing, opening, memory, searching.

use crate::exact_search::measure_recall;
use crate::group_benchmark::ask_for_groups;
use crate::process_memory::{resident_bytes, scratch_folder};
use crate::store_filling::fill;
use crate::store_report::{OpeningMeasurement, SearchKind, StoreReport};
use crate::store_searches::{CALLERS, LIMIT, Searches};
use crate::synthetic_gallery::{GalleryShape, SyntheticGallery};
use crate::{GalleryBenchError, Progress};
use descry_store::{EmbeddedConfig, EmbeddedStore, Generation, SearchAccuracy};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

const GALLERY: &str = "bench";
const FILE: &str = "galleries.sqlite3";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlan {
    /// Images of the gallery.
    pub images: u64,
    /// What their embeddings look like.
    pub shape: GalleryShape,
    /// Searches of each kind.
    pub queries: u64,
    /// Whether people and tracks are asked for, of whom some have many images, in place of the usual searches.
    pub by_group: bool,
    /// Searches that are compared with the truth.
    pub recall_queries: u64,
    /// Folder of the gallery, used again when it holds one of the same parameters; without one it is temporary.
    pub data: Option<PathBuf>,
}

impl StorePlan {
    fn check(&self) -> Result<(), GalleryBenchError> {
        let settings = [("--images", self.images), ("--queries", self.queries)];
        for (setting, value) in settings {
            if value == 0 {
                return Err(GalleryBenchError::Setting { setting, reason: "must be at least 1".to_owned() });
            }
        }
        if self.by_group && self.shape.identities > self.images {
            let reason = format!("at most one for each of the {} images", self.images);
            return Err(GalleryBenchError::Setting { setting: "--identities", reason });
        }
        Ok(())
    }
}

/// Fills a store, opens it again and asks it. Ends early, with what was measured, when `stop` is cancelled.
///
/// # Errors
/// [`GalleryBenchError::Setting`] for a plan that cannot be carried out, [`GalleryBenchError::OtherData`] when the
/// folder holds another gallery, [`GalleryBenchError::Search`] when the store fails.
pub async fn run_store_benchmark(
    plan: &StorePlan,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<StoreReport, GalleryBenchError> {
    plan.check()?;
    let gallery = match plan.by_group {
        true => SyntheticGallery::with_drawn_sizes(plan.shape)?,
        false => SyntheticGallery::new(plan.shape)?,
    };
    let scratch = match plan.data {
        None => Some(scratch_folder(None)?),
        Some(_) => None,
    };
    let folder = scratch.as_ref().map(|folder| folder.path()).or(plan.data.as_deref()).unwrap_or(Path::new("."));
    let path = folder.join(FILE);
    let config = EmbeddedConfig::default();
    let mut report = StoreReport {
        images: plan.images,
        shape: plan.shape,
        search_threads: config.search_threads,
        filling: None,
        opening: None,
        searches: Vec::new(),
        recall: None,
        groups: None,
        throughput: Vec::new(),
        interrupted: false,
    };
    let store = EmbeddedStore::open(&path, config.clone()).await?;
    let filled = fill(&store, (GALLERY, &path), (&gallery, plan.images), stop, progress).await?;
    report.filling = filled.measured;
    close(store).await?;
    if filled.images == plan.images && !stop.is_cancelled() {
        progress("opening", 0, 1);
        let (store, opening) = open(&path, config, (plan.images, plan.shape.dimension)).await?;
        report.opening = Some(opening);
        let opened = (store, filled.generation);
        match plan.by_group {
            true => ask_for_groups(opened, plan, &gallery, &mut report, stop, progress).await?,
            false => ask(opened, plan, &gallery, &mut report, stop, progress).await?,
        }
    }
    report.interrupted = stop.is_cancelled();
    Ok(report)
}

/// Closing waits for the disk.
async fn close(store: EmbeddedStore) -> Result<(), GalleryBenchError> {
    Ok(tokio::task::spawn_blocking(move || drop(store)).await?)
}

async fn open(
    path: &Path,
    config: EmbeddedConfig,
    (images, dimension): (u64, usize),
) -> Result<(EmbeddedStore, OpeningMeasurement), GalleryBenchError> {
    let before = resident_bytes()?;
    let begin = Instant::now();
    let store = EmbeddedStore::open(path, config).await?;
    let elapsed_s = begin.elapsed().as_secs_f64();
    let resident = resident_bytes()?.saturating_sub(before);
    let resident_bytes_per_value = resident as f64 / (images as f64 * dimension as f64);
    Ok((store, OpeningMeasurement { elapsed_s, resident_bytes: resident, resident_bytes_per_value }))
}

async fn ask(
    (store, generation): (EmbeddedStore, Generation),
    plan: &StorePlan,
    gallery: &SyntheticGallery,
    report: &mut StoreReport,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<(), GalleryBenchError> {
    let store = Arc::new(store);
    let searches = Searches {
        store: store.clone(),
        gallery: Arc::new(generation.clone()),
        queries: gallery.queries(plan.queries, plan.images)?.into(),
    };
    for kind in SearchKind::ALL {
        if stop.is_cancelled() {
            return Ok(());
        }
        report.searches.extend(searches.measure(kind, stop, progress).await?);
    }
    for callers in CALLERS {
        if stop.is_cancelled() {
            return Ok(());
        }
        progress("several callers", callers as u64, callers as u64);
        report.throughput.extend(searches.measure_callers(callers, stop).await?);
    }
    if plan.recall_queries > 0 && !stop.is_cancelled() {
        let compared = gallery.queries(plan.recall_queries, plan.images)?;
        let asked = (compared.as_slice(), gallery.fingerprint());
        let accuracy = [SearchAccuracy::default()];
        let measured = measure_recall(&*store, &generation, asked, (LIMIT, &accuracy), stop, progress).await?;
        report.recall = measured.into_iter().next();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(data: Option<PathBuf>) -> StorePlan {
        let shape = GalleryShape { dimension: 16, identities: 40, clusters: 0, seed: 7 };
        StorePlan { images: 600, shape, queries: 5, by_group: false, recall_queries: 5, data }
    }

    #[tokio::test]
    async fn a_small_gallery_is_measured_whole_and_found_again() {
        let folder = scratch_folder(None).unwrap();
        let plan = plan(Some(folder.path().to_owned()));
        let stop = CancellationToken::new();
        let first = run_store_benchmark(&plan, &stop, &|_, _, _| {}).await.unwrap();
        assert_eq!(first.filling.unwrap().images, 600);
        assert_eq!(first.filling.unwrap().batch.count, 3);
        assert_eq!(first.searches.len(), SearchKind::ALL.len());
        assert_eq!(first.throughput.len(), CALLERS.len());
        assert_eq!(first.recall.unwrap().recall, 1.0);
        assert!(!first.interrupted && first.opening.is_some());
        assert!(first.rows().len() > 15);

        let again = run_store_benchmark(&plan, &stop, &|_, _, _| {}).await.unwrap();
        assert_eq!(again.filling, None);
        assert_eq!(again.recall, first.recall);

        let other = StorePlan { shape: GalleryShape { seed: 8, ..plan.shape }, ..plan };
        let error = run_store_benchmark(&other, &stop, &|_, _, _| {}).await.unwrap_err();
        assert!(matches!(error, GalleryBenchError::OtherData { .. }), "{error}");
    }

    #[tokio::test]
    async fn groups_are_measured_beside_all_of_them() {
        let plan = StorePlan { by_group: true, ..plan(None) };
        let report = run_store_benchmark(&plan, &CancellationToken::new(), &|_, _, _| {}).await.unwrap();
        let asked: Vec<SearchKind> = report.searches.iter().map(|search| search.kind).collect();
        assert_eq!(asked, SearchKind::BY_GROUP);
        let groups = report.groups.as_ref().unwrap();
        assert!(groups.counted_bytes > 600 * 16 && groups.first_mean_ms > 0.0);
        let measured: Vec<_> = groups.losses.iter().map(|loss| (loss.pool, loss.exact)).collect();
        assert_eq!(measured, [("best", false), ("best", true), ("mean", false), ("mean", true)]);
        assert!(groups.losses.iter().all(|loss| loss.loss == 0.0 && loss.queries == 5), "{:?}", groups.losses);
        assert!(report.rows().iter().any(|row| row.what.contains("mean, exact")));
    }

    #[tokio::test]
    async fn an_interruption_leaves_what_was_measured() {
        let stop = CancellationToken::new();
        let cancel_in_between = |stage: &str, done: u64, _: u64| {
            if stage == "writing" && done >= 256 {
                stop.cancel();
            }
        };
        let report = run_store_benchmark(&plan(None), &stop, &cancel_in_between).await.unwrap();
        assert!(report.interrupted);
        assert_eq!(report.filling.unwrap().images, 256);
        assert!(report.opening.is_none() && report.searches.is_empty());
    }

    #[tokio::test]
    async fn empty_plans_are_refused() {
        let empty = StorePlan { images: 0, ..plan(None) };
        let crowded = StorePlan { images: 39, by_group: true, ..plan(None) };
        for (refused, setting) in [(empty, "--images"), (crowded, "--identities")] {
            let error = run_store_benchmark(&refused, &CancellationToken::new(), &|_, _, _| {}).await.unwrap_err();
            assert!(error.to_string().contains(setting), "{error}");
        }
    }
}
