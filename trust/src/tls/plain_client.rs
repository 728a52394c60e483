//! What a client is told that speaks HTTP where TLS is spoken.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is said to it; clients of ours look for it in their errors.
pub(super) const SPEAK_TLS: &str = "this address speaks TLS: use https://";

/// How long its own words are waited for, and how much of them is read. A connection that is closed before has the answer lost.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_READ_BYTES: u64 = 64 << 10;

/// As every HTTP/2 connection begins; `PRI` is no method of HTTP/1.
const HTTP2: &[u8] = b"PRI";

/// Answers in the client's own protocol, and hangs up. What speaks neither is just hung up on.
pub(super) async fn turn_away(mut stream: TcpStream) {
    let mut beginning = [0; HTTP2.len()];
    let Ok(_) = tokio::time::timeout(PATIENCE, stream.peek(&mut beginning)).await else { return };
    let answer = if beginning == HTTP2 {
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

/// The settings with which a server has to begin, all of them as they are by default, and GOAWAY with INADEQUATE_SECURITY
/// (RFC 9113, sections 3.4, 6.8 and 7).
fn http2_goodbye() -> Vec<u8> {
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = (8 + SPEAK_TLS.len()) as u8;
    frames.extend([0, 0, length, 7, 0, 0, 0, 0, 0]);
    frames.extend([0, 0, 0, 0, 0, 0, 0, 0xc]);
    frames.extend(SPEAK_TLS.as_bytes());
    frames
}

fn http1_refusal() -> Vec<u8> {
    let length = SPEAK_TLS.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{SPEAK_TLS}\n"
    )
    .into_bytes()
}
