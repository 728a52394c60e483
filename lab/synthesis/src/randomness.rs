//! Random decisions that depend on the seed and on what they are for, never on the order of the work.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};

/// What a stream of random numbers is for; each purpose has its own for every pair of numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// A person: identity, attempt.
    Identity,
    /// A picture: identity, image.
    Image,
    /// A camera's surroundings: camera, 0.
    Camera,
    /// The cameras that an identity passes: identity, 0.
    Route,
    /// What an image's captions say: identity, image.
    Captions,
}

/// A stream of random decisions.
#[derive(Debug, Clone)]
pub(crate) struct Randomness(ChaCha8Rng);

impl Randomness {
    pub(crate) fn new(seed: u64, purpose: Purpose, first: u64, second: u64) -> Self {
        let mut key = [0_u8; 32];
        let parts = [seed, purpose as u64, first, second];
        for (bytes, part) in key.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f32 {
        // 24 bits are what a float holds exactly; more could round up to 1.
        (self.0.next_u32() >> 8) as f32 / (1_u32 << 24) as f32
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn normal(&mut self, mean: f32, deviation: f32) -> f32 {
        let standard: f32 = StandardNormal.sample(&mut self.0);
        // Nothing drawn survives a value far out; three deviations are plenty of variety.
        mean + deviation * standard.clamp(-3.0, 3.0)
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`; 0 for an empty range.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        ((self.unit() * count as f32) as usize).min(count.saturating_sub(1))
    }

    /// -1 or 1.
    pub(crate) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// One of the choices.
    pub(crate) fn pick<T: Copy, const COUNT: usize>(&mut self, choices: [T; COUNT]) -> T {
        const { assert!(COUNT > 0) };
        choices[self.index(COUNT)]
    }

    /// One of the choices, each as likely as its weight says.
    pub(crate) fn weighted<T: Copy, const COUNT: usize>(&mut self, choices: [(T, f32); COUNT]) -> T {
        const { assert!(COUNT > 0) };
        let total: f32 = choices.iter().map(|(_, weight)| weight).sum();
        let mut left = self.unit() * total;
        for (choice, weight) in choices {
            left -= weight;
            if left < 0.0 {
                return choice;
            }
        }
        choices[0].0
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// 32 random bits, for noise.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, first, second| Randomness::new(seed, purpose, first, second).bits();
        assert_eq!(draw(1, Purpose::Image, 2, 3), draw(1, Purpose::Image, 2, 3));
        let others = [(2, Purpose::Image, 2, 3), (1, Purpose::Identity, 2, 3), (1, Purpose::Image, 3, 2)];
        for (seed, purpose, first, second) in others {
            assert_ne!(draw(1, Purpose::Image, 2, 3), draw(seed, purpose, first, second));
        }
    }

    #[test]
    fn weights_are_followed() {
        let mut randomness = Randomness::new(1, Purpose::Image, 0, 0);
        let drawn = (0..1000).filter(|_| randomness.weighted([(true, 1.0), (false, 3.0)])).count();
        assert!((200..300).contains(&drawn), "{drawn}");
        assert!((0..100).all(|_| randomness.weighted([(true, 1.0), (false, 0.0)])));
        assert!((0..1000).all(|_| randomness.index(3) < 3));
    }
}
