//! Which of the waiting items run together.

/// Sizes of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Items.
    pub(crate) max_items: usize,
    /// Items times the longest item's length: what is computed, padding included.
    pub(crate) max_tokens: usize,
}

/// Padding that is always worth it: a run reads all the weights, whatever it computes with them.
const FREE_PADDING_TOKENS: usize = 128;
/// Beyond that, at most one in this many tokens may be padding.
const PADDING_SHARE: usize = 4;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(head: usize, lengths: &[usize], max_items: usize, max_tokens: usize) -> Vec<usize> {
        BatchPlan::new(head, BatchLimits { max_items, max_tokens }).fill(lengths.iter().copied())
    }

    #[test]
    fn items_of_one_length_go_in_the_order_of_arrival() {
        assert_eq!(fill(1, &[1; 10], 4, usize::MAX), [0, 1, 2]);
        assert_eq!(fill(1, &[], 4, usize::MAX), [0_usize; 0]);
        assert_eq!(fill(1, &[1], 1, usize::MAX), [0_usize; 0]);
    }

    #[test]
    fn similar_lengths_go_together() {
        assert_eq!(fill(20, &[70, 21, 5, 19, 20], 4, 2048), [1, 3, 4]);
    }

    #[test]
    fn the_token_budget_counts_padding() {
        // Three of 30 make 90; the 40 would make 4 × 40.
        assert_eq!(fill(30, &[30, 30, 40], 8, 120), [0, 1]);
        // A head beyond the budget runs alone.
        assert_eq!(fill(200, &[200, 10], 8, 120), [0_usize; 0]);
    }

    #[test]
    fn a_little_padding_is_free_and_a_lot_is_not() {
        assert_eq!(fill(10, &[70], 8, 2048), [0]);
        assert_eq!(fill(10, &[10, 10, 10, 70], 8, 2048), [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn limits_hold_and_the_nearest_go_first(
            head in 2_usize..78,
            lengths in prop::collection::vec(2_usize..78, 0..80),
            max_items in 1_usize..40,
            max_tokens in 1_usize..3000,
        ) {
            let added = fill(head, &lengths, max_items, max_tokens);
            prop_assert!(added.windows(2).all(|pair| pair[0] < pair[1]));
            let batch: Vec<usize> = added.iter().map(|&position| lengths[position]).chain([head]).collect();
            let computed = batch.len() * batch.iter().copied().max().unwrap();
            let padding = computed - batch.iter().sum::<usize>();
            prop_assert!(batch.len() <= max_items);
            prop_assert!(added.is_empty() || computed <= max_tokens);
            prop_assert!(padding <= FREE_PADDING_TOKENS.max(computed / PADDING_SHARE));
            let alike = lengths.iter().filter(|&&length| length == head).count();
            let fitting = (max_items - 1).min((max_tokens / head).saturating_sub(1)).min(alike);
            prop_assert!(batch.iter().filter(|&&length| length == head).count() > fitting);
        }
    }
}
