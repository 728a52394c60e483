//! Searches for people and tracks in the embedded store: how long they take, what they keep in memory, and what is lost.

use crate::group_loss::measure_group_loss;
use crate::group_report::GroupsMeasurement;
use crate::process_memory::resident_bytes;
use crate::store_benchmark::StorePlan;
use crate::store_report::{SearchKind, StoreReport};
use crate::store_searches::{LIMIT, Searches};
use crate::synthetic_gallery::SyntheticGallery;
use crate::{GalleryBenchError, Progress};
use descry_store::{EmbeddedStore, Generation, VectorStore as _};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Asks a store that was just opened.
pub(crate) async fn ask_for_groups(
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
    // Readers of the file, which any search opens, are no cost of groups.
    searches.ask(SearchKind::Nearest, 0).await?;
    let resident_before = resident_bytes()?;
    let begin = Instant::now();
    searches.ask(SearchKind::PersonsByMean, 0).await?;
    let first_mean_ms = begin.elapsed().as_secs_f64() * 1000.0;
    for kind in SearchKind::BY_GROUP {
        if stop.is_cancelled() {
            return Ok(());
        }
        report.searches.extend(searches.measure(kind, stop, progress).await?);
    }
    let resident_bytes = resident_bytes()?.saturating_sub(resident_before);
    let counted_bytes = store.describe(&generation).await?.bytes;
    let mut losses = Vec::new();
    if plan.recall_queries > 0 {
        let compared = gallery.queries(plan.recall_queries, plan.images)?;
        let asked = (compared.as_slice(), gallery.fingerprint());
        losses = measure_group_loss(&*store, &generation, asked, LIMIT, stop, progress).await?;
    }
    report.groups = Some(GroupsMeasurement { first_mean_ms, resident_bytes, counted_bytes, losses });
    Ok(())
}
