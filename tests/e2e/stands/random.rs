//! Random numbers that a seed repeats.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.number() % (range.end() - range.start() + 1)
    }

    /// A span of time, down to the microsecond.
    pub(crate) fn moment(&mut self, most_ms: u64) -> Duration {
        Duration::from_micros(self.within(0..=most_ms * 1000))
    }

    /// Another source, for a task of its own.
    pub(crate) fn branch(&mut self) -> Self {
        Self(self.number())
    }

    /// A direction: values of a vector of length one.
    pub(crate) fn direction(&mut self, dimension: usize) -> Vec<f32> {
        // The upper 24 bits are as many as a float32 holds.
        let values: Vec<f32> = (0..dimension).map(|_| (self.number() >> 40) as f32 / 8_388_608.0 - 1.0).collect();
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        values.into_iter().map(|value| value / length).collect()
    }
}
