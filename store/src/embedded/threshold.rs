//! The k-th largest of many numbers, while they come.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Keeps the `limit` largest numbers it has seen.
#[derive(Debug)]
pub(super) struct Threshold {
    limit: usize,
    /// The smallest kept number is on top.
    kept: BinaryHeap<Smallest>,
    /// No result may be below this.
    floor: f32,
}

#[derive(Debug, Clone, Copy)]
struct Smallest(f32);

impl Ord for Smallest {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}

impl PartialOrd for Smallest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Smallest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Smallest {}

impl Threshold {
    /// Room is made for no more than `available` numbers, however large the limit.
    pub(super) fn new(limit: usize, available: usize, floor: f32) -> Self {
        Self { limit, kept: BinaryHeap::with_capacity(limit.min(available)), floor }
    }

    /// What a number must reach to be among the `limit` largest.
    pub(super) fn value(&self) -> f32 {
        match self.kept.peek() {
            Some(smallest) if self.kept.len() >= self.limit => smallest.0.max(self.floor),
            _ => self.floor,
        }
    }

    pub(super) fn offer(&mut self, number: f32) {
        if self.kept.len() < self.limit {
            self.kept.push(Smallest(number));
        } else if let Some(mut smallest) = self.kept.peek_mut()
            && number > smallest.0
        {
            *smallest = Smallest(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_sorting(numbers in proptest::collection::vec(-3i8..3, 0..60), limit in 1usize..70) {
            let mut threshold = Threshold::new(limit, numbers.len(), -2.0);
            numbers.iter().for_each(|&number| threshold.offer(f32::from(number)));
            let mut sorted = numbers;
            sorted.sort_by(|a, b| b.cmp(a));
            let expected = sorted.get(limit - 1).map_or(-2.0, |&number| f32::from(number).max(-2.0));
            prop_assert_eq!(threshold.value(), expected);
        }
    }
}
