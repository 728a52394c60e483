//! A Qdrant server: writing, waiting for its index, searching, and what it misses by how thoroughly it is asked.

use crate::exact_search::measure_recall;
use crate::server_report::ServerReport;
use crate::store_filling::fill;
use crate::store_report::SearchKind;
use crate::store_searches::{CALLERS, LIMIT, Searches};
use crate::synthetic_gallery::{GalleryShape, SyntheticGallery};
use crate::{GalleryBenchError, Progress};
use descry_store::{
    Generation, IndexState, NewGallery, QdrantConfig, QdrantGallerySettings, QdrantStore, SearchAccuracy, StoreError,
    VectorStore,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two looks at the index.
const INDEX_PAUSE: Duration = Duration::from_millis(500);

/// A server says for a moment that it is ready before it has begun with what was just written: so often in a row it is.
const READY_LOOKS: u32 = 4;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerPlan {
    /// How to reach the server or the nodes of the cluster.
    pub server: QdrantConfig,
    /// Images of the gallery.
    pub images: u64,
    /// What their embeddings look like.
    pub shape: GalleryShape,
    /// How the gallery is kept.
    pub settings: QdrantGallerySettings,
    /// Searches of each kind.
    pub queries: u64,
    /// Searches that are compared with the truth.
    pub recall_queries: u64,
    /// Numbers of images in view at which they are compared; the store's own where it is empty.
    pub search_ef: Vec<u32>,
    /// Whether the gallery stays in the server, to be used again.
    pub keep: bool,
}

/// Fills a gallery in a server, waits for its index, and asks it. Ends early, with what was measured, when `stop` is
/// cancelled.
///
/// # Errors
/// [`GalleryBenchError::Setting`] for a plan that cannot be carried out, [`GalleryBenchError::OtherData`] when there is a
/// gallery of that name with more images, [`GalleryBenchError::Store`] when the server fails.
pub async fn run_server_benchmark(
    plan: &ServerPlan,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<ServerReport, GalleryBenchError> {
    for (setting, value) in [("--images", plan.images), ("--queries", plan.queries)] {
        if value == 0 {
            return Err(GalleryBenchError::Setting { setting, reason: "must be at least 1".to_owned() });
        }
    }
    let gallery = SyntheticGallery::new(plan.shape)?;
    let store = Arc::new(QdrantStore::connect(&plan.server, || None)?);
    let name = name(&gallery, plan);
    let new = NewGallery::new(&name, gallery.fingerprint(), plan.shape.dimension);
    let mut settings = new.settings.clone();
    settings.qdrant.clone_from(&plan.settings);
    store.create(NewGallery { settings, ..new }).await?;
    let measured = measure(plan, &store, (&gallery, &name), stop, progress).await;
    if !plan.keep {
        match store.delete_gallery(&name).await {
            Ok(()) | Err(StoreError::GalleryNotFound { .. }) => {}
            Err(error) => return measured.and(Err(error.into())),
        }
    }
    measured
}

/// One for each kind of embeddings and settings, so that what is kept is never taken for something else.
fn name(gallery: &SyntheticGallery, plan: &ServerPlan) -> String {
    let settings = format!("{:?}", plan.settings);
    let kind = descry_model::Fingerprint::of_parts([
        ("embeddings", gallery.fingerprint().as_str().as_bytes()),
        ("settings", settings.as_bytes()),
    ]);
    format!("bench-{}", kind.as_str().chars().take(12).collect::<String>())
}

async fn measure(
    plan: &ServerPlan,
    store: &Arc<QdrantStore>,
    (gallery, name): (&SyntheticGallery, &str),
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<ServerReport, GalleryBenchError> {
    let filled = fill(&**store, (name, Path::new(name)), (gallery, plan.images), stop, progress).await?;
    let mut report = ServerReport::of(plan, filled.measured);
    let generation = filled.generation;
    if filled.images == plan.images && !stop.is_cancelled() {
        let begun = Instant::now();
        if wait_for_index(&**store, &generation, stop, progress).await? {
            report.indexing_s = Some(begun.elapsed().as_secs_f64());
            ask((store, &generation), plan, gallery, &mut report, stop, progress).await?;
        }
    }
    report.interrupted = stop.is_cancelled();
    Ok(report)
}

/// Whether the index is complete; not so when `stop` came before.
async fn wait_for_index(
    store: &dyn VectorStore,
    generation: &Generation,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<bool, GalleryBenchError> {
    let mut ready = 0;
    while ready < READY_LOOKS {
        match store.describe(generation).await?.index {
            IndexState::Ready | IndexState::Exact => ready += 1,
            IndexState::Building => ready = 0,
            IndexState::Failed => {
                let reason = "the server reports trouble with the index; its log says which".to_owned();
                return Err(GalleryBenchError::Setting { setting: "--qdrant-url", reason });
            }
        }
        progress("building the index", u64::from(ready), u64::from(READY_LOOKS));
        tokio::select! {
            () = tokio::time::sleep(INDEX_PAUSE) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
    Ok(true)
}

async fn ask(
    (store, generation): (&Arc<QdrantStore>, &Generation),
    plan: &ServerPlan,
    gallery: &SyntheticGallery,
    report: &mut ServerReport,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<(), GalleryBenchError> {
    let searches = Searches {
        store: store.clone(),
        gallery: Arc::new(generation.clone()),
        queries: gallery.queries(plan.queries, plan.images)?.into(),
    };
    for kind in SearchKind::ALL {
        if !stop.is_cancelled() {
            report.searches.extend(searches.measure(kind, stop, progress).await?);
        }
    }
    for callers in CALLERS {
        if !stop.is_cancelled() {
            progress("several callers", callers as u64, callers as u64);
            report.throughput.extend(searches.measure_callers(callers, stop).await?);
        }
    }
    if plan.recall_queries > 0 && !stop.is_cancelled() {
        let of_ef = |hnsw_ef: &u32| SearchAccuracy { hnsw_ef: Some(*hnsw_ef), ..SearchAccuracy::default() };
        let mut accuracies: Vec<SearchAccuracy> = plan.search_ef.iter().map(of_ef).collect();
        if accuracies.is_empty() {
            accuracies.push(SearchAccuracy::default());
        }
        let compared = gallery.queries(plan.recall_queries, plan.images)?;
        let asked = (compared.as_slice(), gallery.fingerprint());
        report.recall = measure_recall(&**store, generation, asked, (LIMIT, &accuracies), stop, progress).await?;
    }
    Ok(())
}
