//! A gRPC connection that never leaves the process.

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

/// Serves `routes` in this process and returns a channel to them: the same messages and statuses as over TCP, without its
/// limits: those stand at the outer door.
/// Serving ends when the last clone of the channel is dropped.
pub fn in_memory_channel(routes: Routes) -> Channel {
    let (connections, accepted) = mpsc::channel::<DuplexStream>(4);
    let incoming = ReceiverStream::new(accepted).map(Ok::<_, io::Error>);
    tokio::spawn(async move {
        if let Err(error) = Server::builder().add_routes(routes).serve_with_incoming(incoming).await {
            tracing::error!(%error, "in-memory server ended");
        }
    });
    // The address is never resolved; tonic only wants one.
    Endpoint::from_static("http://in-memory").connect_with_connector_lazy(tower::service_fn(move |_| {
        let connections = connections.clone();
        async move {
            let (client, server) = tokio::io::duplex(PIPE_BYTES);
            connections.send(server).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok::<_, io::Error>(TokioIo::new(client))
        }
    }))
}
