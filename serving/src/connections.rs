//! The connections that a server has: how many there may be, of one peer and in all, and which one makes room for another.

use crate::shares::{Exceeded, Peer, Share, Shares};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections without a request for longer make room for new ones.
pub(crate) const IDLE: Duration = Duration::from_secs(10);

/// Between two lines in the log about connections that were closed or refused.
const LINE_PAUSE: Duration = Duration::from_secs(10);

/// All connections of a server.
pub(crate) struct Connections {
    places: Arc<Shares>,
    open: Mutex<HashMap<u64, Arc<OpenConnection>>>,
    next_number: AtomicU64,
    said: Mutex<Said>,
}

/// What happened since the last line in the log.
#[derive(Default)]
struct Said {
    last: Option<Instant>,
    closed: u64,
    refused: u64,
}

/// A connection's place.
pub(crate) struct OpenConnection {
    number: u64,
    peer: Peer,
    share: Mutex<Option<Share>>,
    use_of_it: Mutex<UseOfIt>,
    /// Small replies that HTTP/2 has not sent yet, by their numbers, with the times at which it got them.
    unsent: Mutex<BTreeMap<u64, Instant>>,
    /// When HTTP/2 last sent the whole of something.
    last_sent: Mutex<Instant>,
    /// Cancelled when the connection is to make room.
    pub(crate) retired: CancellationToken,
}

struct UseOfIt {
    requests: usize,
    idle_since: Instant,
}

impl Connections {
    pub(crate) fn new(most: usize, most_of_one_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Shares::new(most, most_of_one_peer),
            open: Mutex::default(),
            next_number: AtomicU64::new(0),
            said: Mutex::default(),
        })
    }

    /// A place for a connection, which it has until it is dropped. Where there is none left, the connection that has been
    /// idle for longest gives up its own; where it is the peer that has too many, one of the peer's.
    ///
    /// # Errors
    /// [`Exceeded`] when no connection is idle for [`IDLE`].
    pub(crate) fn enter(self: &Arc<Self>, peer: Peer) -> Result<Place, Exceeded> {
        let share = self.places.take(Some(peer), 1).or_else(|exceeded| {
            let idle = self.retire_idle(Some(peer).filter(|_| exceeded == Exceeded::Peer));
            let share = if idle { self.places.take(Some(peer), 1) } else { Err(exceeded) };
            self.say(share.is_ok(), peer);
            share
        })?;
        let connection = Arc::new(OpenConnection {
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            peer,
            share: Mutex::new(Some(share)),
            use_of_it: Mutex::new(UseOfIt { requests: 0, idle_since: Instant::now() }),
            unsent: Mutex::default(),
            last_sent: Mutex::new(Instant::now()),
            retired: CancellationToken::new(),
        });
        self.open().insert(connection.number, Arc::clone(&connection));
        Ok(Place { connections: Arc::clone(self), connection })
    }

    /// Closes the connection that has been idle for longest, of one peer or of all. Its place is free at once.
    fn retire_idle(&self, peer: Option<Peer>) -> bool {
        let mut open = self.open();
        let of_peer = open.values().filter(|connection| peer.is_none_or(|peer| connection.peer == peer));
        let idle = of_peer.filter_map(|connection| Some((connection.idle_since()?, connection.number)));
        let longest = idle.min().filter(|(since, _)| since.elapsed() > IDLE);
        let Some(connection) = longest.and_then(|(_, number)| open.remove(&number)) else { return false };
        drop(lock(&connection.share).take());
        connection.retired.cancel();
        true
    }

    fn say(&self, made_room: bool, peer: Peer) {
        let name = if made_room { "descry_connections_retired_total" } else { "descry_connections_rejected_total" };
        metrics::counter!(name).increment(1);
        let mut said = lock(&self.said);
        if made_room {
            said.closed += 1;
        } else {
            said.refused += 1;
        }
        if said.last.is_some_and(|last| last.elapsed() < LINE_PAUSE) {
            return;
        }
        let (closed, refused) = (std::mem::take(&mut said.closed), std::mem::take(&mut said.refused));
        said.last = Some(Instant::now());
        tracing::warn!(
            idle_closed = closed,
            refused,
            last_peer = %peer,
            "connections are as many as are allowed (server.max_connections, max_connections_per_peer)"
        );
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<OpenConnection>>> {
        lock(&self.open)
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }
}

impl OpenConnection {
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Counts a request until the answer is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> OpenRequest {
        lock(&self.use_of_it).requests += 1;
        OpenRequest(Arc::clone(self))
    }

    /// Notes a reply that is off the server's hands, until what is returned is dropped.
    pub(crate) fn begin_unsent(self: &Arc<Self>) -> Unsent {
        let mut unsent = lock(&self.unsent);
        let number = unsent.last_key_value().map_or(0, |(last, _)| last + 1);
        unsent.insert(number, Instant::now());
        Unsent { connection: Arc::clone(self), number }
    }

    /// Something was sent, or given up.
    pub(crate) fn note_sent(&self) {
        *lock(&self.last_sent) = Instant::now();
    }

    /// Waits until such a reply could not be sent for so long, at most twice, and nothing else either: one stream that nobody
    /// reads must not take the others of its connection along.
    pub(crate) async fn unsent_for(&self, limit: Duration) {
        loop {
            tokio::time::sleep(limit).await;
            let oldest = lock(&self.unsent).first_key_value().map(|(_, since)| *since);
            let is_stuck = lock(&self.last_sent).elapsed() >= limit;
            if is_stuck && oldest.is_some_and(|since| since.elapsed() >= limit) {
                return;
            }
        }
    }

    /// Since when there is no request.
    fn idle_since(&self) -> Option<Instant> {
        let use_of_it = lock(&self.use_of_it);
        (use_of_it.requests == 0).then_some(use_of_it.idle_since)
    }
}

/// A small reply that HTTP/2 has.
pub(crate) struct Unsent {
    connection: Arc<OpenConnection>,
    number: u64,
}

impl Drop for Unsent {
    fn drop(&mut self) {
        lock(&self.connection.unsent).remove(&self.number);
    }
}

/// A request that its connection is not idle for.
pub(crate) struct OpenRequest(Arc<OpenConnection>);

impl OpenRequest {
    pub(crate) fn connection(&self) -> &Arc<OpenConnection> {
        &self.0
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut use_of_it = lock(&self.0.use_of_it);
        use_of_it.requests -= 1;
        use_of_it.idle_since = Instant::now();
    }
}

/// Counts a connection until it is dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    pub(crate) connection: Arc<OpenConnection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(&self.connection.number);
        drop(lock(&self.connection.share).take());
    }
}

fn lock<Value>(mutex: &Mutex<Value>) -> MutexGuard<'_, Value> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn peer(last: u8) -> Peer {
        Peer::from(IpAddr::from([10, 0, 0, last]))
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_makes_room() {
        let connections = Connections::new(3, 3);
        let places = [1, 2, 3].map(|last| connections.enter(peer(last)).unwrap());
        // Nobody has been idle for long enough.
        assert_eq!(connections.enter(peer(4)).err(), Some(Exceeded::All));
        tokio::time::advance(IDLE + Duration::from_secs(1)).await;
        let busy = places[0].connection.begin_request();
        drop(places[1].connection.begin_request());
        let fourth = connections.enter(peer(4)).unwrap();
        let retired = || places.each_ref().map(|place| place.connection.retired.is_cancelled());
        assert_eq!(retired(), [false, false, true]);
        assert_eq!((connections.count(), connections.places.taken()), (3, 3));
        assert_eq!(connections.enter(peer(5)).err(), Some(Exceeded::All));

        tokio::time::advance(IDLE + Duration::from_secs(1)).await;
        let fifth = connections.enter(peer(5)).unwrap();
        assert_eq!(retired(), [false, true, true]);
        drop((busy, fourth, fifth, places));
        assert_eq!((connections.count(), connections.places.taken()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_with_too_many_makes_room_itself() {
        let connections = Connections::new(4, 2);
        let other = connections.enter(peer(1)).unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        let own = [2, 2].map(|last| connections.enter(peer(last)).unwrap());
        assert_eq!(connections.enter(peer(2)).err(), Some(Exceeded::Peer));
        tokio::time::advance(IDLE + Duration::from_secs(1)).await;
        let _third = connections.enter(peer(2)).unwrap();
        assert!(own[0].connection.retired.is_cancelled() && !other.connection.retired.is_cancelled());
    }
}
