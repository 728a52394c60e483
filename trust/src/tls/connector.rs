//! TCP and TLS for whatever makes HTTP/2 connections.

use super::address::Address;
use super::client::ClientTls;
use super::failure::handshake_reason;
use super::server::Protocol;
use crate::TrustError;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

/// A connection over which TLS is spoken.
pub type TlsConnection = TokioIo<TlsStream<TcpStream>>;

/// Connects to the host and port of an address ([`Address::dialled`]), and makes sure that the server is the one it was made
/// for. Whoever uses it limits the time that this may take.
#[derive(Clone)]
pub struct Connector {
    tls: ClientTls,
    address: Arc<Address>,
    name: ServerName<'static>,
}

impl Connector {
    pub(super) fn new(tls: ClientTls, address: &Address) -> Result<Self, TrustError> {
        let name = ServerName::try_from(address.host().to_owned())
            .map_err(|error| TrustError::Address { url: address.url().to_owned(), reason: error.to_string() })?;
        Ok(Self { tls, address: Arc::new(address.clone()), name })
    }

    /// Connects to its own address.
    ///
    /// # Errors
    /// [`TrustError::Connect`], [`TrustError::Handshake`].
    pub async fn dial(&self) -> Result<TlsConnection, TrustError> {
        self.clone().connect(self.address.dialled(None)).await
    }

    async fn connect(self, to: Uri) -> Result<TlsConnection, TrustError> {
        let url = || self.address.url().to_owned();
        let host = to.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = to.port_u16().unwrap_or(self.address.port());
        let connected = TcpStream::connect((host, port)).await;
        let stream = connected.map_err(|source| TrustError::Connect { address: url(), source })?;
        // A connection whose other side is gone already ends by itself.
        let _ = stream.set_nodelay(true);
        let refused = |reason| TrustError::Handshake { address: url(), reason };
        let shaking = TlsConnector::from(self.tls.current().await).connect(self.name, stream).await;
        let hints = self.tls.hints();
        let stream = shaking.map_err(|error| refused(handshake_reason(&error, self.address.host(), hints)))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.tls.protocol() == Protocol::Http2 && !is_http2 {
            return Err(refused("it speaks TLS, but no HTTP/2 over it, as gRPC needs".to_owned()));
        }
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Connector {
    type Response = TlsConnection;
    type Error = TrustError;
    type Future = Pin<Box<dyn Future<Output = Result<TlsConnection, TrustError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TrustError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}
