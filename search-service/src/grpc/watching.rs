//! Standing searches.

use super::SearchGrpc;
use super::images::check_watch_name;
use super::messages::{hit_message, milliseconds, watch_message};
use super::reply_room::{PREFIX_BYTES, ReplyRoom, page_limit};
use super::searches::query_parts;
use crate::SearchError;
use crate::audit::{self, StreamBegun, StreamEntry, of_hit};
use crate::retrieval::{RankedHit, SearchSpec, alone};
use crate::validation::{check_gallery_name, invalid};
use crate::watches::{Descriptions, Following, Found, Watch, WatchPart, Watches, delete_watch, follow, put_watch};
use descry_proto::search::v1 as proto;
use descry_serving::{Exceeded, Peer};
use descry_store::{VectorStore, WriteOrder, now_ms};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Matches that wait for a slow reader.
const MATCHES_WAITING: usize = 64;

const RETRY_AFTER_MS: u64 = 5_000;

impl SearchGrpc {
    pub(super) async fn create_watch(&self, request: proto::CreateWatchRequest) -> Result<proto::Watch, SearchError> {
        let proto::CreateWatchRequest { gallery, name, parts, min_score, filter } = request;
        check_gallery_name(&gallery)?;
        check_watch_name(&name, &self.limits)?;
        if !(-1.0..=1.0).contains(&min_score) || min_score == 0.0 {
            return Err(invalid("min_score", "must be within -1 and 1 and not 0: say what is similar enough"));
        }
        let filter = self.checked_filter(filter)?;
        let active = self.store.resolve(&gallery).await?;
        let watches = Watches::of(&*self.store, &active).await?;
        let max = self.limits.max_watches;
        if watches.len() >= max && !watches.contains(&name) {
            return Err(invalid("name", format!("there are {max} watches already, as many as are allowed")));
        }
        let search = SearchSpec { gallery: gallery.clone(), parts: query_parts(parts)?, ..SearchSpec::default() };
        let parts: Vec<WatchPart> = search.parts.iter().map(WatchPart::from).collect();
        let (embedding, generation) = self.retriever.embedding_of(search).await?;
        filter.require_declared(&generation.settings.indexed_attributes)?;
        let watch = Watch {
            name,
            embedding: embedding.into_vec(),
            fingerprint: generation.fingerprint.to_string(),
            min_score,
            filter,
            created_at_ms: now_ms(),
            created_at_write: match self.store.write_order() {
                WriteOrder::Numbered { next } => Some(next),
                WriteOrder::Timed => None,
            },
        };
        let description = self.descriptions.kept(&gallery, &watch.name, watch.created_at_ms, parts.clone())?;
        put_watch(&*self.store, &generation, &watch).await?;
        Descriptions::put(&*self.store, &generation, &watch.name, description).await?;
        Ok(watch_message(&gallery, watch, parts))
    }

    pub(super) async fn list_watches(
        &self,
        request: proto::ListWatchesRequest,
    ) -> Result<proto::ListWatchesResponse, SearchError> {
        let proto::ListWatchesRequest { gallery, page_size, page_token } = request;
        check_gallery_name(&gallery)?;
        let active = self.store.resolve(&gallery).await?;
        let Watches { mut readable, mut unreadable } = Watches::of(&*self.store, &active).await?;
        let is_first = page_token.is_empty();
        if !is_first {
            readable.retain(|name, _| *name > page_token);
            unreadable.clear();
        }
        // Names alone, of a bounded number of watches.
        let names_bytes = unreadable.iter().map(|name| name.len() + PREFIX_BYTES).sum();
        let mut room = ReplyRoom::new(self.limits.max_reply_bytes.saturating_sub(names_bytes));
        let mut descriptions = self.descriptions.of(&*self.store, &active, &readable).await?;
        let (most, mut watches, mut next_page_token) = (page_limit(page_size), Vec::new(), String::new());
        let mut last_name = page_token;
        for (name, watch) in readable {
            let parts = descriptions.remove(&name).unwrap_or_default();
            let watch = watch_message(&gallery, watch, parts);
            if watches.len() >= most || !room.fits(&watch) {
                next_page_token = last_name;
                break;
            }
            watches.push(watch);
            last_name = name;
        }
        Ok(proto::ListWatchesResponse { watches, unreadable, next_page_token })
    }

    pub(super) async fn delete_watch(
        &self,
        request: proto::DeleteWatchRequest,
    ) -> Result<proto::DeleteWatchResponse, SearchError> {
        let proto::DeleteWatchRequest { gallery, name } = request;
        check_gallery_name(&gallery)?;
        check_watch_name(&name, &self.limits)?;
        let active = self.store.resolve(&gallery).await?;
        if !Watches::of(&*self.store, &active).await?.contains(&name) {
            return Err(invalid("name", format!("gallery {gallery:?} has no watch {name:?}")));
        }
        // The words first: while the watch is there, deleting it can be repeated.
        Descriptions::put(&*self.store, &active, &name, None).await?;
        delete_watch(&*self.store, &active, &name).await?;
        Ok(proto::DeleteWatchResponse {})
    }

    pub(super) async fn watch_matches(
        &self,
        peer: Option<Peer>,
        request: proto::WatchMatchesRequest,
    ) -> Result<BoxStream<'static, Result<proto::WatchMatch, Status>>, Status> {
        let of_stream = proto::WatchMatchesRequest {
            gallery: request.gallery.clone(),
            names: request.names.clone(),
            ..proto::WatchMatchesRequest::default()
        };
        let begun = audit::stream(&of_stream).await?;
        let proto::WatchMatchesRequest { gallery, names, since, after, with_positions } = request;
        check_gallery_name(&gallery)?;
        for name in &names {
            check_watch_name(name, &self.limits)?;
        }
        let since_ms = since.map(|since| milliseconds("since", since)).transpose()?;
        let after = parse_position(&after)?;
        // An unknown gallery is told at once.
        self.store.resolve(&gallery).await.map_err(SearchError::from)?;
        let place = self.match_streams.take(peer, 1).map_err(|exceeded| SearchError::Overloaded {
            what: match exceeded {
                Exceeded::All => "the number of streams of matches",
                Exceeded::Peer => "this caller's half of the streams of matches",
            },
            retry_after_ms: RETRY_AFTER_MS,
        })?;
        let poll_interval = Duration::from_millis(self.watches.poll_interval_ms);
        let entry = begun.map(StreamBegun::go_on);
        let following = Following { gallery: gallery.clone(), names, since_ms, after, with_positions, poll_interval };
        let (sender, receiver) = mpsc::channel(MATCHES_WAITING);
        // It ends when the receiver is dropped.
        tokio::spawn(follow(Arc::clone(&self.store), following, sender, self.shutdown.clone()));
        let matches = ReceiverStream::new(receiver).map(move |found| {
            let _in_use = &place;
            found.map(match_message).map_err(Status::from)
        });
        let matches = without_gone(matches, Arc::clone(&self.store), gallery.clone());
        match entry {
            None => Ok(matches.boxed()),
            // Those that have come are recorded together.
            Some(entry) => {
                let recorded = matches.ready_chunks(MATCHES_WAITING).then(move |matches| {
                    let entry = Arc::clone(&entry);
                    async move { recorded(matches, &entry).await }
                });
                // They may have waited for their reader since.
                Ok(without_gone(recorded.flat_map(futures::stream::iter), Arc::clone(&self.store), gallery).boxed())
            }
        }
    }
}

/// Matches but for those whose images are not in the gallery any more when they are asked for: a slow reader must not be told of
/// somebody who was erased since.
fn without_gone(
    matches: impl Stream<Item = Result<proto::WatchMatch, Status>> + Send + 'static,
    store: Arc<dyn VectorStore>,
    gallery: String,
) -> impl Stream<Item = Result<proto::WatchMatch, Status>> + Send + 'static {
    matches.filter_map(move |found| {
        let (store, gallery) = (Arc::clone(&store), gallery.clone());
        async move {
            let image_id = found.as_ref().ok().and_then(|found| Some(found.hit.as_ref()?.image_id.clone()));
            let is_gone = match image_id {
                Some(image_id) => is_gone(&*store, &gallery, image_id).await,
                None => false,
            };
            (!is_gone).then_some(found)
        }
    })
}

/// Whether an image is not in the gallery any more. Where that cannot be told the match is told: a store that is down for a moment
/// must not cost anybody one.
async fn is_gone(store: &dyn VectorStore, gallery: &str, image_id: String) -> bool {
    let held = async {
        let generation = store.resolve(gallery).await?;
        store.images(&generation, &[image_id]).await
    };
    held.await.is_ok_and(|held| held.is_empty())
}

/// Matches whose record is on disk; in their place why there is none, where it is not.
async fn recorded(
    matches: Vec<Result<proto::WatchMatch, Status>>,
    entry: &StreamEntry,
) -> Vec<Result<proto::WatchMatch, Status>> {
    let told: Vec<_> = matches.iter().flatten().filter_map(|found| found.hit.as_ref()).map(of_hit).collect();
    if let Some(Err(status)) = matches.iter().find(|found| found.is_err()) {
        entry.ended(status.code());
    }
    // Positions tell of nobody.
    if told.is_empty() {
        return matches;
    }
    match entry.matches(told).await {
        Ok(()) => matches,
        Err(error) => vec![Err(error.into())],
    }
}

/// What comes before the number in a position: other stores may have other positions some day.
const POSITION_PREFIX: &str = "n";

fn parse_position(text: &str) -> Result<Option<u64>, SearchError> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.strip_prefix(POSITION_PREFIX).and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| invalid("after", "is no position that a stream of matches has told"))
}

fn match_message(found: Found) -> proto::WatchMatch {
    let found = match found {
        Found::Match(found) => *found,
        Found::Position(number) => {
            let position = format!("{POSITION_PREFIX}{number}");
            return proto::WatchMatch { position, ..proto::WatchMatch::default() };
        }
    };
    let contributions = vec![found.hit.score];
    let hit = RankedHit::new(alone(found.hit), contributions);
    proto::WatchMatch { watch: found.watch, hit: Some(hit_message(hit)), position: String::new() }
}
