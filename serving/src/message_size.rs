//! How large a request's messages may be, which depends on its method: a request without image files or embeddings has no
//! need of megabytes.

use crate::message_frames::MessageFrames;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;
use tonic::body::Body;

/// A request's body, which ends with an error where a message is announced that is larger than is allowed. Nothing of that
/// message is taken in.
pub(crate) struct MeasuredBody {
    body: Body,
    max_bytes: usize,
    messages: MessageFrames,
    /// Whether the body of a request that needs one has a message yet.
    has_message: bool,
    ended: bool,
}

/// What is wrong with a body.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// A message of so many bytes.
    TooLarge(usize),
    /// No announced message may be compressed here, and there are no other marks.
    Compressed,
    /// It ends within a message, or before the one that it must have.
    EndsEarly,
}

impl MeasuredBody {
    /// `may_be_empty` holds for streams of requests, which may end before they begin.
    pub(crate) fn new(body: Body, max_bytes: usize, may_be_empty: bool) -> Self {
        Self { body, max_bytes, messages: MessageFrames::default(), has_message: may_be_empty, ended: false }
    }

    /// Goes through the next bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    fn measure(&mut self, data: &[u8]) -> Result<(), Fault> {
        let Self { messages, has_message, max_bytes, .. } = self;
        messages.advance_past(data, |mark, bytes| {
            *has_message = true;
            match mark {
                0 if bytes <= *max_bytes => Ok(()),
                0 => Err(Fault::TooLarge(bytes)),
                _ => Err(Fault::Compressed),
            }
        })
    }

    fn at_end(&self) -> Result<(), Fault> {
        let is_whole = self.has_message && self.messages.unfinished() == 0;
        if is_whole { Ok(()) } else { Err(Fault::EndsEarly) }
    }
}

impl http_body::Body for MeasuredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        let fault = match &frame {
            Some(Ok(frame)) => frame.data_ref().and_then(|data| self.measure(data).err()),
            Some(Err(_)) => None,
            None => self.at_end().err(),
        };
        let Some(fault) = fault else { return Poll::Ready(frame) };
        self.ended = true;
        let max_bytes = self.max_bytes;
        Poll::Ready(Some(Err(match fault {
            Fault::TooLarge(bytes) => Status::out_of_range(format!(
                "a message of {bytes} bytes is over this method's limit of {max_bytes} bytes \
                 (server.max_message_bytes, server.max_plain_message_bytes)"
            )),
            Fault::Compressed => Status::invalid_argument("message: compressed ones are not taken"),
            Fault::EndsEarly => Status::invalid_argument("message: the request ends too early"),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.body.is_end_stream() && self.at_end().is_ok())
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
        let mut body = MeasuredBody::new(Body::empty(), 1000, false);
        assert_eq!(body.measure(&[0, 0, 0, 3, 232]), Ok(()), "as many as are allowed");
        let mut body = MeasuredBody::new(Body::empty(), 1000, false);
        assert_eq!(body.measure(&[0, 0, 0, 3, 233]), Err(Fault::TooLarge(1001)));
        let mut body = MeasuredBody::new(Body::empty(), 1000, false);
        assert_eq!(body.measure(&[1, 0, 0, 0, 1]), Err(Fault::Compressed));
    }

    #[test]
    fn a_body_that_ends_early_is_said_to() {
        let mut body = MeasuredBody::new(Body::empty(), 1000, false);
        assert_eq!(body.at_end(), Err(Fault::EndsEarly), "no message at all");
        assert_eq!(MeasuredBody::new(Body::empty(), 1000, true).at_end(), Ok(()), "a stream may be empty");
        for (part, whole) in [(&[0, 0][..], false), (&[0, 0, 2], false), (&[7], false), (&[7], true)] {
            body.measure(part).unwrap();
            assert_eq!(body.at_end().is_ok(), whole);
        }
    }

    proptest! {
        /// However a stream of messages is cut into frames, it is refused exactly where one is too large.
        #[test]
        fn frames_may_end_anywhere(
            lengths in proptest::collection::vec(0_u32..40, 1..12), cuts in proptest::collection::vec(1_usize..20, 1..40),
        ) {
            let stream: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let mut body = MeasuredBody::new(Body::empty(), 30, false);
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
            let too_large = lengths.iter().find(|length| **length > 30).map(|length| Fault::TooLarge(*length as usize));
            prop_assert_eq!(result.err(), too_large);
        }
    }
}
