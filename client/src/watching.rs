//! Following watches: each match once, whatever becomes of the connection.

use crate::connection::Service;
use crate::retry::Retries;
use crate::{ClientError, Connection};
use descry_proto::search::v1::{WatchMatch, WatchMatchesRequest};
use prost_types::Timestamp;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use tonic::{Status, Streaming};

/// How much later than its `indexed_at` an image may come to be seen, in seconds.
const OVERLAP_S: i64 = 60;
/// Matches of the last minute that are kept, some 20 MB.
const MAX_SEEN: usize = 100_000;

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z, which are in order.
type Moment = (i64, i32);

/// The images that match watches, as they are indexed. A service that restarts is waited for; what was indexed meanwhile
/// comes then.
pub struct Matches {
    service: Service,
    request: WatchMatchesRequest,
    stream: Option<Streaming<WatchMatch>>,
    retries: Retries,
    seen: Seen,
    /// From when on matches are wanted.
    since: Moment,
    has_connected: bool,
}

impl Connection {
    /// Follows watches of a gallery; no names mean all, also those that are made later. `since`: also images that were
    /// indexed at or after this time; without it from now on. It is waited without end for a service that went away,
    /// unless [`Matches::retry_for`] says otherwise.
    pub fn matches(&self, gallery: &str, names: Vec<String>, since: Option<Timestamp>) -> Matches {
        // Asked for only when the stream breaks before the first match. The service's clock may be another one, and
        // what comes twice is better than what never comes.
        let began_at = || (Timestamp::from(SystemTime::now()).seconds - OVERLAP_S, 0);
        Matches {
            service: self.service(),
            request: WatchMatchesRequest {
                gallery: gallery.to_owned(),
                names,
                since,
                after: String::new(),
                with_positions: true,
            },
            stream: None,
            retries: Retries::new(Duration::MAX),
            seen: Seen::default(),
            since: since.map_or_else(began_at, moment),
            has_connected: false,
        }
    }
}

impl Matches {
    /// How long to try again while the service is not available.
    #[must_use]
    pub fn retry_for(mut self, retry_for: Duration) -> Self {
        self.retries = Retries::new(retry_for);
        self
    }

    /// The next match. No match is lost when this is dropped before it is done. A match comes twice only when the
    /// connection breaks after more than 100,000 matches within a minute.
    ///
    /// # Errors
    /// [`ClientError::Refused`], such as for a gallery that is not there; [`ClientError::Unavailable`].
    pub async fn next(&mut self) -> Result<WatchMatch, ClientError> {
        loop {
            let status = match &mut self.stream {
                None => match self.service.watch_matches(self.request.clone()).await {
                    Ok(reply) => {
                        self.stream = Some(reply.into_inner());
                        self.has_connected = true;
                        continue;
                    }
                    Err(status) => status,
                },
                Some(stream) => match stream.message().await {
                    Ok(Some(found)) => {
                        self.retries.succeed();
                        if !found.position.is_empty() {
                            self.request.after = found.position;
                            continue;
                        }
                        if self.seen.is_new(&found) {
                            return Ok(found);
                        }
                        continue;
                    }
                    Ok(None) => Status::unavailable("the service ended the stream"),
                    Err(status) => status,
                },
            };
            self.stream = None;
            if self.has_connected {
                let (seconds, nanos) = self.seen.resume_at().map_or(self.since, |moment| moment.max(self.since));
                self.request.since = Some(Timestamp { seconds, nanos });
            }
            self.retries.wait(&status).await?;
        }
    }
}

fn moment(time: Timestamp) -> Moment {
    (time.seconds, time.nanos)
}

/// What a stream that is opened again must not repeat: the matches of the minute before the newest one.
#[derive(Debug, Default)]
struct Seen {
    newest: Option<Moment>,
    /// By time, with their watches and images.
    matches: BTreeSet<(Moment, String, String)>,
}

impl Seen {
    /// Notes a match; false for one that was noted before.
    fn is_new(&mut self, found: &WatchMatch) -> bool {
        let Some(hit) = &found.hit else { return false };
        let Some(time) = hit.metadata.as_ref().and_then(|metadata| metadata.indexed_at) else { return true };
        if !self.matches.insert((moment(time), found.watch.clone(), hit.image_id.clone())) {
            return false;
        }
        self.newest = self.newest.max(Some(moment(time)));
        let oldest = self.resume_at();
        while self.matches.len() > MAX_SEEN || self.matches.first().is_some_and(|(time, ..)| Some(*time) < oldest) {
            self.matches.pop_first();
        }
        true
    }

    /// From when on a stream must begin so that nothing is lost; none before the first match.
    fn resume_at(&self) -> Option<Moment> {
        self.newest.map(|(seconds, nanos)| (seconds - OVERLAP_S, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::{Hit, ImageMetadata};

    fn found(image_id: &str, seconds: i64) -> WatchMatch {
        let indexed_at = Some(Timestamp { seconds, nanos: 0 });
        let metadata = Some(ImageMetadata { indexed_at, ..ImageMetadata::default() });
        let hit = Hit { image_id: image_id.to_owned(), metadata, ..Hit::default() };
        WatchMatch { watch: "red".to_owned(), hit: Some(hit), position: String::new() }
    }

    #[test]
    fn a_match_of_the_last_minute_is_known() {
        let mut seen = Seen::default();
        for (image_id, seconds, is_new) in [
            ("a", 100, true),
            ("b", 130, true),
            ("late", 80, true),
            ("late", 80, false),
            ("a", 100, false),
            // Indexed again.
            ("a", 131, true),
            ("b", 130, false),
            ("far ahead", 200, true),
            ("b", 130, true),
        ] {
            assert_eq!(seen.is_new(&found(image_id, seconds)), is_new, "{image_id} at {seconds}");
        }
        assert_eq!(seen.resume_at(), Some((140, 0)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..MAX_SEEN + 10 {
            assert!(seen.is_new(&found(&format!("{number:06}"), 100)));
        }
        assert_eq!(seen.matches.len(), MAX_SEEN);
        for second in 0..1_000 {
            seen.is_new(&found("one", 1_000 + second));
        }
        assert!(seen.matches.len() <= 61, "{}", seen.matches.len());
    }
}
