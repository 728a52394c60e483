//! Which images can be among the nearest, found by their codes.
//!
//! Every score from codes comes with the most by which it can be wrong. A row whose score could at best not reach what
//! the k-th best row has at least cannot be a hit; all others are candidates, whose embeddings are read and compared
//! exactly. So nothing is lost. In large galleries a first pass over the coarse halves of the codes chooses the rows for
//! the second. Its margin rests on statistics and was measured to lose nothing (`descry bench search store`); a query may
//! ask to go without it.

use super::codes::CodedQuery;
use super::groups::Groups;
use super::interner::ABSENT;
use super::matrix::GalleryMatrix;
use super::threshold::Threshold;
use std::ops::Range;

/// A row that can be a hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) row: u32,
    /// The most that its score can be.
    pub(super) highest: f32,
    /// The least.
    lowest: f32,
}

/// What to look for.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) matrix: &'a GalleryMatrix,
    /// The rows that meet the query's conditions, in order; `None` for all rows.
    pub(super) rows: Option<&'a [u32]>,
    /// `[padded_dimension]` f32 of unit length, zero in the padding.
    pub(super) query: &'a [f32],
    /// Hits wanted, at least one.
    pub(super) limit: usize,
    /// No hit scores below this.
    pub(super) min_score: f32,
    /// Whether the coarse pass must be left out.
    pub(super) exact: bool,
    /// Threads to use, the caller's among them.
    pub(super) threads: usize,
}

/// A thread is worth starting for this many values; below, it costs more than it saves.
const VALUES_PER_THREAD: usize = 1 << 23;

/// Rows from which on the coarse pass comes first: below, all of the codes are read in a few milliseconds.
const COARSE_PASS_ROWS: usize = 200_000;

/// Rows scored in one go: their scores stay in the first-level cache.
const BLOCK_ROWS: usize = 512;

/// How many threads a search among so many rows of this gallery can make use of.
pub(super) fn useful_threads(matrix: &GalleryMatrix, rows: usize) -> usize {
    (rows * matrix.codes().padded_dimension()).div_ceil(VALUES_PER_THREAD)
}

#[derive(Clone, Copy)]
enum Pass {
    Coarse,
    Whole,
}

impl Scan<'_> {
    /// The rows that can be among the `limit` nearest, by falling highest score.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let rows = self.count();
        let pass = if !self.exact && rows > COARSE_PASS_ROWS { Pass::Coarse } else { Pass::Whole };
        let coded = CodedQuery::of(self.query);
        let parts = in_parallel(split(rows, self.threads), |range| match self.rows {
            Some(listed) => self.scan_listed(&coded, pass, &listed[range]),
            None => self.scan_range(&coded, pass, range),
        });
        let mut candidates: Vec<Candidate> = parts.into_iter().flatten().collect();
        self.keep_possible(&mut candidates);
        for candidate in &mut candidates {
            let (score, bound) = self.matrix.codes().refined_score(self.query, candidate.row as usize);
            *candidate = Candidate { highest: score + bound, lowest: score - bound, ..*candidate };
        }
        self.keep_possible(&mut candidates);
        candidates.sort_unstable_by(|a, b| b.highest.total_cmp(&a.highest).then(a.row.cmp(&b.row)));
        candidates
    }

    /// The rows that can be the nearest image of one of the `limit` nearest groups, by falling highest score. Rows
    /// without group are left out.
    pub(super) fn group_candidates(&self, groups: &Groups<'_>) -> Vec<Candidate> {
        let coded = CodedQuery::of(self.query);
        let parts = in_parallel(split(self.count(), self.threads), |range| match self.rows {
            Some(listed) => self.scan_groups(&coded, groups, listed[range].iter().map(|&row| row as usize)),
            None => self.scan_groups(&coded, groups, range),
        });
        let mut candidates = Vec::with_capacity(parts.iter().map(|(candidates, _)| candidates.len()).sum());
        // What each group reaches at least.
        let mut least_of_group = vec![f32::NEG_INFINITY; groups.bound];
        for (found, least) in parts {
            candidates.extend(found);
            least_of_group.iter_mut().zip(least).for_each(|(group, least)| *group = group.max(least));
        }
        let mut threshold = Threshold::new(self.limit, least_of_group.len(), self.min_score);
        least_of_group.iter().filter(|least| least.is_finite()).for_each(|&least| threshold.offer(least));
        let least = threshold.value();
        candidates.retain(|candidate| {
            candidate.highest >= least
                && candidate.highest >= least_of_group[groups.numbers[candidate.row as usize] as usize]
        });
        candidates.sort_unstable_by(|a, b| b.highest.total_cmp(&a.highest).then(a.row.cmp(&b.row)));
        candidates
    }

    fn count(&self) -> usize {
        self.rows.map_or(self.matrix.rows(), <[u32]>::len)
    }

    /// The rows that belong to a group, and what each group reaches at least among them.
    fn scan_groups(
        &self,
        coded: &CodedQuery,
        groups: &Groups<'_>,
        rows: impl Iterator<Item = usize>,
    ) -> (Vec<Candidate>, Vec<f32>) {
        let numbers = &groups.numbers;
        let (mut score, mut sums) = ([0.0], Vec::with_capacity(1));
        let mut candidates = Vec::with_capacity(rows.size_hint().0);
        let mut least_of_group = vec![f32::NEG_INFINITY; groups.bound];
        for row in rows.filter(|&row| numbers[row] != ABSENT) {
            self.score(coded, Pass::Whole, row, &mut score, &mut sums);
            let bound = self.bound(coded, Pass::Whole, row);
            // A matrix of four billion rows does not fit into memory.
            let candidate = Candidate { row: row as u32, highest: score[0] + bound, lowest: score[0] - bound };
            let least = &mut least_of_group[numbers[row] as usize];
            *least = least.max(candidate.lowest);
            candidates.push(candidate);
        }
        (candidates, least_of_group)
    }

    fn scan_range(&self, coded: &CodedQuery, pass: Pass, rows: Range<usize>) -> Vec<Candidate> {
        let mut finds = Finds::new(self, rows.len());
        let (mut scores, mut sums) = ([0.0; BLOCK_ROWS], Vec::with_capacity(BLOCK_ROWS));
        for first in rows.clone().step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows.end - first);
            self.score(coded, pass, first, &mut scores[..count], &mut sums);
            for (offset, &score) in scores[..count].iter().enumerate() {
                finds.offer(first + offset, score, self.bound(coded, pass, first + offset));
            }
        }
        finds.candidates
    }

    fn scan_listed(&self, coded: &CodedQuery, pass: Pass, rows: &[u32]) -> Vec<Candidate> {
        let mut finds = Finds::new(self, rows.len());
        let (mut score, mut sums) = ([0.0], Vec::with_capacity(1));
        for &row in rows {
            let row = row as usize;
            self.score(coded, pass, row, &mut score, &mut sums);
            finds.offer(row, score[0], self.bound(coded, pass, row));
        }
        finds.candidates
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

    /// Drops what cannot be among the best.
    fn keep_possible(&self, candidates: &mut Vec<Candidate>) {
        let mut threshold = Threshold::new(self.limit, candidates.len(), self.min_score);
        candidates.iter().for_each(|candidate| threshold.offer(candidate.lowest));
        let least = threshold.value();
        candidates.retain(|candidate| candidate.highest >= least);
    }
}

/// The candidates of one thread.
struct Finds {
    threshold: Threshold,
    candidates: Vec<Candidate>,
    /// Grown to this, the list is cleared of what has become impossible.
    tidy_at: usize,
}

const LEAST_TIDY_AT: usize = 4_096;

impl Finds {
    fn new(scan: &Scan<'_>, rows: usize) -> Self {
        let threshold = Threshold::new(scan.limit, rows, scan.min_score);
        Self { threshold, candidates: Vec::new(), tidy_at: LEAST_TIDY_AT }
    }

    #[inline]
    fn offer(&mut self, row: usize, score: f32, bound: f32) {
        let highest = score + bound;
        if highest < self.threshold.value() {
            return;
        }
        let lowest = score - bound;
        self.threshold.offer(lowest);
        // A matrix of four billion rows does not fit into memory.
        self.candidates.push(Candidate { row: row as u32, highest, lowest });
        if self.candidates.len() >= self.tidy_at {
            let least = self.threshold.value();
            self.candidates.retain(|candidate| candidate.highest >= least);
            self.tidy_at = (2 * self.candidates.len()).max(LEAST_TIDY_AT);
        }
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
mod tests;
