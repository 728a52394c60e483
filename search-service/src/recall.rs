//! How much of what is nearest the searches of a gallery find, where its store does not compare every image.
//!
//! Nobody sees from outside that an image is missing from an answer. So a few of the searches that were answered are kept
//! for a while, in memory and nowhere else, and made twice more in the background: once as they were, once exactly. One
//! runs at a time, and so rarely that it takes but a small part of the time.

use crate::config::RecallConfig;
use crate::metrics::set_recall;
use descry_store::{Generation, NearestQuery, StoreError, VectorStore};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Hits that are compared.
pub(crate) const COMPARED_HITS: usize = 10;

/// Searches of one gallery that wait to be made again, and galleries at once. What does not fit is not kept.
const WAITING_SEARCHES: usize = 4;
const MAX_GALLERIES: usize = 64;

/// A search older than this says nothing of what is searched for now, and is forgotten.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Comparisons of which the mean is told.
const WINDOW: usize = 50;

/// Rounding may tell two scores of one image apart.
const SAME_SCORE: f32 = 1e-5;

/// What was found out of a generation's searches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MeasuredRecall {
    /// Share of the nearest images that were found, 0 to 1, in the mean.
    pub(crate) share: f32,
    /// Searches that were compared.
    pub(crate) searches: u32,
}

/// Keeps some searches, makes them again, and knows what came of it.
#[derive(Clone)]
pub(crate) struct RecallProbe {
    galleries: Arc<Mutex<BTreeMap<String, Sample>>>,
    is_on: bool,
}

/// Of one generation.
struct Sample {
    generation: Generation,
    waiting: VecDeque<(Instant, NearestQuery)>,
    measured: VecDeque<f32>,
}

impl RecallProbe {
    /// One that keeps nothing unless `is_on`.
    pub(crate) fn new(is_on: bool) -> Self {
        Self { galleries: Arc::default(), is_on }
    }

    /// Keeps a search that was answered, if there is room.
    pub(crate) fn offer(&self, generation: &Generation, query: &NearestQuery) {
        if !self.is_on || query.exact {
            return;
        }
        let mut galleries = self.galleries();
        if galleries.len() >= MAX_GALLERIES && !galleries.contains_key(&generation.gallery) {
            return;
        }
        let sample = galleries.entry(generation.gallery.clone()).or_insert_with(|| Sample::of(generation));
        if sample.generation != *generation {
            *sample = Sample::of(generation);
        }
        sample.waiting.retain(|(kept_at, _)| kept_at.elapsed() < MAX_AGE);
        if sample.waiting.len() < WAITING_SEARCHES {
            let query = NearestQuery { limit: COMPARED_HITS, with_embeddings: false, ..query.clone() };
            sample.waiting.push_back((Instant::now(), query));
        }
    }

    /// What is known of a generation, if any of its searches was compared.
    pub(crate) fn of(&self, generation: &Generation) -> Option<MeasuredRecall> {
        self.galleries().get(&generation.gallery).filter(|sample| sample.generation == *generation)?.recall()
    }

    /// Makes a kept search again every so often, until `shutdown`. Galleries of more than `max_images` are passed over: an
    /// exact search reads all of them.
    pub(crate) async fn run(self, store: Arc<dyn VectorStore>, config: RecallConfig, shutdown: CancellationToken) {
        if !self.is_on {
            return;
        }
        let RecallConfig { probe_interval_ms, max_load_percent, max_images } = config;
        let interval = Duration::from_millis(probe_interval_ms);
        let probing = async {
            let mut pause = interval;
            loop {
                tokio::time::sleep(pause).await;
                let begun = Instant::now();
                if let Some((generation, query)) = self.next()
                    && let Err(error) = self.compare(&*store, &generation, query, max_images).await
                {
                    tracing::debug!(gallery = generation.gallery, %error, "a search could not be compared");
                }
                pause = interval.max(begun.elapsed().saturating_mul(100 / max_load_percent.clamp(1, 100)));
            }
        };
        tokio::select! {
            () = probing => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// The search that has waited longest, whichever gallery it is of.
    fn next(&self) -> Option<(Generation, NearestQuery)> {
        let mut galleries = self.galleries();
        for sample in galleries.values_mut() {
            sample.waiting.retain(|(kept_at, _)| kept_at.elapsed() < MAX_AGE);
        }
        let waits = galleries.values_mut().filter(|sample| !sample.waiting.is_empty());
        let longest = waits.min_by_key(|sample| sample.waiting.front().map(|(kept_at, _)| *kept_at))?;
        let (_, query) = longest.waiting.pop_front()?;
        Some((longest.generation.clone(), query))
    }

    async fn compare(
        &self,
        store: &dyn VectorStore,
        generation: &Generation,
        query: NearestQuery,
        max_images: u64,
    ) -> Result<(), StoreError> {
        let is_gone = |error: &StoreError| matches!(error, StoreError::GalleryNotFound { .. });
        let compared = async {
            if store.describe(generation).await?.images > max_images {
                return Ok(None);
            }
            let found = store.nearest(generation, query.clone()).await?;
            let exact = store.nearest(generation, NearestQuery { exact: true, ..query }).await?;
            let scores = |hits: &[descry_store::Hit]| hits.iter().map(|hit| hit.score).collect::<Vec<_>>();
            Ok(recall(&scores(&found), &scores(&exact)))
        };
        let recall = match compared.await {
            Ok(recall) => recall,
            Err(error) => {
                if is_gone(&error) {
                    self.galleries().remove(&generation.gallery);
                }
                return Err(error);
            }
        };
        let mut galleries = self.galleries();
        let sample = galleries.get_mut(&generation.gallery).filter(|sample| sample.generation == *generation);
        let (Some(recall), Some(sample)) = (recall, sample) else { return Ok(()) };
        if sample.measured.len() == WINDOW {
            sample.measured.pop_front();
        }
        sample.measured.push_back(recall);
        if let Some(measured) = sample.recall() {
            set_recall(&generation.gallery, measured.share);
        }
        Ok(())
    }

    fn galleries(&self) -> MutexGuard<'_, BTreeMap<String, Sample>> {
        self.galleries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    fn of(generation: &Generation) -> Self {
        Self { generation: generation.clone(), waiting: VecDeque::new(), measured: VecDeque::new() }
    }

    fn recall(&self) -> Option<MeasuredRecall> {
        let searches = u32::try_from(self.measured.len()).ok().filter(|searches| *searches > 0)?;
        Some(MeasuredRecall { share: self.measured.iter().sum::<f32>() / searches as f32, searches })
    }
}

/// Share of the truth that was found, by scores alone: of images that are equally near any is as good. `None` where nothing
/// is to be found.
fn recall(found: &[f32], exact: &[f32]) -> Option<f32> {
    let least = exact.last()? - SAME_SCORE;
    let right = found.iter().take(exact.len()).filter(|score| **score >= least).count();
    Some(right as f32 / exact.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::{Embedding, Fingerprint};
    use descry_store::GallerySettings;

    fn generation(gallery: &str, number: u32) -> Generation {
        Generation {
            gallery: gallery.to_owned(),
            number,
            fingerprint: Fingerprint::of_parts([]),
            dimension: 2,
            created_at_ms: 0,
            settings: GallerySettings::default(),
        }
    }

    fn query() -> NearestQuery {
        NearestQuery::new(Embedding::normalized(vec![1.0, 0.0]).unwrap(), Fingerprint::of_parts([]), 100)
    }

    #[test]
    fn what_is_missing_lowers_recall_and_ties_do_not() {
        assert_eq!(recall(&[0.9, 0.8, 0.7], &[0.9, 0.8, 0.7]), Some(1.0));
        assert_eq!(recall(&[0.9, 0.7, 0.6, 0.5], &[0.9, 0.8, 0.7, 0.7]), Some(0.5));
        assert_eq!(recall(&[], &[0.9]), Some(0.0));
        assert_eq!(recall(&[0.5], &[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn few_searches_are_kept_and_not_for_long() {
        let probe = RecallProbe::new(true);
        probe.offer(&generation("exact", 1), &NearestQuery { exact: true, ..query() });
        assert!(probe.next().is_none());
        for gallery in 0..MAX_GALLERIES + 5 {
            for _ in 0..WAITING_SEARCHES + 3 {
                probe.offer(&generation(&gallery.to_string(), 1), &query());
            }
        }
        let kept = std::iter::from_fn(|| probe.next()).collect::<Vec<_>>();
        assert_eq!(kept.len(), MAX_GALLERIES * WAITING_SEARCHES);
        assert!(kept.iter().all(|(_, query)| query.limit == COMPARED_HITS));

        probe.offer(&generation("0", 1), &query());
        tokio::time::advance(MAX_AGE).await;
        assert!(probe.next().is_none(), "forgotten");
        let off = RecallProbe::new(false);
        off.offer(&generation("0", 1), &query());
        assert!(off.next().is_none());
    }

    #[test]
    fn another_generation_begins_anew() {
        let probe = RecallProbe::new(true);
        probe.offer(&generation("street", 1), &query());
        probe.galleries().get_mut("street").unwrap().measured.extend([1.0, 0.5]);
        assert_eq!(probe.of(&generation("street", 1)), Some(MeasuredRecall { share: 0.75, searches: 2 }));
        probe.offer(&generation("street", 2), &query());
        assert_eq!(probe.of(&generation("street", 1)), None);
        assert_eq!(probe.of(&generation("street", 2)), None);
    }
}
