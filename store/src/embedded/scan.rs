//! Which images can be among the nearest, found by their codes.
//!
//! Every score from codes comes with the most by which it can be wrong. A row whose score could at best not reach what
//! the k-th best row has at least cannot be a hit; all others are candidates, whose embeddings are read and compared
//! exactly. So nothing is lost. In large galleries a first pass over the coarse halves of the codes chooses the rows for
//! the second. Its margin rests on statistics and was measured to lose nothing (`descry bench search store`); a query may
//! ask to go without it.

use super::EmbeddedError;
use super::codes::CodedQuery;
use super::groups::Groups;
use super::interner::ABSENT;
use super::row_scan::{COARSE_PASS_ROWS, Pass, RowScan};
use super::threshold::Threshold;

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
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    /// Where.
    pub(super) rows: RowScan<'a>,
    /// Hits wanted, at least one.
    pub(super) limit: usize,
    /// No hit scores below this.
    pub(super) min_score: f32,
    /// Whether the coarse pass must be left out.
    pub(super) exact: bool,
}

impl Scan<'_> {
    /// The rows that can be among the `limit` nearest, by falling highest score.
    ///
    /// # Errors
    /// [`EmbeddedError::Abandoned`].
    pub(super) fn candidates(&self) -> Result<Vec<Candidate>, EmbeddedError> {
        let RowScan { matrix, query, .. } = self.rows;
        let pass = if !self.exact && self.rows.count() > COARSE_PASS_ROWS { Pass::Coarse } else { Pass::Whole };
        let offer = |finds: &mut Finds, row, score, bound| finds.offer(row, score, bound);
        let parts = self.rows.fold(&CodedQuery::of(query), pass, |rows| Finds::new(self, rows), offer)?;
        let mut candidates: Vec<Candidate> = parts.into_iter().flat_map(|finds| finds.candidates).collect();
        self.keep_possible(&mut candidates);
        for candidate in &mut candidates {
            let (score, bound) = matrix.codes().refined_score(query, candidate.row as usize);
            *candidate = Candidate { highest: score + bound, lowest: score - bound, ..*candidate };
        }
        self.keep_possible(&mut candidates);
        candidates.sort_unstable_by(|a, b| b.highest.total_cmp(&a.highest).then(a.row.cmp(&b.row)));
        Ok(candidates)
    }

    /// The rows that can be the nearest image of one of the `limit` nearest groups, by falling highest score. Rows
    /// without group are left out.
    ///
    /// # Errors
    /// [`EmbeddedError::Abandoned`].
    pub(super) fn group_candidates(&self, groups: &Groups<'_>) -> Result<Vec<Candidate>, EmbeddedError> {
        let new = |rows| (Vec::with_capacity(rows), vec![f32::NEG_INFINITY; groups.bound]);
        let offer = |(candidates, least_of_group): &mut (Vec<Candidate>, Vec<f32>), row: usize, score, bound| {
            let group = groups.numbers[row];
            if group == ABSENT {
                return;
            }
            // A matrix of four billion rows does not fit into memory.
            let candidate = Candidate { row: row as u32, highest: score + bound, lowest: score - bound };
            let least = &mut least_of_group[group as usize];
            *least = least.max(candidate.lowest);
            candidates.push(candidate);
        };
        let parts = self.rows.fold(&CodedQuery::of(self.rows.query), Pass::Whole, new, offer)?;
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
        Ok(candidates)
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

#[cfg(test)]
mod tests;
