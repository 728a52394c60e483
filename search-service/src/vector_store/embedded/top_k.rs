//! The best few of many, in the order in which hits are reported.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// An image with its score. `Ord` is the order of the report: the better candidate is the smaller one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) score: f32,
    pub(super) image_id: &'a str,
    pub(super) row: usize,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.image_id.cmp(other.image_id))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}

/// Keeps the best `limit` candidates it has seen.
pub(super) struct TopK<'a> {
    limit: usize,
    /// The worst kept candidate is on top.
    kept: BinaryHeap<Candidate<'a>>,
}

impl<'a> TopK<'a> {
    /// Room is made for no more than `available` candidates, however large the limit.
    pub(super) fn new(limit: usize, available: usize) -> Self {
        Self { limit, kept: BinaryHeap::with_capacity(limit.min(available)) }
    }

    pub(super) fn offer(&mut self, candidate: Candidate<'a>) {
        if self.kept.len() < self.limit {
            self.kept.push(candidate);
        } else if let Some(mut worst) = self.kept.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Candidate<'a>> {
        self.kept.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_sorting(scores in proptest::collection::vec(-3i8..3, 0..60), limit in 0usize..70) {
            let ids: Vec<String> = (0..scores.len()).map(|row| format!("{:02}", row * 37 % 61)).collect();
            let all: Vec<Candidate<'_>> = scores
                .iter()
                .zip(&ids)
                .enumerate()
                .map(|(row, (&score, image_id))| Candidate { score: f32::from(score), image_id, row })
                .collect();
            let mut top = TopK::new(limit, all.len());
            all.iter().for_each(|&candidate| top.offer(candidate));

            let mut expected = all;
            expected.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap().then(a.image_id.cmp(b.image_id)));
            expected.truncate(limit);
            let rows = |candidates: &[Candidate<'_>]| candidates.iter().map(|hit| hit.row).collect::<Vec<_>>();
            prop_assert_eq!(rows(&top.into_sorted()), rows(&expected));
        }
    }
}
