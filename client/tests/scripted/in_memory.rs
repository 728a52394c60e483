//! A connection that never leaves the process, so that clocks may be paused.

use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};

/// Bytes in flight in each direction before the writer waits.
const PIPE_BYTES: usize = 1 << 20;

/// Serves `routes` until the last clone of the channel is dropped.
pub(crate) fn channel(routes: Routes) -> Channel {
    let (connections, accepted) = mpsc::channel::<DuplexStream>(4);
    let incoming = ReceiverStream::new(accepted).map(Ok::<_, io::Error>);
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    // The address is never resolved; tonic only wants one.
    let endpoint = Endpoint::from_static("http://in-memory");
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let connections = connections.clone();
        async move {
            let (client, server) = tokio::io::duplex(PIPE_BYTES);
            connections.send(server).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok::<_, io::Error>(TokioIo::new(client))
        }
    }))
}
