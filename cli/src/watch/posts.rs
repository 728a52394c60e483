//! A call of an address for each match.

use super::matched::Match;
use anyhow::Context as _;
use descry_retry::{Again, RetryPolicy};
use http::{Request, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
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
            Self::Late | Self::Connect(_) | Self::Broken(_) => Again::Later,
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

impl Posts {
    pub(super) fn to(address: Uri) -> Self {
        let (sender, mut waiting) = mpsc::channel::<Match>(MAX_WAITING);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let poster = tokio::spawn(async move {
            let mut left_out = 0;
            while let Some(found) = waiting.recv().await {
                // Who wants to end does not wait for an address that is down.
                let posted = if stopped.is_cancelled() {
                    post(&address, &found).await
                } else {
                    tokio::select! {
                        posted = post_patiently(&address, &found) => posted,
                        () = stopped.cancelled() => post(&address, &found).await,
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

async fn post_patiently(address: &Uri, found: &Match) -> Result<(), PostError> {
    let policy = RetryPolicy {
        retry_for: RETRY_FOR,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(15),
        remaining_time: || None,
    };
    policy.repeat("telling of a match", || post(address, found), PostError::again).await
}

/// One attempt, over a connection of its own: matches are rare, and what answers may be restarted between two of them.
async fn post(address: &Uri, found: &Match) -> Result<(), PostError> {
    tokio::time::timeout(TIME_LIMIT, post_now(address, found)).await.unwrap_or(Err(PostError::Late))
}

async fn post_now(address: &Uri, found: &Match) -> Result<(), PostError> {
    let host = address.host().unwrap_or_default();
    let stream = TcpStream::connect(format!("{host}:{}", address.port_u16().unwrap_or(80)));
    let stream = stream.await.map_err(PostError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(PostError::Broken)?;
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
        Some("http") => {}
        Some("https") => anyhow::bail!(
            "https is not spoken here; give the http address of a proxy on this machine, or a program with --exec, such as \
             one that calls curl"
        ),
        _ => anyhow::bail!("give an address that begins with http://"),
    }
    let authority = address.authority().map(|authority| authority.as_str()).unwrap_or_default();
    anyhow::ensure!(!authority.contains('@'), "a name and a password in the address are not sent; leave them out");
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::{Hit, WatchMatch};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn found(image_id: &str) -> Match {
        let hit = Hit { image_id: image_id.to_owned(), ..Hit::default() };
        Match::of(WatchMatch { watch: "red".to_owned(), hit: Some(hit), position: String::new() })
    }

    /// Answers requests with these heads, one a connection, and returns what it was sent.
    async fn answering(answers: Vec<&'static str>) -> (Uri, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/matches?key=1", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    assert!(read > 0);
                    request.extend_from_slice(&part[..read]);
                }
                requests.push(String::from_utf8(request).unwrap());
                stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
            }
            requests
        });
        (address.parse().unwrap(), serving)
    }

    #[tokio::test]
    async fn matches_are_posted_in_their_order_and_refusals_end_nothing() {
        let (address, serving) = answering(vec!["200 OK", "404 Not Found", "204 No Content"]).await;
        let posts = Posts::to(address);
        for image_id in ["a", "b", "c"] {
            posts.send(&found(image_id)).await;
        }
        let requests = serving.await.unwrap();
        posts.finish().await;
        for (request, image_id) in requests.iter().zip(["a", "b", "c"]) {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /matches?key=1 HTTP/1.1\r\n"), "{head}");
            let head = head.to_lowercase();
            assert!(head.contains("content-type: application/json") && head.contains("host: 127.0.0.1:"), "{head}");
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&value["image_id"], &value["watch"]), (&image_id.into(), &"red".into()));
        }
    }

    #[tokio::test]
    async fn an_address_that_is_full_is_called_again() {
        let (address, serving) = answering(vec!["503 Service Unavailable", "200 OK"]).await;
        assert!(post_patiently(&address, &found("a")).await.is_ok());
        assert_eq!(serving.await.unwrap().len(), 2);
        let (address, _serving) = answering(vec!["400 Bad Request"]).await;
        assert!(matches!(post_patiently(&address, &found("a")).await, Err(PostError::Answer(StatusCode::BAD_REQUEST))));
    }

    #[tokio::test]
    async fn nobody_waits_for_an_address_that_is_down_when_all_is_to_end() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", closed.local_addr().unwrap()).parse().unwrap();
        drop(closed);
        let posts = Posts::to(address);
        for _ in 0..5 {
            posts.send(&found("a")).await;
        }
        tokio::time::timeout(RETRY_FOR, posts.finish()).await.unwrap();
    }

    #[test]
    fn addresses_are_http() {
        assert!(parse_address("http://127.0.0.1:8080/matches").is_ok() && parse_address("http://[::1]/x").is_ok());
        for (wrong, told) in [
            ("https://a/", "--exec"),
            ("ftp://a/", "http://"),
            ("a", "http://"),
            ("", "http://"),
            ("http://u:p@a/", "password"),
        ] {
            let error = format!("{:#}", parse_address(wrong).unwrap_err());
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
