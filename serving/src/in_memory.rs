//! A gRPC connection that never leaves the process.

use crate::ServerError;
use crate::method_names::MethodNames;
use crate::request::RequestLayer;
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

/// Serves `routes`, whose methods are those of `descriptor_set`, in this process and returns a channel to them: the same
/// messages, statuses, traces and records as over TCP, without its limits: those stand at the outer door.
/// Serving ends when the last clone of the channel is dropped.
///
/// # Errors
/// [`ServerError::Descriptor`].
pub fn in_memory_channel(routes: Routes, descriptor_set: &[u8]) -> Result<Channel, ServerError> {
    let requests = RequestLayer { methods: MethodNames::read(&[descriptor_set])?, timeout: None, sizes: None };
    let (connections, accepted) = mpsc::channel::<DuplexStream>(4);
    let incoming = ReceiverStream::new(accepted).map(Ok::<_, io::Error>);
    tokio::spawn(async move {
        let server = Server::builder().layer(requests).add_routes(routes);
        if let Err(error) = server.serve_with_incoming(incoming).await {
            tracing::error!(%error, "in-memory server ended");
        }
    });
    // The address is never resolved; tonic only wants one.
    let endpoint = Endpoint::from_static("http://in-memory");
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let connections = connections.clone();
        async move {
            let (client, server) = tokio::io::duplex(PIPE_BYTES);
            connections.send(server).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok::<_, io::Error>(TokioIo::new(client))
        }
    })))
}
