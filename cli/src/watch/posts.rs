//! A call of an address for each match.

use super::matched::Match;
use anyhow::Context as _;
use descry_retry::{Again, RetryPolicy};
use descry_trust::TrustError;
use descry_trust::tls::{Address, ClientTls, ClientTlsSettings, Connector, Protocol, TlsHints};
use http::{Request, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Matches that wait for their turn; when there are more, the service waits too, so none is lost.
const MAX_WAITING: usize = 256;
/// Of one attempt.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How long an address that does not take a match is tried again.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Posts the JSON of matches to an address, in their order. A failure is told and ends nothing.
pub(super) struct Posts {
    sender: mpsc::Sender<Match>,
    poster: JoinHandle<()>,
    stop: CancellationToken,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("no answer within {} s", TIME_LIMIT.as_secs())]
    Late,
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    #[error("cannot connect over TLS")]
    Tls(#[source] TrustError),
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("the address cannot be called")]
    Unusable(#[source] http::Error),
    #[error("it answered {0}")]
    Answer(StatusCode),
}

impl PostError {
    /// What may pass: a server that is down, full or slow.
    fn again(&self) -> Again {
        match self {
            Self::Late | Self::Connect(_) | Self::Tls(_) | Self::Broken(_) => Again::Later,
            Self::Answer(code)
                if code.is_server_error()
                    || *code == StatusCode::TOO_MANY_REQUESTS
                    || *code == StatusCode::REQUEST_TIMEOUT =>
            {
                Again::Later
            }
            Self::Answer(_) | Self::Unusable(_) => Again::Never,
        }
    }
}

/// Where matches are posted to.
#[derive(Clone)]
pub(super) struct Receiver {
    address: Uri,
    /// Where TLS is spoken.
    connector: Option<Connector>,
}

impl Receiver {
    /// An address, which proves itself by `ca` where it begins with https, or by the CAs that the system trusts.
    pub(super) fn open(address: Uri, ca: Option<&Path>) -> anyhow::Result<Self> {
        if address.scheme_str() != Some("https") {
            anyhow::ensure!(
                ca.is_none(),
                "{address} speaks no TLS, so --post-ca counts for nothing; leave it out, or give https://"
            );
            return Ok(Self { address, connector: None });
        }
        let settings =
            ClientTlsSettings { ca: ca.map(Path::to_owned).unwrap_or_default(), ..ClientTlsSettings::default() };
        // No certificate can be shown here.
        let hints = TlsHints { ca: "--post-ca FILE", certificate: "--exec PROGRAM, such as one that calls curl" };
        let origin = Address::parse(&address.to_string())?;
        let connector = ClientTls::open_for(Protocol::Http1, &settings, hints)?.connector(&origin)?;
        Ok(Self { address, connector: Some(connector) })
    }
}

impl Posts {
    pub(super) fn to(receiver: Receiver) -> Self {
        let (sender, mut waiting) = mpsc::channel::<Match>(MAX_WAITING);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let address = receiver.address.clone();
        let poster = tokio::spawn(async move {
            let mut left_out = 0;
            while let Some(found) = waiting.recv().await {
                // Who wants to end does not wait for an address that is down.
                let posted = if stopped.is_cancelled() {
                    post(&receiver, &found).await
                } else {
                    tokio::select! {
                        posted = post_patiently(&receiver, &found) => posted,
                        () = stopped.cancelled() => post(&receiver, &found).await,
                    }
                };
                match posted {
                    Ok(()) => {}
                    Err(_) if stopped.is_cancelled() => {
                        left_out = 1 + waiting.len();
                        break;
                    }
                    Err(error) => {
                        let (image_id, reason) = (found.image_id(), descry_serving::explain(&error));
                        tracing::warn!("{address} was not told of {image_id:?} of watch {}: {reason}", found.watch());
                    }
                }
            }
            if left_out > 0 {
                tracing::warn!("{address} was not told of the last {left_out} matches");
            }
        });
        Self { sender, poster, stop }
    }

    /// Hands a match over, as soon as there is room.
    pub(super) async fn send(&self, found: &Match) {
        // A receiver that is gone has panicked; its message says so.
        let _ = self.sender.send(found.clone()).await;
    }

    /// Sends what still waits, each once.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        drop(self.sender);
        let _ = self.poster.await;
    }
}

async fn post_patiently(receiver: &Receiver, found: &Match) -> Result<(), PostError> {
    let policy = RetryPolicy {
        retry_for: RETRY_FOR,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(15),
        remaining_time: || None,
    };
    policy.repeat("telling of a match", || post(receiver, found), PostError::again).await
}

/// One attempt, over a connection of its own: matches are rare, and what answers may be restarted between two of them.
async fn post(receiver: &Receiver, found: &Match) -> Result<(), PostError> {
    tokio::time::timeout(TIME_LIMIT, post_now(receiver, found)).await.unwrap_or(Err(PostError::Late))
}

async fn post_now(Receiver { address, connector }: &Receiver, found: &Match) -> Result<(), PostError> {
    if let Some(connector) = connector {
        return post_over(connector.dial().await.map_err(PostError::Tls)?, address, found).await;
    }
    let host = address.host().unwrap_or_default();
    let stream = TcpStream::connect(format!("{host}:{}", address.port_u16().unwrap_or(80)));
    post_over(TokioIo::new(stream.await.map_err(PostError::Connect)?), address, found).await
}

async fn post_over(stream: impl Read + Write + Unpin, address: &Uri, found: &Match) -> Result<(), PostError> {
    let host = address.host().unwrap_or_default();
    let (mut sender, connection) = http1::handshake(stream).await.map_err(PostError::Broken)?;
    let request = Request::post(address.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, address.authority().map_or(host, |authority| authority.as_str()))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("descry/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(found.json().to_string())
        .map_err(PostError::Unusable)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // A connection that ends in good order has handed the answer over; nothing but its head is wanted.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    let status = answer.map_err(PostError::Broken)?.status();
    if status.is_success() { Ok(()) } else { Err(PostError::Answer(status)) }
}

/// An address that can be called.
pub(super) fn parse_address(text: &str) -> anyhow::Result<Uri> {
    let address: Uri =
        text.parse().with_context(|| format!("{text:?} is no address such as http://127.0.0.1:8080/matches"))?;
    match address.scheme_str() {
        Some("http" | "https") => {}
        _ => anyhow::bail!("give an address that begins with http:// or https://"),
    }
    let authority = address.authority().map(|authority| authority.as_str()).unwrap_or_default();
    anyhow::ensure!(!authority.contains('@'), "a name and a password in the address are not sent; leave them out");
    Ok(address)
}

#[cfg(test)]
mod tests;
