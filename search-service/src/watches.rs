//! Standing searches: registered descriptions, matched against what is newly indexed.
//!
//! Matching looks in the store for images written since the last look, so it finds what any instance wrote, and a
//! stream that broke off goes on from a time.

use crate::SearchError;
use crate::metrics;
use crate::validation::invalid;
use crate::vector_store::{Gallery, Hit, NearestQuery, SearchFilter, VectorStore, now_ms};
use descry_model::{Embedding, Fingerprint};
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

/// Matches of one query; where there are more, the time is halved.
const HITS_PER_QUERY: usize = 1_000;

/// Matches written within one millisecond: more than one write can hold.
const HITS_OF_A_MOMENT: usize = 100_000;

/// Clocks of instances may differ, and a write may wait for the store, by so much: images are looked for again for so
/// long, and streamed once.
const OVERLAP_MS: i64 = 60_000;

/// All watches of a gallery by name.
pub(crate) async fn watches_of(store: &dyn VectorStore, gallery: &str) -> Result<BTreeMap<String, Watch>, SearchError> {
    let documents = store.documents(gallery).await?;
    let watch = |(key, text): (String, String)| {
        let name = key.strip_prefix(KEY_PREFIX)?.to_owned();
        let watch: Watch = serde_json::from_str(&text).ok()?;
        Some((name.clone(), Watch { name, ..watch }))
    };
    Ok(documents.into_iter().filter_map(watch).collect())
}

/// Bytes of a watch as it is kept; a filter of ten thousand names is no watch.
const MAX_WATCH_BYTES: usize = 1 << 20;

/// Registers a description, or puts it in the place of the one of its name.
pub(crate) async fn put_watch(store: &dyn VectorStore, gallery: &str, watch: &Watch) -> Result<(), SearchError> {
    let text = serde_json::to_string(watch)
        .map_err(|source| SearchError::Store { activity: "writing a watch", source: Box::new(source) })?;
    if text.len() > MAX_WATCH_BYTES {
        let reason = format!("{} bytes with its embedding, at most {MAX_WATCH_BYTES} are allowed", text.len());
        return Err(invalid("filter", reason));
    }
    store.put_document(gallery, &format!("{KEY_PREFIX}{}", watch.name), Some(text)).await
}

pub(crate) async fn delete_watch(store: &dyn VectorStore, gallery: &str, name: &str) -> Result<(), SearchError> {
    store.put_document(gallery, &format!("{KEY_PREFIX}{name}"), None).await
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
    let mut looked_until_ms = following.since_ms;
    // What was streamed of the time that is looked at again, with the time of its writing.
    let mut streamed: HashMap<(String, String), i64> = HashMap::new();
    loop {
        let look_from_ms = (looked_until_ms - OVERLAP_MS).max(following.since_ms);
        let now = now_ms();
        match look(&*store, &following, look_from_ms).await {
            Ok(found) => {
                for found in found {
                    let key = (found.watch.clone(), found.hit.image_id.clone());
                    let written_ms = found.hit.metadata.indexed_at_ms;
                    if streamed.insert(key, written_ms) == Some(written_ms) {
                        continue;
                    }
                    metrics::count_matches(1);
                    // A slow reader does not keep the service from stopping.
                    tokio::select! {
                        sent = matches.send(Ok(found)) => if sent.is_err() { return },
                        () = shutdown.cancelled() => return,
                    }
                }
                looked_until_ms = now;
                streamed.retain(|_, written_ms| *written_ms >= look_from_ms);
            }
            // What is down now is asked again; the time is not moved on, so nothing is missed.
            Err(
                SearchError::Unavailable { .. } | SearchError::Overloaded { .. } | SearchError::DeadlineExceeded { .. },
            ) => {}
            Err(error) => {
                // Nobody listens only when the stream is gone.
                let _ = matches.send(Err(error)).await;
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(following.poll_interval) => {}
            () = shutdown.cancelled() => return,
            () = matches.closed() => return,
        }
    }
}

/// Images written since a time that match, in the order of their writing.
async fn look(store: &dyn VectorStore, following: &Following, from_ms: i64) -> Result<Vec<WatchMatch>, SearchError> {
    let generation = store.identity(&following.gallery).await?;
    let address = generation.address();
    let written = SearchFilter { indexed_from_ms: Some(from_ms), ..SearchFilter::default() };
    if store.count(&address, &written).await? == 0 {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (name, watch) in watches_of(store, &following.gallery).await? {
        if !following.names.is_empty() && !following.names.contains(&name) {
            continue;
        }
        let Some(query) = query_of(&watch, &generation) else { continue };
        let until_ms = now_ms().saturating_add(OVERLAP_MS);
        let hits = hits_between(store, &address, &query, from_ms.max(watch.created_at_ms), until_ms).await?;
        found.extend(hits.into_iter().map(|hit| WatchMatch { watch: name.clone(), hit }));
    }
    found.sort_by(|a, b| {
        let of = |found: &WatchMatch| (found.hit.metadata.indexed_at_ms, found.hit.image_id.clone());
        of(a).cmp(&of(b))
    });
    Ok(found)
}

/// All matches written between two times.
async fn hits_between(
    store: &dyn VectorStore,
    address: &str,
    query: &NearestQuery,
    from_ms: i64,
    until_ms: i64,
) -> Result<Vec<Hit>, SearchError> {
    let mut found = Vec::new();
    let mut open = vec![(from_ms, until_ms)];
    while let Some((from_ms, before_ms)) = open.pop() {
        let filter = SearchFilter {
            indexed_from_ms: Some(from_ms),
            indexed_before_ms: Some(before_ms),
            all: vec![query.filter.clone()],
            ..SearchFilter::default()
        };
        let middle_ms = from_ms + (before_ms - from_ms) / 2;
        // What was written within one millisecond cannot be told apart any more.
        let is_moment = middle_ms == from_ms;
        let limit = if is_moment { HITS_OF_A_MOMENT } else { HITS_PER_QUERY };
        let hits = store.nearest(address, NearestQuery { filter, limit, ..query.clone() }).await?;
        if hits.len() < limit || is_moment {
            found.extend(hits);
        } else {
            open.extend([(from_ms, middle_ms), (middle_ms, before_ms)]);
        }
    }
    Ok(found)
}

/// Nothing for a watch of another model: after a model change it must be made anew.
fn query_of(watch: &Watch, generation: &Gallery) -> Option<NearestQuery> {
    let fingerprint: Fingerprint = watch.fingerprint.parse().ok()?;
    let embedding = Embedding::normalized(watch.embedding.clone()).ok()?;
    generation.require_model(&fingerprint, embedding.dimension()).ok()?;
    let query = NearestQuery::new(embedding, fingerprint, HITS_PER_QUERY);
    Some(NearestQuery { filter: watch.filter.clone(), min_score: Some(watch.min_score), exact: true, ..query })
}
