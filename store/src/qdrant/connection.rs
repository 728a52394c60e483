//! HTTP/2 to one node of Qdrant, over TLS where its address says so. What calls are made of is not known here.

use crate::StoreError;
use descry_trust::tls::{Address, ClientTls, Connector, TlsHints, explain_refusal};
use http::header::{HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt as _};

/// A node that vanished without a word is noticed after the sum of both.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// By which Qdrant knows its key.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// What errors about TLS tell people to set.
pub(super) const TLS_HINTS: TlsHints =
    TlsHints { ca: "qdrant.tls.ca", certificate: "qdrant.tls.certificate and qdrant.tls.key" };

type AnyError = Box<dyn Error + Send + Sync>;
type Answering<Answer> = Pin<Box<dyn Future<Output = Result<Answer, StoreError>> + Send>>;

/// A connection that is made with the first request, and again whenever it breaks. Clones share it.
#[derive(Clone)]
pub(super) struct NodeConnection {
    client: Client<Dialler, UnsyncBoxBody<bytes::Bytes, AnyError>>,
    api_key: Option<HeaderValue>,
}

impl NodeConnection {
    /// `api_key` is marked as a secret already.
    pub(super) fn new(
        address: Address,
        tls: Option<ClientTls>,
        api_key: Option<HeaderValue>,
        connect_timeout: Duration,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .build(Dialler { address, tls, connect_timeout });
        Self { client, api_key }
    }
}

impl<Content> Service<Request<Content>> for NodeConnection
where
    Content: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    Content::Error: Into<AnyError>,
{
    type Response = Response<Incoming>;
    type Error = StoreError;
    type Future = Answering<Response<Incoming>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Content>) -> Self::Future {
        let mut request = request.map(|content| content.map_err(Into::into).boxed_unsync());
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("descry/", env!("CARGO_PKG_VERSION"))));
        if let Some(api_key) = &self.api_key {
            headers.insert(API_KEY, api_key.clone());
        }
        let answering = self.client.request(request);
        Box::pin(async move { answering.await.map_err(|error| unavailable(&error)) })
    }
}

/// That there is no answer, with the innermost reason: those around it only say that there was one.
fn unavailable(error: &(dyn Error + 'static)) -> StoreError {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        if let Some(found @ StoreError::Unavailable { .. }) = source.downcast_ref::<StoreError>() {
            return found.clone();
        }
        innermost = source;
    }
    not_reached(explain_refusal(error, TLS_HINTS).unwrap_or_else(|| innermost.to_string()))
}

fn not_reached(reason: String) -> StoreError {
    StoreError::Unavailable { dependency: "Qdrant", reason }
}

/// Makes connections, whichever address they are asked for: there is only this one.
#[derive(Clone)]
struct Dialler {
    address: Address,
    tls: Option<ClientTls>,
    connect_timeout: Duration,
}

impl Dialler {
    async fn dial(self) -> Result<TokioIo<Box<dyn Wire>>, StoreError> {
        let address = &self.address;
        let wire: Box<dyn Wire> = match &self.tls {
            Some(tls) => {
                let connector: Result<Connector, _> = tls.connector(address);
                let connected = connector.map_err(|error| not_reached(error.to_string()))?;
                let connected = connected.oneshot(address.dialled(None)).await;
                Box::new(connected.map_err(|error| not_reached(error.to_string()))?.into_inner())
            }
            None => {
                let connected = TcpStream::connect((address.host(), address.port())).await;
                let stream = connected.map_err(|error| not_reached(format!("cannot connect to it: {error}")))?;
                // A connection whose other side is gone already ends by itself.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
        };
        Ok(TokioIo::new(wire))
    }
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = StoreError;
    type Future = Answering<TokioIo<Box<dyn Wire>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (dialling, limit) = (self.clone().dial(), self.connect_timeout);
        Box::pin(async move {
            let connected = tokio::time::timeout(limit, dialling).await;
            connected.unwrap_or_else(|_elapsed| {
                Err(not_reached(format!("no connection was made within {} ms", limit.as_millis())))
            })
        })
    }
}

/// Bytes that go both ways, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<Stream: AsyncRead + AsyncWrite + Unpin + Send> Wire for Stream {}

impl Connection for Box<dyn Wire> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
