//! Removing what has been kept long enough, by a clock that is believed.

use super::{Believed, BelievedTime, Retention};
use crate::SearchError;
use crate::audit::Trail;
use crate::galleries::{Galleries, Removal};
use crate::holds::Holds;
use crate::lease::Leases;
use crate::metrics;
use descry_store::{Generation, SearchFilter, VectorStore, wall_ms};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The time up to which images were removed, kept as a document of each gallery that removes any: milliseconds since the
/// Unix epoch. A process that starts does not know how its clock went before.
const BELIEVED_KEY: &str = "retention.believed";

/// How far the document may be behind: a write an hour is enough.
const BELIEVED_AGAIN_AFTER_MS: i64 = 3_600_000;

/// How often it is said that the clock is not believed.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// The time by which images are removed, for all who ask for it.
#[derive(Debug, Clone)]
pub(crate) struct RetentionClock {
    time: Arc<BelievedTime>,
    said_at: Arc<Mutex<Option<Instant>>>,
}

impl RetentionClock {
    /// `longest_wait`: how long a clock that leapt must run evenly at most.
    pub(crate) fn new(longest_wait: Duration) -> Self {
        Self { time: Arc::new(BelievedTime::new(longest_wait)), said_at: Arc::default() }
    }

    /// The time by which images may be removed, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.read(wall_ms(), Instant::now())
    }

    fn read(&self, wall_ms: i64, now: Instant) -> i64 {
        let (believed_ms, leap) = self.time.read(wall_ms, now);
        metrics::show_clock_waiting(leap.is_some());
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        match leap {
            None if said_at.take().is_some() => tracing::info!("the clock is believed again; images are removed by it"),
            None => {}
            Some(leap) if said_at.is_none_or(|said_at| now.saturating_duration_since(said_at) >= SAY_AGAIN_AFTER) => {
                *said_at = Some(now);
                tracing::warn!(
                    ahead_s = leap.ahead_ms / 1_000,
                    believed_in_s = leap.believed_in.as_secs(),
                    "the clock leapt ahead; images are removed by the time before the leap until it has run evenly for so \
                     long (retention.max_clock_wait_ms)"
                );
            }
            Some(_) => {}
        }
        believed_ms
    }

    /// Begins with what was believed before, and with the newest images where that is not known.
    async fn begin(&self, galleries: &Galleries, wall_ms: i64, now: Instant) -> Result<(), SearchError> {
        let (mut before, mut failed) = (None, None);
        for gallery in galleries.store().galleries().await? {
            let known = async {
                if Retention::of(galleries.store(), &gallery).await? == Retention::default() {
                    return Ok(None);
                }
                match believed_before(galleries.store(), &gallery).await? {
                    Some(before) => Ok(Some(before)),
                    None => {
                        let newest_ms = newest_image(galleries.store(), &gallery, wall_ms).await?;
                        let known = |ms| Believed { believed_ms: ms, wall_ms: ms, waited: Duration::ZERO };
                        Ok::<_, SearchError>(newest_ms.map(known))
                    }
                }
            };
            match known.await {
                Ok(known) => before = before.max(known),
                Err(error) if error.is_not_found() => {}
                // One gallery that cannot be read does not keep the others: what is not known makes the time earlier.
                Err(error) => {
                    let name = &gallery.gallery;
                    tracing::warn!(gallery = name, %error, "until when its images were removed cannot be read");
                    failed = Some(error);
                }
            }
        }
        match (before, failed) {
            (None, Some(error)) => Err(error),
            (before, _) => {
                self.time.begin(before, wall_ms, now);
                Ok(())
            }
        }
    }
}

async fn believed_before(store: &dyn VectorStore, gallery: &Generation) -> Result<Option<Believed>, SearchError> {
    Ok(store.document(gallery, BELIEVED_KEY).await?.and_then(|text| {
        let mut numbers = text.split(' ').map(str::parse::<i64>);
        let believed_ms = numbers.next()?.ok()?;
        let wall_ms = numbers.next().unwrap_or(Ok(believed_ms)).ok()?;
        let waited_ms = numbers.next().unwrap_or(Ok(0)).ok()?;
        Some(Believed { believed_ms, wall_ms, waited: Duration::from_millis(waited_ms.unsigned_abs()) })
    }))
}

/// As [`believed_before`] reads it.
fn note_of(believed: Believed) -> String {
    format!("{} {} {}", believed.believed_ms, believed.wall_ms, believed.waited.as_millis())
}

/// When the newest image was indexed, of those that were by a time; none in an empty gallery.
async fn newest_image(
    store: &dyn VectorStore,
    gallery: &Generation,
    until_ms: i64,
) -> Result<Option<i64>, SearchError> {
    let is_any_from = async |from_ms| {
        let filter = SearchFilter { indexed_from_ms: Some(from_ms), ..SearchFilter::default() };
        store.count(gallery, &filter).await.map(|count| count > 0)
    };
    let (mut from_ms, mut before_ms) = (0, until_ms.saturating_add(1).max(1));
    if !is_any_from(from_ms).await? {
        return Ok(None);
    }
    while before_ms - from_ms > 1 {
        let middle_ms = from_ms + (before_ms - from_ms) / 2;
        if is_any_from(middle_ms).await? {
            from_ms = middle_ms;
        } else {
            before_ms = middle_ms;
        }
    }
    Ok(Some(from_ms))
}

/// Removes what has been kept long enough, again and again, until `shutdown`, which breaks off a sweep that waits for
/// the store. Of several instances one at a time sweeps a gallery.
///
/// Each sweep that removes something is recorded in the audit log, before and after. While that cannot be written, nothing is
/// removed.
pub(crate) async fn sweep(
    (galleries, trail): (Galleries, Option<Trail>),
    clock: RetentionClock,
    interval_ms: u64,
    shutdown: CancellationToken,
) {
    if interval_ms == 0 {
        return;
    }
    let leases = Leases::default();
    let sweeping = async {
        loop {
            if let Err(error) = sweep_at((&galleries, trail.as_ref()), &leases, &clock, wall_ms(), Instant::now()).await
            {
                tracing::warn!(%error, "removing what has been kept long enough failed; it is tried again");
            }
            tokio::time::sleep(Duration::from_millis(interval_ms)).await;
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = shutdown.cancelled() => {}
    }
}

async fn sweep_at(
    (galleries, trail): (&Galleries, Option<&Trail>),
    leases: &Leases,
    clock: &RetentionClock,
    wall_ms: i64,
    now: Instant,
) -> Result<(), SearchError> {
    if let Some(trail) = trail {
        trail.ready().await?;
    }
    if !clock.time.has_begun() {
        clock.begin(galleries, wall_ms, now).await?;
    }
    let now_ms = clock.read(wall_ms, now);
    let believed = clock.time.to_keep().unwrap_or(Believed { believed_ms: now_ms, wall_ms, waited: Duration::ZERO });
    sweep_once((galleries, trail), leases, believed).await
}

/// One sweep over all galleries. One gallery's failure does not keep the others.
async fn sweep_once(
    (galleries, trail): (&Galleries, Option<&Trail>),
    leases: &Leases,
    believed: Believed,
) -> Result<(), SearchError> {
    for gallery in galleries.store().galleries().await? {
        let name = &gallery.gallery;
        match sweep_alone((galleries, trail), leases, &gallery, believed).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(gallery = name, %error, "sweeping a gallery failed"),
        }
    }
    Ok(())
}

/// As [`sweep_gallery`], unless another instance is at it.
async fn sweep_alone(
    (galleries, trail): (&Galleries, Option<&Trail>),
    leases: &Leases,
    gallery: &Generation,
    believed: Believed,
) -> Result<(), SearchError> {
    let store = galleries.store();
    if Retention::of(store, gallery).await? == Retention::default() {
        return Ok(());
    }
    let sweeping = sweep_gallery((galleries, trail), gallery, believed);
    leases.alone(store, gallery, "sweep", sweeping).await?.unwrap_or(Ok(()))
}

async fn sweep_gallery(
    (galleries, trail): (&Galleries, Option<&Trail>),
    gallery: &Generation,
    believed: Believed,
) -> Result<(), SearchError> {
    let store = galleries.store();
    let expired = Retention::of(store, gallery).await?.expired(believed.believed_ms);
    if expired.is_empty() {
        return Ok(());
    }
    let before = believed_before(store, gallery).await?;
    let is_old = |before: Believed| believed.believed_ms.saturating_sub(before.believed_ms) >= BELIEVED_AGAIN_AFTER_MS;
    if before.is_none_or(is_old) {
        store.put_document(gallery, BELIEVED_KEY, Some(note_of(believed))).await?;
    }
    let holds = Holds::of(store, gallery).await?;
    let (mut due, mut counted, mut held) = (Vec::new(), 0, 0);
    for filter in expired {
        let count = holds.count_free(store, gallery, &filter).await?;
        held += holds.count_held(store, gallery, &filter).await?;
        counted += count;
        if count > 0 {
            due.push(filter);
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    // Before anything is gone: a service that is killed now leaves a word of what it may have removed.
    if let Some(trail) = trail {
        trail.sweep_begins(gallery, &due, counted).await?;
    }
    let (mut removed, mut failed) = (0, None);
    for filter in due {
        match galleries.remove_by_handle(gallery, Removal::Matching(Box::new(filter))).await {
            Ok(of_filter) => removed += of_filter.images,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if removed > 0 {
        metrics::count_removed(&gallery.gallery, removed);
        tracing::info!(gallery = gallery.gallery, removed, held, "removed what had been kept long enough");
        if let Some(trail) = trail {
            trail.swept(gallery, removed, held).await?;
        }
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SearchConfig;
    use crate::erasure::MarkStore;
    use descry_model::{Embedding, Fingerprint};
    use descry_store::{EmbeddedConfig, EmbeddedStore, GalleryImage, ImageMetadata};
    use std::path::Path;

    const DAY_MS: i64 = 86_400_000;
    const NOON: i64 = 1_800_000_000_000;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    /// A gallery that keeps images for thirty days, with one of ten days ago and one of thirty-two.
    async fn stand() -> (tempfile::TempDir, Galleries, Generation) {
        let folder = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig { reserve_bytes: 0, ..EmbeddedConfig::default() };
        let store = EmbeddedStore::open(folder.path().join("galleries.sqlite3"), config).await.unwrap();
        let gallery = store.create_gallery("lobby", &Fingerprint::of_parts([]), 2).await.unwrap();
        let image = |days: i64| GalleryImage {
            image_id: format!("{days}.jpg"),
            embedding: Embedding::normalized(vec![1.0, 0.0]).unwrap(),
            metadata: ImageMetadata { indexed_at_ms: NOON - days * DAY_MS, ..ImageMetadata::default() },
        };
        store.upsert(&gallery, &gallery.fingerprint, vec![image(10), image(32)]).await.unwrap();
        let store: Arc<dyn VectorStore> = Arc::new(store);
        let marks = MarkStore::open(Arc::clone(&store), Path::new("")).unwrap();
        let galleries = Galleries::new(store, SearchConfig::load(None).unwrap().limits, marks);
        let retention = Retention { default_ms: Some(30 * DAY_MS as u64), ..Retention::default() };
        retention.put(galleries.store(), &gallery).await.unwrap();
        (folder, galleries, gallery)
    }

    async fn images(galleries: &Galleries, gallery: &Generation) -> u64 {
        galleries.store().count(gallery, &SearchFilter::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_clock_that_leaps_removes_nothing_before_its_time() {
        let (_folder, galleries, gallery) = stand().await;
        let (clock, began) = (RetentionClock::new(WEEK), Instant::now());
        let sweep = async |second: u64, wall_ms| {
            sweep_at((&galleries, None), &Leases::default(), &clock, wall_ms, began + Duration::from_secs(second))
                .await
                .unwrap();
            images(&galleries, &gallery).await
        };
        // Nothing is known but the images, the newest of which is ten days old: the clock must prove itself.
        assert_eq!(sweep(0, NOON).await, 2);
        assert_eq!(sweep(7 * 86_400 - 1, NOON + 7 * DAY_MS - 1_000).await, 2);
        assert_eq!(sweep(7 * 86_400, NOON + 7 * DAY_MS).await, 1, "a week later it is believed");
        // 400 days ahead for five seconds, while it is swept.
        let week_ms = 7 * DAY_MS;
        assert_eq!(sweep(7 * 86_400 + 1, NOON + week_ms + 400 * DAY_MS).await, 1);
        assert_eq!(sweep(7 * 86_400 + 6, NOON + week_ms + 6_000).await, 1);
        assert_eq!(sweep(21 * 86_400, NOON + 21 * DAY_MS).await, 0, "after thirty days it goes");
    }

    #[tokio::test]
    async fn a_service_that_starts_with_a_clock_ahead_removes_nothing() {
        let (_folder, galleries, gallery) = stand().await;
        let now = Instant::now();
        galleries.store().put_document(&gallery, BELIEVED_KEY, Some((NOON - DAY_MS / 2).to_string())).await.unwrap();
        let after_half_a_day = RetentionClock::new(WEEK);
        sweep_at((&galleries, None), &Leases::default(), &after_half_a_day, NOON, now).await.unwrap();
        assert_eq!(images(&galleries, &gallery).await, 1);
        let ahead = RetentionClock::new(WEEK);
        sweep_at((&galleries, None), &Leases::default(), &ahead, NOON + 400 * DAY_MS, now).await.unwrap();
        assert_eq!(images(&galleries, &gallery).await, 1);
        assert_eq!(
            believed_before(galleries.store(), &gallery).await.unwrap(),
            Some(Believed { believed_ms: NOON, wall_ms: NOON, waited: Duration::ZERO }),
            "nor is it noted as believed"
        );
    }

    #[tokio::test]
    async fn what_is_held_is_not_swept() {
        let (_folder, galleries, gallery) = stand().await;
        let old = SearchFilter { image_ids: vec!["32.jpg".to_owned()], ..SearchFilter::default() };
        let hold = crate::holds::Hold { filter: old, reason: "a case".to_owned(), placed_at_ms: NOON };
        let (_, held) = galleries.place_hold("lobby", "case-17", hold).await.unwrap();
        assert_eq!(held, 1);
        let believed = Believed { believed_ms: NOON + 25 * DAY_MS, wall_ms: NOON, waited: Duration::ZERO };
        sweep_once((&galleries, None), &Leases::default(), believed).await.unwrap();
        assert_eq!(images(&galleries, &gallery).await, 1, "the other one is older than thirty days by then");
        galleries.lift_hold("lobby", "case-17", Vec::new()).await.unwrap();
        sweep_once((&galleries, None), &Leases::default(), believed).await.unwrap();
        assert_eq!(images(&galleries, &gallery).await, 0);
    }

    #[tokio::test]
    async fn the_newest_image_is_found() {
        let (_folder, galleries, gallery) = stand().await;
        let newest = newest_image(galleries.store(), &gallery, NOON).await.unwrap();
        assert_eq!(newest, Some(NOON - 10 * DAY_MS));
    }
}
