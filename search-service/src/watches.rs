//! Standing searches: registered descriptions, matched against what is newly indexed.
//!
//! Matching looks in the store for images written since the last look, so it finds what any instance wrote, and a
//! stream that broke off goes on from a time.

mod descriptions;

pub(crate) use descriptions::{Descriptions, WatchPart, WatchedThing};

use crate::SearchError;
use crate::metrics;
use crate::validation::invalid;
use descry_model::{Embedding, Fingerprint};
use descry_store::{Generation, Hit, NearestQuery, SearchFilter, VectorStore, now_ms};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A registered description. Kept as a document of its gallery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Watch {
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) embedding: Vec<f32>,
    pub(crate) fingerprint: String,
    pub(crate) min_score: f32,
    pub(crate) filter: SearchFilter,
    pub(crate) created_at_ms: i64,
}

const KEY_PREFIX: &str = "watch.";

/// Images that are looked at together. Where more were written, they are looked at one stretch of time after another,
/// so that a stream that begins far back holds no more than these in memory.
const IMAGES_TOGETHER: u64 = 1_000;

/// Images written within one millisecond, which no stretch of time divides: more than one write can hold.
const IMAGES_OF_A_MOMENT: u64 = 100_000;

/// Clocks of instances may differ, and a write may wait for the store, by so much: images are looked for again for so
/// long, and streamed once. The protocol tells clients, who continue a stream from so long before its newest match.
const OVERLAP_MS: i64 = 60_000;

/// The watches of a gallery.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// By name.
    pub(crate) readable: BTreeMap<String, Watch>,
    /// Names of those that another version of the service has written.
    pub(crate) unreadable: Vec<String>,
}

impl Watches {
    /// All watches of a gallery.
    pub(crate) async fn of(store: &dyn VectorStore, gallery: &Generation) -> Result<Self, SearchError> {
        let mut watches = Self::default();
        for (key, text) in store.documents(gallery).await? {
            let Some(name) = key.strip_prefix(KEY_PREFIX).map(str::to_owned) else { continue };
            match serde_json::from_str::<Watch>(&text) {
                Ok(watch) => drop(watches.readable.insert(name.clone(), Watch { name, ..watch })),
                Err(error) => {
                    tracing::warn!(gallery = gallery.gallery, watch = name, %error, "a watch cannot be read");
                    watches.unreadable.push(name);
                }
            }
        }
        Ok(watches)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.readable.contains_key(name) || self.unreadable.iter().any(|unreadable| unreadable == name)
    }

    pub(crate) fn len(&self) -> usize {
        self.readable.len() + self.unreadable.len()
    }
}

/// Bytes of a watch as it is kept; a filter of ten thousand names is no watch.
const MAX_WATCH_BYTES: usize = 1 << 20;

/// Registers a description, or puts it in the place of the one of its name.
pub(crate) async fn put_watch(store: &dyn VectorStore, gallery: &Generation, watch: &Watch) -> Result<(), SearchError> {
    let text = serde_json::to_string(watch).map_err(|error| SearchError::failed("writing a watch", error))?;
    if text.len() > MAX_WATCH_BYTES {
        let reason = format!("{} bytes with its embedding, at most {MAX_WATCH_BYTES} are allowed", text.len());
        return Err(invalid("filter", reason));
    }
    Ok(store.put_document(gallery, &format!("{KEY_PREFIX}{}", watch.name), Some(text)).await?)
}

pub(crate) async fn delete_watch(store: &dyn VectorStore, gallery: &Generation, name: &str) -> Result<(), SearchError> {
    Ok(store.put_document(gallery, &format!("{KEY_PREFIX}{name}"), None).await?)
}

/// An image that matches a watch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WatchMatch {
    pub(crate) watch: String,
    pub(crate) hit: Hit,
}

/// What a stream of matches follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Following {
    pub(crate) gallery: String,
    /// None for all.
    pub(crate) names: Vec<String>,
    pub(crate) since_ms: i64,
    pub(crate) poll_interval: Duration,
}

/// Sends matches until the receiver goes away, the gallery is gone, or `shutdown`.
pub(crate) async fn follow(
    store: Arc<dyn VectorStore>,
    following: Following,
    matches: mpsc::Sender<Result<WatchMatch, SearchError>>,
    shutdown: CancellationToken,
) {
    let poll_interval = following.poll_interval;
    let looked_until_ms = following.since_ms;
    let mut follower =
        Follower { store, following, matches: matches.clone(), looked_until_ms, streamed: HashMap::new() };
    loop {
        let looked = tokio::select! {
            looked = follower.look() => looked,
            // A slow reader or store does not keep the service from stopping, nor does who has gone keep it busy.
            () = shutdown.cancelled() => return,
            () = matches.closed() => return,
        };
        match looked {
            Ok(()) => {}
            Err(Interruption::NobodyListens) => return,
            // What is down now is asked again; the time is not moved on, so nothing is missed.
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
    matches: mpsc::Sender<Result<WatchMatch, SearchError>>,
    /// What was written before this was looked at, but for what comes late.
    looked_until_ms: i64,
    /// What was streamed of the time that is looked at again, with the time of its writing.
    streamed: HashMap<(String, String), i64>,
}

impl Follower {
    /// Streams what was written since the last look.
    async fn look(&mut self) -> Result<(), Interruption> {
        let generation = self.store.resolve(&self.following.gallery).await?;
        let mut watches = Watches::of(&*self.store, &generation).await?.readable;
        watches.retain(|name, _| self.following.names.is_empty() || self.following.names.contains(name));
        let now = now_ms();
        // Another instance's clock may be ahead.
        let end_ms = now.saturating_add(OVERLAP_MS);
        let mut from_ms = (self.looked_until_ms - OVERLAP_MS).max(self.following.since_ms);
        let mut span_ms = end_ms.saturating_sub(from_ms).max(1);
        while from_ms < end_ms {
            let before_ms = from_ms.saturating_add(span_ms).min(end_ms);
            let written = self.store.count(&generation, &written_between(from_ms, before_ms)).await?;
            let is_moment = before_ms - from_ms <= 1;
            if written > IMAGES_TOGETHER && !is_moment {
                span_ms = (before_ms - from_ms) / 2;
                continue;
            }
            if written > 0 {
                let limit = if is_moment { written.min(IMAGES_OF_A_MOMENT) } else { IMAGES_TOGETHER };
                self.stream_matches((&generation, &watches), (from_ms, before_ms), limit as usize).await?;
            }
            self.looked_until_ms = self.looked_until_ms.max(before_ms.min(now));
            let looked_again_from_ms = self.looked_until_ms - OVERLAP_MS;
            self.streamed.retain(|_, written_ms| *written_ms >= looked_again_from_ms);
            from_ms = before_ms;
            span_ms = span_ms.saturating_mul(2);
        }
        Ok(())
    }

    /// Streams the matches among the images of one stretch of time, in the order of their writing.
    async fn stream_matches(
        &mut self,
        (generation, watches): (&Generation, &BTreeMap<String, Watch>),
        (from_ms, before_ms): (i64, i64),
        limit: usize,
    ) -> Result<(), Interruption> {
        let mut found = Vec::new();
        for (name, watch) in watches {
            let Some(query) = query_of(watch, generation) else { continue };
            let since_ms = from_ms.max(watch.created_at_ms);
            if since_ms >= before_ms {
                continue;
            }
            let filter = SearchFilter { all: vec![query.filter.clone()], ..written_between(since_ms, before_ms) };
            let hits = self.store.nearest(generation, NearestQuery { filter, limit, ..query }).await?;
            found.extend(hits.into_iter().map(|hit| WatchMatch { watch: name.clone(), hit }));
        }
        found.sort_by(|a, b| {
            let of = |found: &WatchMatch| (found.hit.metadata.indexed_at_ms, found.hit.image_id.clone());
            of(a).cmp(&of(b))
        });
        for found in found {
            let key = (found.watch.clone(), found.hit.image_id.clone());
            let written_ms = found.hit.metadata.indexed_at_ms;
            if self.streamed.get(&key) == Some(&written_ms) {
                continue;
            }
            self.matches.send(Ok(found)).await.map_err(|_| Interruption::NobodyListens)?;
            metrics::count_matches(1);
            self.streamed.insert(key, written_ms);
        }
        Ok(())
    }
}

fn written_between(from_ms: i64, before_ms: i64) -> SearchFilter {
    SearchFilter { indexed_from_ms: Some(from_ms), indexed_before_ms: Some(before_ms), ..SearchFilter::default() }
}

/// Nothing for a watch of another model: after a model change it must be made anew.
fn query_of(watch: &Watch, generation: &Generation) -> Option<NearestQuery> {
    let fingerprint: Fingerprint = watch.fingerprint.parse().ok()?;
    let embedding = Embedding::normalized(watch.embedding.clone()).ok()?;
    generation.require_model(&fingerprint, embedding.dimension()).ok()?;
    // The limit is that of the stretch of time that is looked at.
    let query = NearestQuery::new(embedding, fingerprint, 0);
    Some(NearestQuery { filter: watch.filter.clone(), min_score: Some(watch.min_score), exact: true, ..query })
}
