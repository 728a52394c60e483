//! The bytes of requests that are not whole yet, or that are worked on.

use crate::shares::{Exceeded, Share};
use bytes::Bytes;
use descry_retry::overloaded;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tonic::Status;
use tonic::body::Body;

const RETRY_AFTER_MS: u64 = 1_000;

/// A request's body, counted among the bytes of all requests.
pub(crate) struct RequestBody {
    body: Body,
    share: Arc<Mutex<Share>>,
    /// Of a stream, whose messages are the method's to count as soon as they are whole.
    messages: Option<MessageFrames>,
}

impl RequestBody {
    pub(crate) fn new(body: Body, share: Arc<Mutex<Share>>, is_stream: bool) -> Self {
        Self { body, share, messages: is_stream.then(MessageFrames::default) }
    }

    fn count(&mut self, data: &[u8]) -> Result<(), Exceeded> {
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(messages) = &mut self.messages else { return share.grow(data.len()) };
        let unfinished = messages.advance(data);
        share.give_back();
        share.grow(unfinished)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(exceeded) = self.count(data)
        {
            self.body = Body::empty();
            return Poll::Ready(Some(Err(refused(exceeded))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn refused(exceeded: Exceeded) -> Status {
    metrics::counter!("descry_grpc_requests_refused_total").increment(1);
    let whose = match exceeded {
        Exceeded::All => "requests",
        Exceeded::Peer => "this caller's requests",
    };
    overloaded(format!("{whose} fill the memory for requests; try again in 1000 ms"), RETRY_AFTER_MS)
}

/// Where messages begin and end: each has five bytes in front, of which the last four are its length.
#[derive(Default)]
struct MessageFrames {
    prefix: [u8; Self::PREFIX_BYTES],
    prefix_bytes: usize,
    /// Bytes that the message still lacks.
    missing: usize,
    /// Bytes of it that are there.
    unfinished: usize,
}

impl MessageFrames {
    const PREFIX_BYTES: usize = 5;

    /// How many bytes of a message are there whose end is not.
    fn advance(&mut self, mut data: &[u8]) -> usize {
        while !data.is_empty() {
            let lacking = Self::PREFIX_BYTES - self.prefix_bytes;
            let (taken, rest) = data.split_at(data.len().min(if lacking > 0 { lacking } else { self.missing }));
            data = rest;
            self.unfinished += taken.len();
            if lacking > 0 {
                self.prefix[self.prefix_bytes..][..taken.len()].copy_from_slice(taken);
                self.prefix_bytes += taken.len();
                let [_, length @ ..] = self.prefix;
                self.missing = u32::from_be_bytes(length) as usize;
            } else {
                self.missing -= taken.len();
            }
            if self.prefix_bytes == Self::PREFIX_BYTES && self.missing == 0 {
                *self = Self::default();
            }
        }
        self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::Shares;
    use proptest::prelude::*;
    use std::future::poll_fn;
    use tonic::Code;

    fn message(bytes: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
        message.resize(5 + bytes, 9);
        message
    }

    proptest! {
        #[test]
        fn messages_end_where_they_end(
            lengths in proptest::collection::vec(0_usize..40, 1..8),
            pieces in proptest::collection::vec(1_usize..30, 1..30),
        ) {
            let stream: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let ends: Vec<usize> = lengths.iter().scan(0, |end, length| {
                *end += 5 + length;
                Some(*end)
            }).collect();
            let (mut frames, mut at) = (MessageFrames::default(), 0);
            for piece in pieces {
                let until = (at + piece).min(stream.len());
                let unfinished = frames.advance(&stream[at..until]);
                let last_end = ends.iter().copied().filter(|end| *end <= until).max().unwrap_or_default();
                prop_assert_eq!(unfinished, until - last_end);
                at = until;
            }
        }
    }

    async fn read(body: &mut RequestBody) -> Result<usize, Status> {
        let frame = poll_fn(|task| http_body::Body::poll_frame(Pin::new(&mut *body), task)).await;
        Ok(frame.transpose()?.and_then(|frame| frame.into_data().ok()).map_or(0, |data| data.len()))
    }

    /// A body that comes in pieces of ten bytes.
    struct Slow(Vec<u8>);

    impl http_body::Body for Slow {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            let bytes = self.0.len().min(10);
            let piece: Vec<u8> = self.0.drain(..bytes).collect();
            Poll::Ready((bytes > 0).then(|| Ok(Frame::data(piece.into()))))
        }
    }

    #[tokio::test]
    async fn unfinished_messages_are_bounded_together() {
        let shares = Shares::new(25, 25);
        let body = |is_stream| {
            let share = Arc::new(Mutex::new(shares.take(None, 0).unwrap()));
            (RequestBody::new(Body::new(Slow(message(45))), Arc::clone(&share), is_stream), share)
        };
        let (mut first, held) = body(false);
        assert_eq!((read(&mut first).await.unwrap(), read(&mut first).await.unwrap()), (10, 10));
        let (mut second, _) = body(true);
        assert_eq!(read(&mut second).await.unwrap_err().code(), Code::ResourceExhausted);
        // What was read of a request counts until the request has ended.
        drop(first);
        assert_eq!(shares.taken(), 20);
        drop(held);
        assert_eq!(shares.taken(), 0);
    }

    #[tokio::test]
    async fn a_streams_messages_count_until_they_are_whole() {
        let shares = Shares::new(50, 50);
        let share = Arc::new(Mutex::new(shares.take(None, 0).unwrap()));
        let stream: Vec<u8> = (0..20).flat_map(|_| message(35)).collect();
        let mut body = RequestBody::new(Body::new(Slow(stream)), share, true);
        let mut taken = Vec::new();
        while read(&mut body).await.unwrap() > 0 {
            taken.push(shares.taken());
        }
        assert_eq!(taken[..8], [10, 20, 30, 0, 10, 20, 30, 0]);
    }
}
