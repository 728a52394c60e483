//! Streams of matches: what was written since the last look is compared with the watches.
//!
//! Where writes have numbers, a stream follows these, and no clock can make it miss an image. Elsewhere it follows the time
//! of indexing, and looks at the last minute again and again, because clocks of writers differ.

use super::{Watch, WatchMatch, Watches};
use crate::SearchError;
use crate::metrics;
use descry_model::{Embedding, Fingerprint};
use descry_store::{Generation, NearestQuery, SearchFilter, VectorStore, WriteOrder, WriteRange, now_ms};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Images that are looked at together. Where more were written, they are looked at one stretch after another, so that a
/// stream that begins far back holds no more than these in memory.
const IMAGES_TOGETHER: u64 = 1_000;

/// Images written within one millisecond, which no stretch of time divides: more than one write can hold.
const IMAGES_OF_A_MOMENT: u64 = 100_000;

/// Clocks of instances may differ, and a write may wait for the store, by so much: images are looked for again for so
/// long, and streamed once. The protocol tells clients, who continue a stream from so long before its newest match.
const OVERLAP_MS: i64 = 60_000;

/// What a stream of matches follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Following {
    pub(crate) gallery: String,
    /// None for all.
    pub(crate) names: Vec<String>,
    /// Also what was indexed from then on; none for what is written from now on.
    pub(crate) since_ms: Option<i64>,
    /// The number of the first write to look at, where an earlier stream told one; then there is no looking back.
    pub(crate) after: Option<u64>,
    /// Whether the stream tells how far it has looked.
    pub(crate) with_positions: bool,
    pub(crate) poll_interval: Duration,
}

/// What a stream tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    Match(Box<WatchMatch>),
    /// All matches among writes of lower numbers have been told.
    Position(u64),
}

/// Sends matches until the receiver goes away, the gallery is gone, or `shutdown`. The stream begins where the order of
/// writes is when this is called.
pub(crate) fn follow(
    store: Arc<dyn VectorStore>,
    following: Following,
    matches: mpsc::Sender<Result<Found, SearchError>>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let place = Place::of_first_look(store.write_order(), &following);
    let follower = Follower { store, following, matches, place };
    follower.run(shutdown)
}

/// Where a stream is.
#[derive(Debug, PartialEq)]
enum Place {
    /// At images that were there before it began, by the time of their indexing. They have lower numbers than `next`.
    Before { from_ms: i64, next: u64 },
    /// At this number.
    Number(u64),
    /// At this time.
    Time {
        /// What was indexed before this was looked at, but for what comes late.
        looked_until_ms: i64,
        since_ms: i64,
        /// What was streamed of the time that is looked at again, with the time of its writing.
        streamed: HashMap<(String, String), i64>,
    },
}

impl Place {
    fn of_first_look(order: WriteOrder, following: &Following) -> Self {
        match order {
            WriteOrder::Timed => {
                let since_ms = following.since_ms.unwrap_or_else(now_ms);
                Self::Time { looked_until_ms: since_ms, since_ms, streamed: HashMap::new() }
            }
            // A number that was never given is another store's, or of a file that was restored since.
            WriteOrder::Numbered { next } => match (following.after, following.since_ms) {
                (Some(after), _) if after <= next => Self::Number(after),
                (_, Some(from_ms)) => Self::Before { from_ms, next },
                (_, None) => Self::Number(next),
            },
        }
    }
}

/// Why a look ended early.
enum Interruption {
    NobodyListens,
    Failed(SearchError),
}

impl<Error: Into<SearchError>> From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A stream of matches.
struct Follower {
    store: Arc<dyn VectorStore>,
    following: Following,
    matches: mpsc::Sender<Result<Found, SearchError>>,
    place: Place,
}

/// A gallery at one look.
struct Look {
    generation: Generation,
    watches: BTreeMap<String, Watch>,
}

/// Some of the images: indexed within a time, written within a range of numbers.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from_ms: i64,
    before_ms: i64,
    numbers: Option<WriteRange>,
}

impl Follower {
    async fn run(mut self, shutdown: CancellationToken) {
        let (matches, poll_interval) = (self.matches.clone(), self.following.poll_interval);
        loop {
            let looked = tokio::select! {
                looked = self.look() => looked,
                // A slow reader or store does not keep the service from stopping, nor does who has gone keep it busy.
                () = shutdown.cancelled() => return,
                () = matches.closed() => return,
            };
            match looked {
                Ok(()) => {}
                Err(Interruption::NobodyListens) => return,
                // What is down now is asked again; the place is not moved on, so nothing is missed.
                Err(Interruption::Failed(error)) if error.is_passing() => {}
                Err(Interruption::Failed(error)) => {
                    // Nobody listens only when the stream is gone.
                    let _ = matches.send(Err(error)).await;
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(poll_interval) => {}
                () = shutdown.cancelled() => return,
                () = matches.closed() => return,
            }
        }
    }

    /// Streams what was written since the last look.
    async fn look(&mut self) -> Result<(), Interruption> {
        // Before all else: what has a number below this belongs to a generation, and to watches, that are read after it.
        let order = self.store.write_order();
        let generation = self.store.resolve(&self.following.gallery).await?;
        let mut watches = Watches::of(&*self.store, &generation).await?.readable;
        watches.retain(|name, _| self.following.names.is_empty() || self.following.names.contains(name));
        let look = Look { generation, watches };
        if let Place::Before { next, .. } = self.place {
            self.look_back(&look, next).await?;
            self.move_to(next).await?;
        }
        match self.place {
            Place::Time { .. } => self.look_by_time(&look).await,
            Place::Number(from) => match order {
                WriteOrder::Numbered { next } => self.look_on(&look, from, next).await,
                WriteOrder::Timed => Ok(()),
            },
            Place::Before { .. } => Ok(()),
        }
    }

    async fn move_to(&mut self, number: u64) -> Result<(), Interruption> {
        self.place = Place::Number(number);
        self.tell(Found::Position(number)).await
    }

    async fn tell(&self, found: Found) -> Result<(), Interruption> {
        if matches!(found, Found::Position(_)) && !self.following.with_positions {
            return Ok(());
        }
        self.matches.send(Ok(found)).await.map_err(|_| Interruption::NobodyListens)
    }

    /// Streams what has a number from `from` on, up to `next`.
    async fn look_on(&mut self, look: &Look, mut from: u64, next: u64) -> Result<(), Interruption> {
        let mut span = next.saturating_sub(from);
        while from < next {
            let numbers = WriteRange { from, before: from.saturating_add(span).min(next) };
            let stretch = Stretch { from_ms: i64::MIN, before_ms: i64::MAX, numbers: Some(numbers) };
            // Each number is one image's, so that a range can be cut until it is small enough.
            let written = self.count(look, stretch).await?;
            if written > IMAGES_TOGETHER && span > 1 {
                span /= 2;
                continue;
            }
            if written > 0 {
                for found in self.matches_of(look, stretch, written).await? {
                    self.tell_match(found).await?;
                }
            }
            from = numbers.before;
            self.move_to(from).await?;
            span = span.saturating_mul(2);
        }
        Ok(())
    }

    /// Streams what was there before the stream began, in the order of indexing.
    async fn look_back(&mut self, look: &Look, next: u64) -> Result<(), Interruption> {
        let numbers = Some(WriteRange { from: 0, before: next });
        let mut span_ms = i64::MAX;
        // A clock may have been ahead when some of them were indexed, so there is no end but that of all time.
        while let Place::Before { from_ms, .. } = self.place {
            let stretch = Stretch { from_ms, before_ms: from_ms.saturating_add(span_ms), numbers };
            let Some(limit) = self.limit_of(look, stretch).await? else {
                span_ms = (stretch.before_ms - from_ms) / 2;
                continue;
            };
            for found in self.matches_of(look, stretch, limit).await? {
                self.tell_match(found).await?;
            }
            if stretch.before_ms == i64::MAX {
                return Ok(());
            }
            self.place = Place::Before { from_ms: stretch.before_ms, next };
            span_ms = span_ms.saturating_mul(2);
        }
        Ok(())
    }

    /// Streams what was indexed since the last look, and what came late.
    async fn look_by_time(&mut self, look: &Look) -> Result<(), Interruption> {
        let Place::Time { looked_until_ms, since_ms, .. } = self.place else { return Ok(()) };
        let now = now_ms();
        // Another instance's clock may be ahead.
        let end_ms = now.saturating_add(OVERLAP_MS);
        let mut from_ms = (looked_until_ms - OVERLAP_MS).max(since_ms);
        let mut span_ms = end_ms.saturating_sub(from_ms).max(1);
        while from_ms < end_ms {
            let stretch = Stretch { from_ms, before_ms: from_ms.saturating_add(span_ms).min(end_ms), numbers: None };
            let Some(limit) = self.limit_of(look, stretch).await? else {
                span_ms = (stretch.before_ms - from_ms) / 2;
                continue;
            };
            for found in self.matches_of(look, stretch, limit).await? {
                let key = (found.watch.clone(), found.hit.image_id.clone());
                let written_ms = found.hit.metadata.indexed_at_ms;
                let Place::Time { streamed, .. } = &mut self.place else { return Ok(()) };
                if streamed.get(&key) != Some(&written_ms) {
                    self.tell_match(found).await?;
                    let Place::Time { streamed, .. } = &mut self.place else { return Ok(()) };
                    streamed.insert(key, written_ms);
                }
            }
            let Place::Time { looked_until_ms, streamed, .. } = &mut self.place else { return Ok(()) };
            *looked_until_ms = (*looked_until_ms).max(stretch.before_ms.min(now));
            let looked_again_from_ms = *looked_until_ms - OVERLAP_MS;
            streamed.retain(|_, written_ms| *written_ms >= looked_again_from_ms);
            from_ms = stretch.before_ms;
            span_ms = span_ms.saturating_mul(2);
        }
        Ok(())
    }

    /// How many images a stretch of time holds; none when they are too many to be looked at together, and fewer can be.
    async fn limit_of(&self, look: &Look, stretch: Stretch) -> Result<Option<u64>, Interruption> {
        let written = self.count(look, stretch).await?;
        let is_moment = stretch.before_ms.saturating_sub(stretch.from_ms) <= 1;
        Ok(match is_moment {
            true => Some(written.min(IMAGES_OF_A_MOMENT)),
            false => Some(written).filter(|written| *written <= IMAGES_TOGETHER),
        })
    }

    async fn count(&self, look: &Look, stretch: Stretch) -> Result<u64, Interruption> {
        let filter = stretch.times();
        Ok(match stretch.numbers {
            Some(numbers) => self.store.count_written(&look.generation, &filter, numbers).await?,
            None => self.store.count(&look.generation, &filter).await?,
        })
    }

    async fn tell_match(&self, found: WatchMatch) -> Result<(), Interruption> {
        self.tell(Found::Match(Box::new(found))).await?;
        metrics::count_matches(1);
        Ok(())
    }

    /// The matches among the images of one stretch, in the order of their indexing.
    async fn matches_of(&self, look: &Look, stretch: Stretch, limit: u64) -> Result<Vec<WatchMatch>, Interruption> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        for (name, watch) in &look.watches {
            let Some(query) = query_of(watch, &look.generation) else { continue };
            let Some(stretch) = stretch.of_watch(watch) else { continue };
            let filter = SearchFilter { all: vec![query.filter.clone()], ..stretch.times() };
            let query = NearestQuery { filter, limit: limit as usize, written: stretch.numbers, ..query };
            let hits = self.store.nearest(&look.generation, query).await?;
            found.extend(hits.into_iter().map(|hit| WatchMatch { watch: name.clone(), hit }));
        }
        found.sort_by(|a, b| {
            let of = |found: &WatchMatch| (found.hit.metadata.indexed_at_ms, found.hit.image_id.clone());
            of(a).cmp(&of(b))
        });
        Ok(found)
    }
}

impl Stretch {
    fn times(self) -> SearchFilter {
        SearchFilter {
            indexed_from_ms: Some(self.from_ms).filter(|from_ms| *from_ms != i64::MIN),
            indexed_before_ms: Some(self.before_ms).filter(|before_ms| *before_ms != i64::MAX),
            ..SearchFilter::default()
        }
    }

    /// What of it was written since a watch is there; none when nothing was.
    fn of_watch(mut self, watch: &Watch) -> Option<Self> {
        match (&mut self.numbers, watch.created_at_write) {
            (Some(numbers), Some(created)) => numbers.from = numbers.from.max(created),
            (Some(_), None) | (None, _) => self.from_ms = self.from_ms.max(watch.created_at_ms),
        }
        let is_empty = self.from_ms >= self.before_ms || self.numbers.is_some_and(|range| range.from >= range.before);
        (!is_empty).then_some(self)
    }
}

/// Nothing for a watch of another model: after a model change it must be made anew.
fn query_of(watch: &Watch, generation: &Generation) -> Option<NearestQuery> {
    let fingerprint: Fingerprint = watch.fingerprint.parse().ok()?;
    let embedding = Embedding::normalized(watch.embedding.clone()).ok()?;
    generation.require_model(&fingerprint, embedding.dimension()).ok()?;
    // The limit is that of the stretch that is looked at.
    let query = NearestQuery::new(embedding, fingerprint, 0);
    Some(NearestQuery { filter: watch.filter.clone(), min_score: Some(watch.min_score), exact: true, ..query })
}

#[cfg(test)]
mod tests;
