//! What a client is told that speaks HTTP where TLS is spoken.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is said to it; clients of ours look for it in their errors.
pub(super) const SPEAK_TLS: &str = "this address speaks TLS: use https://";

/// How long its own words are waited for, and how much of them is read. A connection that is closed before has the answer lost.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_READ_BYTES: u64 = 64 << 10;

/// As every HTTP/2 connection begins; `PRI` is no method of HTTP/1.
const HTTP2: &[u8] = b"PRI";

/// What a client's connection begins with, before its frames.
const PREFACE_BYTES: u64 = 24;

/// A frame's head, and the type of the frame that opens a request (RFC 9113, sections 4.1 and 6.2).
const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;

/// What a server begins with: settings, all of them as they are by default.
const SETTINGS: [u8; FRAME_HEAD_BYTES] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Answers in the client's own protocol, and hangs up. What speaks neither is just hung up on.
///
/// A client over HTTP/2 is answered when it asks for something: a connection that is taken back before has its reason lost,
/// since the request that comes later finds it closed and no more. Whoever calls says how long a request is waited for.
pub(super) async fn turn_away(mut stream: TcpStream) {
    let mut beginning = [0; HTTP2.len()];
    let Ok(_) = tokio::time::timeout(PATIENCE, stream.peek(&mut beginning)).await else { return };
    let answer = if beginning == HTTP2 {
        if !is_asked_for_something(&mut stream).await.unwrap_or(false) {
            return;
        }
        http2_goodbye()
    } else if beginning[0].is_ascii_uppercase() {
        http1_refusal()
    } else {
        return;
    };
    let told = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(MAX_READ_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether the client listens is its own affair.
    let _ = tokio::time::timeout(PATIENCE, told).await;
}

/// Ends what was said to a client, and reads on for a moment: a connection that is closed with something unread is reset, and a
/// client that is writing at that moment never reads why.
pub(super) async fn let_hear(mut stream: TcpStream) {
    let heard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_READ_BYTES), &mut tokio::io::sink()).await
    };
    // Whether the client listens is its own affair.
    let _ = tokio::time::timeout(PATIENCE, heard).await;
}

/// Whether a client over HTTP/2 opens a request before it hangs up or has said too much.
async fn is_asked_for_something(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(&SETTINGS).await?;
    let mut said = stream.take(MAX_READ_BYTES);
    skip(&mut said, PREFACE_BYTES).await?;
    let mut head = [0; FRAME_HEAD_BYTES];
    loop {
        said.read_exact(&mut head).await?;
        let [high, middle, low, kind, ..] = head;
        if kind == HEADERS {
            return Ok(true);
        }
        skip(&mut said, u64::from(u32::from_be_bytes([0, high, middle, low]))).await?;
    }
}

async fn skip(said: &mut (impl AsyncRead + Unpin), bytes: u64) -> io::Result<u64> {
    tokio::io::copy(&mut said.take(bytes), &mut tokio::io::sink()).await
}

/// GOAWAY with INADEQUATE_SECURITY (RFC 9113, sections 6.8 and 7).
fn http2_goodbye() -> Vec<u8> {
    let length = (8 + SPEAK_TLS.len()) as u8;
    let mut frame = vec![0, 0, length, 7, 0, 0, 0, 0, 0];
    frame.extend([0, 0, 0, 0, 0, 0, 0, 0xc]);
    frame.extend(SPEAK_TLS.as_bytes());
    frame
}

fn http1_refusal() -> Vec<u8> {
    let length = SPEAK_TLS.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{SPEAK_TLS}\n"
    )
    .into_bytes()
}
