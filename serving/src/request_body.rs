//! The bytes of requests that are not whole yet, or that are worked on.

use crate::message_frames::MessageFrames;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_frames::tests::message;
    use crate::shares::Shares;
    use std::future::poll_fn;
    use tonic::Code;

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
