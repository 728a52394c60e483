//! Scores of rows by their codes: all of a gallery's, or those that meet a filter, on all threads of a search.

use super::EmbeddedError;
use super::abandonment::Abandonment;
use super::codes::CodedQuery;
use super::matrix::GalleryMatrix;
use std::ops::Range;

/// Which rows are scored for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowScan<'a> {
    pub(super) matrix: &'a GalleryMatrix,
    /// The rows that meet the query's conditions, in order; `None` for all rows.
    pub(super) rows: Option<&'a [u32]>,
    /// `[padded_dimension]` f32 of unit length, zero in the padding.
    pub(super) query: &'a [f32],
    /// Threads to use, the caller's among them.
    pub(super) threads: usize,
    /// Whether anybody waits for the search.
    pub(super) abandonment: &'a Abandonment,
}

/// A thread is worth starting for this many values; below, it costs more than it saves.
pub(super) const VALUES_PER_THREAD: usize = 1 << 23;

/// Rows from which on the coarse pass comes first: below, all of the codes are read in a few milliseconds.
pub(super) const COARSE_PASS_ROWS: usize = 200_000;

/// Rows scored in one go: their scores stay in the first-level cache.
const BLOCK_ROWS: usize = 512;

/// How many threads a search among so many rows of this gallery can make use of.
pub(super) fn useful_threads(matrix: &GalleryMatrix, rows: usize) -> usize {
    (rows * matrix.codes().padded_dimension()).div_ceil(VALUES_PER_THREAD)
}

/// How much of the codes is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The coarse halves.
    Coarse,
    /// All bits.
    Whole,
}

impl RowScan<'_> {
    pub(super) fn count(&self) -> usize {
        self.rows.map_or(self.matrix.rows(), <[u32]>::len)
    }

    /// Offers every row with its score, and the most by which that can be off, to what `new` makes for each thread. `new` is
    /// told how many rows will come.
    ///
    /// # Errors
    /// [`EmbeddedError::Abandoned`].
    pub(super) fn fold<Found: Send>(
        &self,
        coded: &CodedQuery,
        pass: Pass,
        new: impl Fn(usize) -> Found + Sync,
        offer: impl Fn(&mut Found, usize, f32, f32) + Sync,
    ) -> Result<Vec<Found>, EmbeddedError> {
        let parts = in_parallel(split(self.count(), self.threads), |range| {
            let mut found = new(range.len());
            let offer = |row, score| offer(&mut found, row, score, self.bound(coded, pass, row));
            match self.rows {
                Some(listed) => self.score_listed(coded, pass, &listed[range], offer),
                None => self.score_range(coded, pass, range, offer),
            }
            found
        });
        self.abandonment.check()?;
        Ok(parts)
    }

    #[inline]
    fn score_range(&self, coded: &CodedQuery, pass: Pass, rows: Range<usize>, mut offer: impl FnMut(usize, f32)) {
        let (mut scores, mut sums) = ([0.0; BLOCK_ROWS], Vec::with_capacity(BLOCK_ROWS));
        for first in rows.clone().step_by(BLOCK_ROWS) {
            if self.abandonment.is_abandoned() {
                return;
            }
            let count = BLOCK_ROWS.min(rows.end - first);
            self.score(coded, pass, first, &mut scores[..count], &mut sums);
            scores[..count].iter().enumerate().for_each(|(offset, &score)| offer(first + offset, score));
        }
    }

    #[inline]
    fn score_listed(&self, coded: &CodedQuery, pass: Pass, rows: &[u32], mut offer: impl FnMut(usize, f32)) {
        let (mut score, mut sums) = ([0.0], Vec::with_capacity(1));
        for rows in rows.chunks(BLOCK_ROWS) {
            if self.abandonment.is_abandoned() {
                return;
            }
            for &row in rows {
                self.score(coded, pass, row as usize, &mut score, &mut sums);
                offer(row as usize, score[0]);
            }
        }
    }

    #[inline]
    fn score(&self, coded: &CodedQuery, pass: Pass, first: usize, scores: &mut [f32], sums: &mut Vec<i32>) {
        match pass {
            Pass::Coarse => self.matrix.codes().coarse_scores(coded, first, scores, sums),
            Pass::Whole => self.matrix.codes().scores(coded, first, scores, sums),
        }
    }

    #[inline]
    fn bound(&self, coded: &CodedQuery, pass: Pass, row: usize) -> f32 {
        match pass {
            Pass::Coarse => self.matrix.codes().coarse_margin(row),
            Pass::Whole => self.matrix.codes().bound(coded, row),
        }
    }

    /// Of these rows those that are wanted, in order.
    pub(super) fn choose(&self, is_wanted: impl Fn(usize) -> bool + Sync) -> Vec<u32> {
        let parts = in_parallel(split(self.count(), self.threads), |range| {
            // A matrix of four billion rows does not fit into memory.
            let chosen: Vec<u32> = match self.rows {
                Some(listed) => listed[range].iter().copied().filter(|&row| is_wanted(row as usize)).collect(),
                None => range.filter(|&row| is_wanted(row)).map(|row| row as u32).collect(),
            };
            chosen
        });
        parts.concat()
    }
}

/// Works on all ranges at the same time, the first of them on this thread.
pub(super) fn in_parallel<Place: Send, Found: Send>(
    ranges: Vec<Range<Place>>,
    work: impl Fn(Range<Place>) -> Found + Sync,
) -> Vec<Found> {
    let mut ranges = ranges.into_iter();
    let Some(first) = ranges.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = ranges.map(|range| scope.spawn(move || work(range))).collect();
        let mut found = vec![work(first)];
        for thread in started {
            found.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        found
    })
}

/// Cuts `0..rows` into at most `parts` ranges of about equal length, none empty.
fn split(rows: usize, parts: usize) -> Vec<Range<usize>> {
    if rows == 0 {
        return Vec::new();
    }
    let length = rows.div_ceil(parts.max(1));
    (0..rows).step_by(length).map(|start| start..rows.min(start + length)).collect()
}

/// Dot product of two vectors of the same length.
///
/// One sum per lane leaves the compiler free to use vector registers. The result depends on the values alone, so that
/// equal embeddings always tie.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (left_blocks, left_rest) = left.as_chunks::<LANES>();
    let (right_blocks, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_cover_every_row_once() {
        for (rows, parts) in [(0, 3), (1, 3), (7, 3), (9, 3), (10, 4), (5, 1), (5, 0)] {
            let ranges = split(rows, parts);
            assert!(ranges.len() <= parts.max(1) && ranges.iter().all(|range| !range.is_empty()));
            assert_eq!(ranges.into_iter().flatten().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn dot_is_the_sum_of_products(pairs in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 0..100)) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let expected: f64 = left.iter().zip(&right).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            prop_assert!((f64::from(dot(&left, &right)) - expected).abs() < 1e-4);
        }
    }
}
