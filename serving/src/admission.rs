//! What the requests of all connections share, and what each of them takes of it.

use crate::connection::ConnectionInfo;
use crate::connections::{OpenConnection, OpenRequest};
use crate::method_names::MethodName;
use crate::reply_body::{ReaderWait, ReplyAccount};
use crate::request_body::RequestBody;
use crate::server::ServerConfig;
use crate::shares::{Exceeded, Peer, Share, Shares};
use descry_retry::overloaded;
use std::sync::{Arc, Mutex};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::body::Body;

/// A hint for callers that were refused. Requests end at their own pace; this is about one batch of the encoder.
const RETRY_AFTER_MS: u64 = 500;

/// Probes ask whether the service lives, above all when it has more to do than it can.
const HEALTH: &str = "grpc.health.v1.Health";
const PROBE: &str = "Check";

tokio::task_local! {
    /// Set by the server around each stream: since when its reply waits for its reader.
    pub(crate) static READER_WAIT: Arc<ReaderWait>;
}

/// Bounds of all requests together. One peer gets at most half of each.
pub(crate) struct Admission {
    requests: Arc<Shares>,
    request_bytes: Arc<Shares>,
    reply_bytes: Arc<Shares>,
}

/// What a request has taken; given back when it has ended.
pub(crate) struct Admitted {
    open: OpenRequest,
    peer: Peer,
    _slot: Option<OwnedSemaphorePermit>,
    _request: Option<Share>,
    bytes: Arc<Mutex<Share>>,
}

impl Admission {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let halved = |most: usize| Shares::new(most, most.div_ceil(2));
        Self {
            requests: halved(config.max_requests),
            request_bytes: halved(config.max_request_bytes_in_memory),
            reply_bytes: halved(config.max_reply_bytes_in_memory),
        }
    }

    /// Takes what a request needs from the beginning, or says why it cannot be worked on now.
    /// `caller` is who calls, where that is known better than by the connection's address.
    pub(crate) fn admit(
        &self,
        of: ConnectionInfo,
        caller: Option<Peer>,
        method: &MethodName,
    ) -> Result<Admitted, Status> {
        let ConnectionInfo { tcp: _, certificate: _, request_slots, connection } = of;
        let peer = caller.unwrap_or(connection.peer());
        let bytes = self.request_bytes.take(Some(peer), 0).map_err(|_| refused("requests' bytes are"))?;
        let admitted = Admitted {
            open: connection.begin_request(),
            peer,
            _slot: None,
            _request: None,
            bytes: Arc::new(Mutex::new(bytes)),
        };
        if &*method.service == HEALTH && &*method.method == PROBE {
            return Ok(admitted);
        }
        let slot = request_slots.try_acquire_owned().map_err(|_| refused("the connection's requests are"))?;
        let request = self.requests.take(Some(peer), 1).map_err(|exceeded| match exceeded {
            Exceeded::All => refused("the requests of all callers are"),
            Exceeded::Peer => refused("the requests of this caller are"),
        })?;
        Ok(Admitted { _slot: Some(slot), _request: Some(request), ..admitted })
    }

    /// Where the reply to a request of this peer counts, on a connection.
    pub(crate) fn reply_account(&self, (peer, connection): (Peer, Arc<OpenConnection>)) -> ReplyAccount {
        let wait = READER_WAIT.try_with(Arc::clone).ok();
        ReplyAccount { bytes: Arc::clone(&self.reply_bytes), peer: Some(peer), connection: Some(connection), wait }
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> [usize; 3] {
        [&self.requests, &self.request_bytes, &self.reply_bytes].map(|shares| shares.taken())
    }
}

impl Admitted {
    /// The request's body, whose bytes count until the request has ended, or those of a stream until a message is whole.
    pub(crate) fn counted(&self, body: Body, is_stream: bool) -> Body {
        Body::new(RequestBody::new(body, Arc::clone(&self.bytes), is_stream))
    }

    /// Whose reply it will be, and on which connection.
    pub(crate) fn replied_to(&self) -> (Peer, Arc<OpenConnection>) {
        (self.peer, Arc::clone(self.open.connection()))
    }
}

fn refused(what: &str) -> Status {
    metrics::counter!("descry_grpc_requests_refused_total").increment(1);
    overloaded(format!("{what} as many as are allowed at once; try again in {RETRY_AFTER_MS} ms"), RETRY_AFTER_MS)
}
