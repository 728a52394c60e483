//! How long the sums of whole groups are, which no search need compute twice.
//!
//! The score of a mean is the sum of the scores of its images, divided by the length of the sum of their embeddings. The
//! first part comes with a scan as any search makes one; the second has nothing to do with the query. It is kept here from
//! one search to the next, until an image of the group is written, moved or removed.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long a sum of embeddings is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SumLength {
    /// The length of the sum of the codes.
    pub(super) length: f32,
    /// How far the sum of the embeddings can be from that of the codes.
    pub(super) error: f32,
}

/// Lengths by the numbers of groups, eight bytes each. Searches, which only read a gallery, put in what they found out:
/// whoever looks at the same images finds the same, so it makes no difference who comes last.
#[derive(Debug, Default)]
pub(super) struct SumLengths {
    packed: Vec<AtomicU64>,
}

/// Both halves would be no numbers.
const UNKNOWN: u64 = u64::MAX;

impl SumLengths {
    pub(super) fn get(&self, group: usize) -> Option<SumLength> {
        let packed = self.packed.get(group)?.load(Ordering::Relaxed);
        // The halves of 64 bits.
        let (length, error) = (f32::from_bits((packed >> 32) as u32), f32::from_bits(packed as u32));
        (packed != UNKNOWN).then_some(SumLength { length, error })
    }

    pub(super) fn keep(&self, group: usize, SumLength { length, error }: SumLength) {
        if let Some(packed) = self.packed.get(group) {
            packed.store(u64::from(length.to_bits()) << 32 | u64::from(error.to_bits()), Ordering::Relaxed);
        }
    }

    /// The group is another one now, or a new one.
    pub(super) fn forget(&mut self, group: u32) {
        let group = group as usize;
        if group >= self.packed.len() {
            self.packed.resize_with(group + 1, || AtomicU64::new(UNKNOWN));
        }
        *self.packed[group].get_mut() = UNKNOWN;
    }

    pub(super) fn bytes(&self) -> usize {
        self.packed.len() * size_of::<AtomicU64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_kept_until_their_group_changes() {
        let mut lengths = SumLengths::default();
        let found = SumLength { length: 3.5, error: 0.25 };
        lengths.keep(2, found);
        assert_eq!(lengths.get(2), None, "no group of that number is known");
        lengths.forget(2);
        assert_eq!((lengths.get(2), lengths.bytes()), (None, 3 * 8));
        lengths.keep(2, found);
        assert_eq!((lengths.get(2), lengths.get(1)), (Some(found), None));
        lengths.forget(2);
        assert_eq!(lengths.get(2), None);
    }
}
