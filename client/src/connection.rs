//! The connection to a running service.

use crate::ClientError;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// Replies hold up to a thousand hits with their attributes, or a page of embeddings.
const MAX_REPLY_BYTES: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a silent connection is asked for a sign of life, and how long that may take.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What calls the service.
pub(crate) type Service = SearchServiceClient<Channel>;

/// A running search service, or `descry serve`. Cheap to clone; clones share one HTTP/2 connection, which is made again
/// when it breaks.
#[derive(Debug, Clone)]
pub struct Connection {
    channel: Channel,
    service: Service,
}

impl Connection {
    /// Connects to the service at an address such as `http://127.0.0.1:50051`.
    ///
    /// # Errors
    /// [`ClientError::Address`]; [`ClientError::NoService`] when nobody answers within 5 seconds.
    pub async fn to(url: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address { url: url.to_owned() };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(wrong());
        }
        // A service that vanished without a word, as behind a router that forgot the connection, is noticed: whoever waits
        // for a match or an acknowledgement would wait for ever.
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|_| wrong())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await;
        channel.map(Self::over).map_err(|source| ClientError::NoService { url: url.to_owned(), source })
    }

    /// Over a channel that was made in another way: with TLS, or through memory.
    pub fn over(channel: Channel) -> Self {
        let service = SearchServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(usize::MAX);
        Self { channel, service }
    }

    /// The channel below, for other services at the same address, such as the one that tells of health.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The generated client, for calls that have no method here.
    pub fn service(&self) -> SearchServiceClient<Channel> {
        self.service.clone()
    }
}

/// The reply, or why there is none.
pub(crate) fn answer<Reply>(reply: Result<Response<Reply>, Status>) -> Result<Reply, ClientError> {
    reply.map(Response::into_inner).map_err(ClientError::refused)
}
