//! What the service costs beside the bare store: the same writes and the same queries, in turns within one run.

use crate::latencies::Latencies;
use crate::process_memory::scratch_folder;
use crate::search_server::SearchServer;
use crate::service_report::{ServiceReport, ServiceSearches, ServiceWrites};
use crate::service_sides::{REQUESTS_IN_FLIGHT, ServiceSide, StoreSide};
use crate::store_filling::BATCH_IMAGES;
use crate::synthetic_gallery::{GalleryShape, SyntheticGallery};
use crate::{GalleryBenchError, Progress};
use descry_bench::{RatioSummary, median};
use descry_store::GalleryImage;
use descry_store::{EmbeddedConfig, EmbeddedStore};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Batches of a turn: several times as many as are under way at once, so that the first and the last weigh little.
const TURN_BATCHES: u64 = 12;

/// Queries before the first that is measured.
const WARM_UP: usize = 20;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// Images of each gallery.
    pub images: u64,
    /// What their embeddings look like.
    pub shape: GalleryShape,
    /// Queries asked of both.
    pub queries: u64,
    /// Where the temporary files are made; without one where the system keeps such.
    pub scratch: Option<PathBuf>,
}

/// Starts the service with an empty store and opens another store; writes and asks both in turns. Ends early, with what
/// was measured, when `stop` is cancelled.
///
/// # Errors
/// [`GalleryBenchError::Setting`] for a plan that cannot be carried out, otherwise what the service or the store says.
pub async fn run_service_benchmark(
    plan: &ServicePlan,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<ServiceReport, GalleryBenchError> {
    if plan.images == 0 {
        let reason = "must be at least 1".to_owned();
        return Err(GalleryBenchError::Setting { setting: "--images", reason });
    }
    let gallery = SyntheticGallery::new(plan.shape)?;
    let folder = scratch_folder(plan.scratch.as_deref())?;
    let server = SearchServer::start(&folder.path().join("service.sqlite3")).await?;
    let store = EmbeddedStore::open(folder.path().join("store.sqlite3"), EmbeddedConfig::default()).await?;
    let sides = Sides {
        service: ServiceSide::create(server.client(), gallery.fingerprint(), plan.shape.dimension).await?,
        store: StoreSide::create(store, gallery.fingerprint(), plan.shape.dimension).await?,
    };
    let writes = sides.write(&gallery, plan.images, stop, progress).await?;
    let searches = match stop.is_cancelled() {
        true => None,
        false => sides.search(&gallery, plan, stop, progress).await?,
    };
    drop(sides);
    server.stop().await?;
    Ok(ServiceReport { images: plan.images, shape: plan.shape, writes, searches, interrupted: stop.is_cancelled() })
}

struct Sides {
    service: ServiceSide,
    store: StoreSide,
}

impl Sides {
    /// The first turn warms up; the last one may be shorter and does not count then.
    async fn write(
        &self,
        gallery: &SyntheticGallery,
        images: u64,
        stop: &CancellationToken,
        progress: Progress<'_>,
    ) -> Result<Option<ServiceWrites>, GalleryBenchError> {
        let per_turn = BATCH_IMAGES * TURN_BATCHES;
        let (mut written, mut turn) = (0, 0_u64);
        let mut times: Vec<(f64, f64)> = Vec::new();
        while written < images && !stop.is_cancelled() {
            let end = (written + per_turn).min(images);
            let batches = batches(gallery, written, end)?;
            let (service, store) = if turn.is_multiple_of(2) {
                let service = self.service.write(&batches).await?;
                (service, self.store.write(&batches).await?)
            } else {
                let store = self.store.write(&batches).await?;
                (self.service.write(&batches).await?, store)
            };
            if turn > 0 && end - written == per_turn {
                times.push((service.as_secs_f64(), store.as_secs_f64()));
            }
            (written, turn) = (end, turn + 1);
            progress("writing in turns", written, images);
        }
        let Some(share) = RatioSummary::of_times(&times) else { return Ok(None) };
        let images_of_turns = (per_turn * times.len() as u64) as f64;
        Ok(Some(ServiceWrites {
            batch_images: BATCH_IMAGES,
            requests_in_flight: REQUESTS_IN_FLIGHT as u64,
            turns: times.len() as u64,
            service_images_per_s: images_of_turns / times.iter().map(|(service, _)| service).sum::<f64>(),
            store_images_per_s: images_of_turns / times.iter().map(|(_, store)| store).sum::<f64>(),
            share,
        }))
    }

    async fn search(
        &self,
        gallery: &SyntheticGallery,
        plan: &ServicePlan,
        stop: &CancellationToken,
        progress: Progress<'_>,
    ) -> Result<Option<ServiceSearches>, GalleryBenchError> {
        let queries = gallery.queries(plan.queries, plan.images)?;
        for query in queries.iter().take(WARM_UP) {
            self.service.search(query).await?;
            self.store.search(query).await?;
        }
        let (mut of_service, mut of_store) = (Latencies::default(), Latencies::default());
        let mut different_answers = 0;
        for (position, query) in queries.iter().enumerate() {
            if stop.is_cancelled() {
                break;
            }
            let ((service, service_time), (store, store_time)) = if position.is_multiple_of(2) {
                let service = self.service.search(query).await?;
                (service, self.store.search(query).await?)
            } else {
                let store = self.store.search(query).await?;
                (self.service.search(query).await?, store)
            };
            of_service.record(service_time);
            of_store.record(store_time);
            different_answers += u64::from(service != store);
            progress("searching in turns", position as u64 + 1, plan.queries);
        }
        let pairs = of_service.milliseconds().iter().zip(of_store.milliseconds());
        let differences: Vec<f64> = pairs.map(|(service, store)| service - store).collect();
        let found = (of_service.summary(), of_store.summary(), median(&differences));
        let (Some(service), Some(store), Some(difference_p50_ms)) = found else { return Ok(None) };
        Ok(Some(ServiceSearches { service, store, difference_p50_ms, different_answers }))
    }
}

fn batches(gallery: &SyntheticGallery, from: u64, to: u64) -> Result<Vec<Vec<GalleryImage>>, GalleryBenchError> {
    let mut batches = Vec::new();
    let mut begin = from;
    while begin < to {
        let end = (begin + BATCH_IMAGES).min(to);
        batches.push(gallery.images(begin..end)?);
        begin = end;
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> GalleryShape {
        GalleryShape { dimension: 16, identities: 400, clusters: 0, seed: 7 }
    }

    #[test]
    fn batches_cover_the_images_once() {
        let gallery = SyntheticGallery::new(shape()).unwrap();
        let batches = batches(&gallery, 100, 700).unwrap();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88]);
        assert_eq!(batches[1][0], gallery.image(356).unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn service_and_store_answer_alike() {
        // Two whole turns, of which the second counts, and a part of a third.
        let images = BATCH_IMAGES * TURN_BATCHES * 2 + 300;
        let plan = ServicePlan { images, shape: shape(), queries: 12, scratch: None };
        let stop = CancellationToken::new();
        let report = run_service_benchmark(&plan, &stop, &|_, _, _| {}).await.unwrap();
        assert_eq!(report.writes.unwrap().turns, 1);
        let searches = report.searches.unwrap();
        assert_eq!((searches.service.count, searches.store.count), (12, 12));
        assert_eq!(searches.different_answers, 0);
        assert_eq!(report.rows().len(), 12);
    }
}
