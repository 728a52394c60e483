//! How large a request's messages may be, which depends on its method: a request without image files or embeddings has no
//! need of megabytes.

use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;
use tonic::body::Body;

/// A mark of compression, and four bytes with the length of the message behind them.
const HEADER_BYTES: usize = 5;

/// A request's body, which ends with an error where a message is announced that is larger than is allowed. Nothing of that
/// message is taken in.
pub(crate) struct MeasuredBody {
    body: Body,
    max_bytes: usize,
    /// What has come of the next header.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// What is still to come of a message.
    missing_bytes: usize,
    refused: bool,
}

impl MeasuredBody {
    pub(crate) fn new(body: Body, max_bytes: usize) -> Self {
        Self { body, max_bytes, header: [0; HEADER_BYTES], header_bytes: 0, missing_bytes: 0, refused: false }
    }

    /// Goes through the next bytes.
    ///
    /// # Errors
    /// The length of a message that is too large.
    fn measure(&mut self, mut data: &[u8]) -> Result<(), usize> {
        while !data.is_empty() {
            if self.missing_bytes > 0 {
                let taken = self.missing_bytes.min(data.len());
                self.missing_bytes -= taken;
                data.advance(taken);
                continue;
            }
            let taken = (HEADER_BYTES - self.header_bytes).min(data.len());
            self.header[self.header_bytes..self.header_bytes + taken].copy_from_slice(&data[..taken]);
            self.header_bytes += taken;
            data.advance(taken);
            if self.header_bytes == HEADER_BYTES {
                let [_, length @ ..] = self.header;
                self.header_bytes = 0;
                self.missing_bytes = u32::from_be_bytes(length) as usize;
                if self.missing_bytes > self.max_bytes {
                    return Err(self.missing_bytes);
                }
            }
        }
        Ok(())
    }
}

impl http_body::Body for MeasuredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.refused {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(bytes) = self.measure(data)
        {
            self.refused = true;
            let max_bytes = self.max_bytes;
            let message = format!("a message of {bytes} bytes is over this method's limit of {max_bytes} bytes");
            return Poll::Ready(Some(Err(Status::out_of_range(message))));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(bytes: u32) -> Vec<u8> {
        [&[0][..], &bytes.to_be_bytes(), &vec![7; bytes as usize]].concat()
    }

    #[test]
    fn a_header_alone_is_enough_to_refuse() {
        let mut body = MeasuredBody::new(Body::empty(), 1000);
        assert_eq!(body.measure(&[0, 0, 0, 3, 232]), Ok(()), "as many as are allowed");
        let mut body = MeasuredBody::new(Body::empty(), 1000);
        assert_eq!(body.measure(&[0, 0, 0, 3, 233]), Err(1001));
    }

    proptest! {
        /// However a stream of messages is cut into frames, it is refused exactly where one is too large.
        #[test]
        fn frames_may_end_anywhere(
            lengths in proptest::collection::vec(0_u32..40, 1..12), cuts in proptest::collection::vec(1_usize..20, 1..40),
        ) {
            let stream: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let mut body = MeasuredBody::new(Body::empty(), 30);
            let mut rest = &stream[..];
            let mut result = Ok(());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || result.is_err() {
                    break;
                }
                let (frame, later) = rest.split_at((*cut).min(rest.len()));
                result = body.measure(frame);
                rest = later;
            }
            let too_large = lengths.iter().find(|length| **length > 30).map(|length| *length as usize);
            prop_assert_eq!(result.err(), too_large);
        }
    }
}
