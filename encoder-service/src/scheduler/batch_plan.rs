//! Whose turn it is, and which items of a queue run together.

use super::BatchLimits;
use super::job::Priority;

/// Padding that is always worth it: a run reads all the weights, whatever it computes with them.
pub(super) const FREE_PADDING_TOKENS: usize = 128;
/// Beyond that, at most one in this many tokens may be padding.
pub(super) const PADDING_SHARE: usize = 4;

/// Whose turn it is: interactive work's, and every n-th time bulk work's, where both wait.
#[derive(Debug)]
pub(super) struct Turns {
    bulk_every: usize,
    passed_over: usize,
}

impl Turns {
    pub(super) fn new(bulk_every: usize) -> Self {
        Self { bulk_every, passed_over: 0 }
    }

    /// Decides between those that wait, and remembers the decision.
    pub(super) fn take(&mut self, interactive_waits: bool, bulk_waits: bool) -> Option<Priority> {
        match (interactive_waits, bulk_waits) {
            (false, false) => None,
            (true, false) => Some(Priority::Interactive),
            (true, true) if self.passed_over + 1 < self.bulk_every => {
                self.passed_over += 1;
                Some(Priority::Interactive)
            }
            (_, true) => {
                self.passed_over = 0;
                Some(Priority::Bulk)
            }
        }
    }
}

/// A batch being built around its oldest item. The head is in it whatever its length, so no item waits for good.
#[derive(Debug)]
pub(super) struct BatchPlan {
    limits: BatchLimits,
    head_length: usize,
    items: usize,
    longest: usize,
    tokens: usize,
}

impl BatchPlan {
    pub(super) fn new(head_length: usize, limits: BatchLimits) -> Self {
        Self { limits, head_length, items: 1, longest: head_length, tokens: head_length }
    }

    pub(super) fn is_full(&self) -> bool {
        self.items >= self.limits.max_items
    }

    /// Adds from these waiting lengths, given in the order of arrival: those closest to the head's first, the older of
    /// two alike. Returns the ascending positions of what was added.
    pub(super) fn fill(&mut self, lengths: impl Iterator<Item = usize>) -> Vec<usize> {
        if self.is_full() {
            return Vec::new();
        }
        let mut nearest: Vec<(usize, usize, usize)> = lengths
            .enumerate()
            .map(|(position, length)| (length.abs_diff(self.head_length), position, length))
            .collect();
        nearest.sort_unstable();
        let mut added = Vec::new();
        for (_, position, length) in nearest {
            if self.is_full() {
                break;
            }
            // The next one may be shorter and fit again.
            if self.add(length) {
                added.push(position);
            }
        }
        added.sort_unstable();
        added
    }

    fn add(&mut self, length: usize) -> bool {
        let longest = self.longest.max(length);
        let computed = longest.saturating_mul(self.items + 1);
        let tokens = self.tokens.saturating_add(length);
        let padding = computed - tokens.min(computed);
        let fits = computed <= self.limits.max_tokens && padding <= FREE_PADDING_TOKENS.max(computed / PADDING_SHARE);
        if fits {
            (self.items, self.longest, self.tokens) = (self.items + 1, longest, tokens);
        }
        fits
    }
}
