//! Where the messages of a request begin and end, however its body is cut into pieces.

use std::convert::Infallible;

/// Each message has five bytes in front: a mark of compression, and its length.
#[derive(Default)]
pub(crate) struct MessageFrames {
    prefix: [u8; Self::PREFIX_BYTES],
    prefix_bytes: usize,
    /// Bytes that the message still lacks.
    missing: usize,
    /// Bytes of it that are there, its prefix among them.
    unfinished: usize,
}

impl MessageFrames {
    const PREFIX_BYTES: usize = 5;

    /// How many bytes of a message are there whose end is not.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Goes through the next bytes. Returns how many of a message are there whose end is not.
    pub(crate) fn advance(&mut self, data: &[u8]) -> usize {
        match self.advance_past(data, |_, _| Ok::<_, Infallible>(())) {
            Ok(()) => self.unfinished,
            Err(never) => match never {},
        }
    }

    /// Goes through the next bytes, and tells of each message that is announced in them its mark and its length.
    ///
    /// # Errors
    /// The first of what `announced` says; what is behind that message's prefix is not looked at.
    pub(crate) fn advance_past<Fault>(
        &mut self,
        mut data: &[u8],
        mut announced: impl FnMut(u8, usize) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !data.is_empty() {
            let lacking = Self::PREFIX_BYTES - self.prefix_bytes;
            let (taken, rest) = data.split_at(data.len().min(if lacking > 0 { lacking } else { self.missing }));
            data = rest;
            self.unfinished += taken.len();
            if lacking == 0 {
                self.missing -= taken.len();
            } else {
                self.prefix[self.prefix_bytes..][..taken.len()].copy_from_slice(taken);
                self.prefix_bytes += taken.len();
                if self.prefix_bytes == Self::PREFIX_BYTES {
                    let [mark, length @ ..] = self.prefix;
                    self.missing = u32::from_be_bytes(length) as usize;
                    announced(mark, self.missing)?;
                }
            }
            if self.prefix_bytes == Self::PREFIX_BYTES && self.missing == 0 {
                *self = Self::default();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of so many bytes.
    pub(crate) fn message(bytes: usize) -> Vec<u8> {
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
}
