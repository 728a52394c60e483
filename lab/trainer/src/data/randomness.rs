//! Random decisions that depend on the seed and on what they are for, never on the order of the work.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What a stream of random numbers is for; each purpose has its own for every epoch and place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// The order of an epoch's pairs: epoch, 0.
    Order,
    /// Changes of an image: epoch, place in the epoch.
    Image,
    /// Masks of a caption: epoch, place in the epoch.
    Caption,
}

/// A stream of random decisions.
#[derive(Debug, Clone)]
pub(super) struct Randomness(ChaCha8Rng);

impl Randomness {
    pub(super) fn new(seed: u64, purpose: Purpose, epoch: usize, place: usize) -> Self {
        let mut key = [0_u8; 32];
        let parts = [seed, purpose as u64, epoch as u64, place as u64];
        for (bytes, part) in key.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        // 53 bits are what a double holds exactly; more could round up to 1.
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `[low, high)`; `low` where both are equal.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`; 0 for an empty range.
    pub(super) fn index(&mut self, count: usize) -> usize {
        // The upper half of the product; it favours some numbers by less than one in 2^40 for any count that occurs.
        ((u128::from(self.0.next_u64()) * count as u128) >> 64) as usize
    }

    /// All orders alike (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, epoch, place| Randomness::new(seed, purpose, epoch, place).unit();
        let first = draw(1, Purpose::Image, 2, 3);
        assert_eq!(draw(1, Purpose::Image, 2, 3), first);
        for (seed, purpose, epoch, place) in [
            (2, Purpose::Image, 2, 3),
            (1, Purpose::Caption, 2, 3),
            (1, Purpose::Order, 2, 3),
            (1, Purpose::Image, 3, 2),
        ] {
            assert_ne!(draw(seed, purpose, epoch, place), first);
        }
    }

    #[test]
    fn numbers_stay_in_their_ranges_and_reach_all_of_them() {
        let mut randomness = Randomness::new(1, Purpose::Order, 0, 0);
        let mut counts = [0; 3];
        for _ in 0..3000 {
            counts[randomness.index(3)] += 1;
            assert!((2.0..4.0).contains(&randomness.between(2.0, 4.0)));
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(randomness.index(0), 0);
        assert!((0..100).all(|_| randomness.chance(1.0) && !randomness.chance(0.0)));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Randomness::new(7, Purpose::Order, 1, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
