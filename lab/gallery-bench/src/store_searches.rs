//! Asking a store, one caller or several.

use crate::latencies::Latencies;
use crate::store_report::{SearchKind, SearchMeasurement, ThroughputMeasurement};
use crate::synthetic_gallery::{CAMERAS, MIDDLE_OF_CAPTURES_MS, camera_id};
use crate::{GalleryBenchError, Progress};
use descry_model::Embedding;
use descry_store::{Generation, GroupBy, Grouping, NearestQuery, Pool, StoreError, VectorStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Hits of a search.
pub(crate) const LIMIT: usize = 10;

/// Callers at once.
pub(crate) const CALLERS: [usize; 2] = [2, 8];

/// Searches before the first that is measured.
const WARM_UP: usize = 20;

/// Searches of the kinds that compare every image: they take their time, and vary little.
const FEW: usize = 200;

/// What is asked, of which gallery.
#[derive(Clone)]
pub(crate) struct Searches {
    pub(crate) store: Arc<dyn VectorStore>,
    pub(crate) gallery: Arc<Generation>,
    pub(crate) queries: Arc<[Embedding]>,
}

impl Searches {
    /// One caller. `None` when `stop` came before the first answer.
    pub(crate) async fn measure(
        &self,
        kind: SearchKind,
        stop: &CancellationToken,
        progress: Progress<'_>,
    ) -> Result<Option<SearchMeasurement>, GalleryBenchError> {
        let count = match kind {
            SearchKind::Nearest | SearchKind::OneCamera => self.queries.len(),
            SearchKind::Exact
            | SearchKind::Persons
            | SearchKind::PersonsByMean
            | SearchKind::PersonsByMeanInOneCamera
            | SearchKind::PersonsByMeanOfHalf
            | SearchKind::Tracks
            | SearchKind::TracksByMean => self.queries.len().min(FEW),
        };
        for position in 0..count.min(WARM_UP) {
            self.ask(kind, position).await?;
        }
        let mut latencies = Latencies::default();
        for position in 0..count {
            if stop.is_cancelled() {
                break;
            }
            let begin = Instant::now();
            self.ask(kind, position).await?;
            latencies.record(begin.elapsed());
            progress(kind.name(), position as u64 + 1, count as u64);
        }
        Ok(latencies.summary().map(|latency| SearchMeasurement { kind, latency }))
    }

    /// Several callers who share the queries. `None` when `stop` came before the end.
    pub(crate) async fn measure_callers(
        &self,
        callers: usize,
        stop: &CancellationToken,
    ) -> Result<Option<ThroughputMeasurement>, GalleryBenchError> {
        let next = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            tasks.spawn(self.clone().ask_in_turn(Arc::clone(&next), stop.clone()));
        }
        let mut latencies = Latencies::default();
        while let Some(caller) = tasks.join_next().await {
            latencies.append(caller??);
        }
        let elapsed_s = begin.elapsed().as_secs_f64();
        let Some(latency) = latencies.summary().filter(|_| !stop.is_cancelled()) else { return Ok(None) };
        Ok(Some(ThroughputMeasurement { callers, queries_per_s: latency.count as f64 / elapsed_s, latency }))
    }

    async fn ask_in_turn(self, next: Arc<AtomicUsize>, stop: CancellationToken) -> Result<Latencies, StoreError> {
        let mut latencies = Latencies::default();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            if position >= self.queries.len() || stop.is_cancelled() {
                return Ok(latencies);
            }
            let begin = Instant::now();
            self.ask(SearchKind::Nearest, position).await?;
            latencies.record(begin.elapsed());
        }
    }

    pub(crate) async fn ask(&self, kind: SearchKind, position: usize) -> Result<(), StoreError> {
        let Some(embedding) = self.queries.get(position) else { return Ok(()) };
        let mut query = NearestQuery::new(embedding.clone(), self.gallery.fingerprint.clone(), LIMIT);
        match kind {
            SearchKind::OneCamera | SearchKind::PersonsByMeanInOneCamera => {
                query.filter.camera_ids = vec![camera_id(position as u64 % CAMERAS)];
            }
            SearchKind::PersonsByMeanOfHalf => query.filter.captured_from_ms = Some(MIDDLE_OF_CAPTURES_MS),
            SearchKind::Exact => query.exact = true,
            SearchKind::Nearest
            | SearchKind::Persons
            | SearchKind::PersonsByMean
            | SearchKind::Tracks
            | SearchKind::TracksByMean => {}
        }
        match grouping(kind) {
            Some(grouping) => drop(self.store.nearest_groups(&self.gallery, query, grouping).await?),
            None => drop(self.store.nearest(&self.gallery, query).await?),
        }
        Ok(())
    }
}

/// The groups that are asked for, if it is groups.
fn grouping(kind: SearchKind) -> Option<Grouping> {
    let (by, pool) = match kind {
        SearchKind::Nearest | SearchKind::OneCamera | SearchKind::Exact => return None,
        SearchKind::Persons => (GroupBy::Person, Pool::Best),
        SearchKind::PersonsByMean | SearchKind::PersonsByMeanInOneCamera | SearchKind::PersonsByMeanOfHalf => {
            (GroupBy::Person, Pool::Mean)
        }
        SearchKind::Tracks => (GroupBy::Track, Pool::Best),
        SearchKind::TracksByMean => (GroupBy::Track, Pool::Mean),
    };
    Some(Grouping { by, pool })
}
