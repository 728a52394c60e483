//! What is sent of an answer, and how much of it lies in memory.
//!
//! HTTP/2 keeps what the other side does not read. A reply is handed over in pieces, counts among the bytes of all replies
//! until the last of them is on its way, and tells when it began to wait for its reader.

use crate::connections::{OpenConnection, Unsent};
use crate::shares::{Exceeded, Peer, Share, Shares};
use bytes::Bytes;
use descry_retry::overloaded;
use http_body::{Body as _, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

/// Bytes that HTTP/2 gets at once. It keeps all of a piece as soon as the reader has room for the first byte of it.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// The end of a larger reply waits until the reply is on its way: with the end, HTTP/2's stream is off our hands, and what
/// it keeps of the reply cannot be taken back. A smaller one goes out in one write with its end.
const SMALL_BYTES: usize = 16 << 10;

/// A hint for callers whose reply found no room. Readers take their replies at their own pace.
const RETRY_AFTER_MS: u64 = 1_000;

/// Since when a reply waits for its reader; shared with what ends replies that wait too long.
#[derive(Debug, Default)]
pub(crate) struct ReaderWait(Mutex<Option<Instant>>);

impl ReaderWait {
    pub(crate) fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// Where the bytes of a reply are counted.
pub(crate) struct ReplyAccount {
    pub(crate) bytes: Arc<Shares>,
    /// Whose reply it is.
    pub(crate) peer: Option<Peer>,
    pub(crate) connection: Option<Arc<OpenConnection>>,
    /// Nothing where no server watches over the stream.
    pub(crate) wait: Option<Arc<ReaderWait>>,
}

impl ReplyAccount {
    /// The frame as bytes that count until the last piece of them is dropped, and the news of that.
    fn counted(&self, frame: Bytes) -> Result<(Bytes, oneshot::Receiver<()>), Status> {
        let share = self.bytes.take(self.peer, frame.len()).map_err(refused)?;
        // What is larger is watched by its stream, until the last of it is sent.
        let connection = self.connection.as_ref().filter(|_| frame.len() <= SMALL_BYTES);
        let unsent = connection.map(OpenConnection::begin_unsent);
        let (gone, is_gone) = oneshot::channel();
        let connection = self.connection.clone();
        Ok((
            Bytes::from_owner(CountedFrame { frame, connection, _share: share, _unsent: unsent, _gone: gone }),
            is_gone,
        ))
    }

    fn waits(&self) {
        if let Some(wait) = &self.wait {
            wait.set(Some(Instant::now()));
        }
    }

    fn waits_no_more(&self) {
        if let Some(wait) = &self.wait {
            wait.set(None);
        }
    }
}

fn refused(exceeded: Exceeded) -> Status {
    metrics::counter!("descry_replies_refused_total").increment(1);
    let whose = match exceeded {
        Exceeded::All => "callers",
        Exceeded::Peer => "this caller",
    };
    let message = format!("replies that {whose} did not read yet fill the memory for replies; try again in 1000 ms");
    overloaded(message, RETRY_AFTER_MS)
}

struct CountedFrame {
    frame: Bytes,
    connection: Option<Arc<OpenConnection>>,
    _share: Share,
    _unsent: Option<Unsent>,
    /// Closed when this is dropped.
    _gone: oneshot::Sender<()>,
}

impl Drop for CountedFrame {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.note_sent();
        }
    }
}

impl AsRef<[u8]> for CountedFrame {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// An answer's body in pieces. Without an account it is what it wraps.
pub(crate) struct ReplyBody {
    body: Body,
    account: Option<ReplyAccount>,
    /// What is left of the frame that is being sent.
    rest: Bytes,
    /// A large frame that is not on its way yet.
    unsent: Option<oneshot::Receiver<()>>,
    /// Why the answer ends before its body does.
    refused: bool,
}

impl ReplyBody {
    /// Without limits.
    pub(crate) fn unlimited(body: Body) -> Self {
        Self { body, account: None, rest: Bytes::new(), unsent: None, refused: false }
    }

    pub(crate) fn counted(body: Body, account: ReplyAccount) -> Self {
        Self { account: Some(account), ..Self::unlimited(body) }
    }

    fn next_piece(&mut self) -> Option<Frame<Bytes>> {
        if self.rest.is_empty() {
            return None;
        }
        Some(Frame::data(self.rest.split_to(self.rest.len().min(PIECE_BYTES))))
    }

    fn poll_counted(
        &mut self,
        account: &ReplyAccount,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.refused {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = self.next_piece() {
                account.waits();
                return Poll::Ready(Some(Ok(piece)));
            }
            if let Some(unsent) = &mut self.unsent {
                // The time goes on from the last piece.
                if Pin::new(unsent).poll(task).is_pending() {
                    return Poll::Pending;
                }
                self.unsent = None;
            }
            match Pin::new(&mut self.body).poll_frame(task) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match account.counted(data) {
                        Ok((counted, is_gone)) => {
                            self.unsent = (counted.len() > SMALL_BYTES).then_some(is_gone);
                            self.rest = counted;
                        }
                        Err(status) => {
                            // The rest of the answer is let go; what was sent before stays an unfinished answer.
                            (self.body, self.refused) = (Body::empty(), true);
                            return Poll::Ready(Some(Ok(Frame::trailers(trailers_of(&status)))));
                        }
                    },
                    Err(frame) => {
                        account.waits_no_more();
                        return Poll::Ready(Some(Ok(frame)));
                    }
                },
                Poll::Ready(end) => {
                    account.waits_no_more();
                    return Poll::Ready(end);
                }
                // It is not the reader that the answer waits for.
                Poll::Pending => {
                    account.waits_no_more();
                    return Poll::Pending;
                }
            }
        }
    }
}

/// A status as the end of an answer that has begun.
pub(crate) fn trailers_of(status: &Status) -> http::HeaderMap {
    let mut trailers = http::HeaderMap::new();
    // It is ours: its message is text, and its details are bytes in base64.
    let _ = status.add_header(&mut trailers);
    trailers
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(account) = self.account.take() else { return Pin::new(&mut self.body).poll_frame(task) };
        let polled = self.poll_counted(&account, task);
        self.account = Some(account);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.unsent.is_none() && (self.refused || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.account.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tonic::Code;

    /// A body of some frames, and trailers.
    struct Frames(Vec<usize>, bool);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            if !self.0.is_empty() {
                let bytes = self.0.remove(0);
                return Poll::Ready(Some(Ok(Frame::data(vec![7; bytes].into()))));
            }
            if std::mem::replace(&mut self.1, true) {
                return Poll::Ready(None);
            }
            let trailers = [(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))];
            Poll::Ready(Some(Ok(Frame::trailers(trailers.into_iter().collect()))))
        }
    }

    fn reply(frames: &[usize], bytes: &Arc<Shares>, wait: &Arc<ReaderWait>) -> ReplyBody {
        let account =
            ReplyAccount { bytes: Arc::clone(bytes), peer: None, connection: None, wait: Some(Arc::clone(wait)) };
        ReplyBody::counted(Body::new(Frames(frames.to_vec(), false)), account)
    }

    async fn next(body: &mut ReplyBody) -> Frame<Bytes> {
        poll_fn(|task| Pin::new(&mut *body).poll_frame(task)).await.unwrap().unwrap()
    }

    fn is_pending(body: &mut ReplyBody) -> bool {
        let mut task = Context::from_waker(std::task::Waker::noop());
        Pin::new(body).poll_frame(&mut task).is_pending()
    }

    #[tokio::test]
    async fn a_large_reply_counts_until_its_last_piece_is_gone() {
        let (bytes, wait) = (Shares::new(1 << 20, 1 << 20), Arc::new(ReaderWait::default()));
        let mut body = reply(&[200_000], &bytes, &wait);
        assert_eq!((bytes.taken(), wait.since()), (0, None));
        let mut pieces = Vec::new();
        for expected in [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 200_000 - 3 * PIECE_BYTES] {
            let piece = next(&mut body).await.into_data().unwrap();
            assert_eq!(piece.len(), expected);
            assert!(piece.iter().all(|byte| *byte == 7));
            pieces.push(piece);
            assert_eq!(bytes.taken(), 200_000);
            assert!(wait.since().is_some());
        }
        // The end comes when nothing of the reply lies in memory.
        assert!(is_pending(&mut body));
        pieces.truncate(1);
        assert!(is_pending(&mut body) && wait.since().is_some());
        pieces.clear();
        assert_eq!(bytes.taken(), 0);
        assert!(next(&mut body).await.is_trailers());
        assert_eq!(wait.since(), None);
    }

    #[tokio::test]
    async fn a_small_reply_does_not_wait_for_its_end() {
        let (bytes, wait) = (Shares::new(1 << 20, 1 << 20), Arc::new(ReaderWait::default()));
        let mut body = reply(&[SMALL_BYTES], &bytes, &wait);
        let piece = next(&mut body).await.into_data().unwrap();
        assert!(next(&mut body).await.is_trailers());
        assert_eq!(bytes.taken(), SMALL_BYTES);
        drop((piece, body));
        assert_eq!(bytes.taken(), 0);
    }

    #[tokio::test]
    async fn replies_beyond_the_memory_for_them_are_refused() {
        let (bytes, wait) = (Shares::new(100_000, 100_000), Arc::new(ReaderWait::default()));
        let mut unread = reply(&[90_000], &bytes, &wait);
        let _piece = next(&mut unread).await;
        let mut refused = reply(&[20_000, 20_000], &bytes, &wait);
        let trailers = next(&mut refused).await.into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(refused.is_end_stream());
        assert_eq!(bytes.taken(), 90_000);
        // Who goes away makes room.
        drop((unread, _piece));
        assert_eq!(bytes.taken(), 0);
        let mut fits = reply(&[20_000], &bytes, &wait);
        assert_eq!(next(&mut fits).await.into_data().unwrap().len(), 20_000);
    }
}
