//! Which groups can be among the nearest by their mean embeddings, found by their codes.
//!
//! The score of a mean is the sum of the scores of its images, divided by the length of the sum of their embeddings. The
//! scores come from a scan as any search makes one, each with the most by which it can be off; the length is known from an
//! earlier search (`sum_lengths`), or up to what the filter leaves out of the group, or not at all. That makes a range in
//! which the score of each group must be. Of the groups that are left the codes are added: the sum of a group's codes
//! differs from the sum of its embeddings by no more than the errors of the codes together, so the direction of the mean is
//! known up to an angle, and the score up to the chord of that angle. Groups whose score could at best not reach what the
//! k-th best has at least are no hits, all others are candidates, whose embeddings are read. So nothing is lost, whatever
//! the filter leaves of a group; for the coarse pass, which comes first in large galleries, see `scan`.

use super::EmbeddedError;
use super::codes::CodedQuery;
use super::groups::Groups;
use super::matrix::GalleryMatrix;
use super::row_scan::{COARSE_PASS_ROWS, Pass, RowScan, dot, in_parallel, useful_threads};
use super::sum_lengths::SumLength;
use super::threshold::Threshold;

/// A group that can be a hit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GroupCandidate {
    /// Its images, by their numbers in the database, rising.
    pub(super) images: Vec<i64>,
    /// The most that its score can be.
    pub(super) highest: f32,
    /// The least; nothing where it may have no score.
    lowest: f32,
}

/// Which groups to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeanScan<'a> {
    /// Among which rows.
    pub(super) rows: RowScan<'a>,
    pub(super) groups: Groups<'a>,
    /// Groups wanted, at least one.
    pub(super) limit: usize,
    /// No group scores below this.
    pub(super) min_score: f32,
    /// Whether the coarse pass must be left out.
    pub(super) exact: bool,
}

/// What the scores of a group's rows add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// float64, so that large groups round no worse than small ones.
    score: f64,
    /// The most by which it can be off.
    bound: f64,
    rows: u32,
}

/// What a sum of codes may be off for each of its rows by rounding in float32: sums are taken of so few rows at once that
/// it stays far below the errors of the codes.
const ROUNDING_PER_ROW: f64 = 2e-5;
const ROWS_PER_SUM: usize = 256;

/// For what the last operations round.
const ROUNDING: f32 = 2e-6;

/// Embeddings have a length of one up to rounding.
const LONGEST_EMBEDDING: f64 = 1.0 + 1e-5;

/// A sum shorter than this for each of its embeddings may have no direction, and the group no score.
const SHORTEST: f64 = 1e-5;

impl MeanScan<'_> {
    /// The groups that can be among the `limit` nearest, by falling highest score.
    ///
    /// # Errors
    /// [`EmbeddedError::Abandoned`].
    pub(super) fn candidates(&self) -> Result<Vec<GroupCandidate>, EmbeddedError> {
        let coded = CodedQuery::of(self.rows.query);
        let passes: &[Pass] = match !self.exact && self.rows.count() > COARSE_PASS_ROWS {
            true => &[Pass::Coarse, Pass::Whole],
            false => &[Pass::Whole],
        };
        let mut left: Option<Vec<u32>> = None;
        for &pass in passes {
            let rows = RowScan { rows: left.as_deref().or(self.rows.rows), ..self.rows };
            let rows = RowScan { threads: self.threads_for(rows.count()), ..rows };
            let is_possible = self.possible(&self.tally(&rows, &coded, pass)?);
            left = Some(rows.choose(|row| is_possible[self.groups.numbers[row] as usize]));
        }
        self.refine(left.unwrap_or_default())
    }

    fn threads_for(&self, rows: usize) -> usize {
        useful_threads(self.rows.matrix, rows).clamp(1, self.rows.threads.max(1))
    }

    /// Adds the scores of the rows of each group, which stands at its number.
    fn tally(&self, rows: &RowScan<'_>, coded: &CodedQuery, pass: Pass) -> Result<Vec<Tally>, EmbeddedError> {
        let new = |_| vec![Tally::default(); self.groups.bound];
        let offer = |tallies: &mut Vec<Tally>, row: usize, score: f32, bound: f32| {
            // Rows without group add up to one that is not looked at.
            let tally = &mut tallies[self.groups.numbers[row] as usize];
            tally.score += f64::from(score);
            tally.bound += f64::from(bound);
            tally.rows += 1;
        };
        let mut parts = rows.fold(coded, pass, new, offer)?.into_iter();
        let mut whole = parts.next().unwrap_or_default();
        for part in parts {
            for (whole, part) in whole.iter_mut().zip(part) {
                whole.score += part.score;
                whole.bound += part.bound;
                whole.rows += part.rows;
            }
        }
        Ok(whole)
    }

    /// For each number of a group whether it can be among the nearest.
    fn possible(&self, tallies: &[Tally]) -> Vec<bool> {
        let mut is_possible = vec![false; self.groups.bound];
        let mut threshold = Threshold::new(self.limit, tallies.len(), self.min_score);
        let mut estimated = Vec::new();
        for (group, tally) in tallies.iter().enumerate().skip(1).filter(|(_, tally)| tally.rows > 0) {
            let (lowest, highest) = self.estimate(group, tally);
            if highest >= threshold.value() {
                threshold.offer(lowest);
                estimated.push((group, highest));
            }
        }
        let least = threshold.value();
        for (group, _) in estimated.into_iter().filter(|(_, highest)| *highest >= least) {
            is_possible[group] = true;
        }
        is_possible
    }

    /// Between what the cosine of a group's mean to the query must be.
    fn estimate(&self, group: usize, tally: &Tally) -> (f32, f32) {
        let (low, high) = (tally.score - tally.bound, tally.score + tally.bound);
        let rows = f64::from(tally.rows);
        // A sum is at least as long as it reaches along the query, and at most as long as its parts together.
        let (mut shortest, mut longest) = (low.max(-high).max(0.0), rows * LONGEST_EMBEDDING);
        if let Some(SumLength { length, error }) = self.groups.lengths.get(group) {
            let left_out = f64::from(self.groups.rows_of(group)) - rows;
            let off = f64::from(error) + left_out * LONGEST_EMBEDDING;
            shortest = shortest.max(f64::from(length) - off);
            longest = longest.min(f64::from(length) + off);
        }
        let lowest = match shortest < SHORTEST * rows {
            true => f64::NEG_INFINITY,
            false => low / if low < 0.0 { shortest } else { longest },
        };
        let highest = (high / if high < 0.0 { longest } else { shortest }).min(1.0);
        (lowest as f32 - ROUNDING, highest as f32 + ROUNDING)
    }

    /// The groups of these rows by the sums of their codes.
    fn refine(&self, rows: Vec<u32>) -> Result<Vec<GroupCandidate>, EmbeddedError> {
        let RowScan { matrix, query, abandonment, .. } = self.rows;
        let threads = self.threads_for(rows.len());
        let members = self.groups.members(rows);
        let parts = in_parallel(members.split(threads), |places| {
            let mut sum = SumOfCodes::new(query.len());
            let mut threshold = Threshold::new(self.limit, places.len(), self.min_score);
            let mut found = Vec::new();
            for (group, rows) in members.at(places).take_while(|_| !abandonment.is_abandoned()) {
                let (lowest, highest) = sum.score(matrix, rows, query);
                if self.groups.rows_of(group as usize) as usize == rows.len() {
                    self.groups.lengths.keep(group as usize, sum.length);
                }
                if highest >= threshold.value() {
                    threshold.offer(lowest);
                    let images = rows.iter().map(|&row| matrix.id(row as usize)).collect();
                    found.push(GroupCandidate { images, highest, lowest });
                }
            }
            found
        });
        abandonment.check()?;
        let mut candidates: Vec<GroupCandidate> = parts.into_iter().flatten().collect();
        let mut threshold = Threshold::new(self.limit, candidates.len(), self.min_score);
        candidates.iter().for_each(|candidate| threshold.offer(candidate.lowest));
        let least = threshold.value();
        candidates.retain(|candidate| candidate.highest >= least);
        candidates.sort_unstable_by(|a, b| b.highest.total_cmp(&a.highest).then_with(|| a.images.cmp(&b.images)));
        Ok(candidates)
    }
}

/// Room to add codes in.
struct SumOfCodes {
    block: Vec<f32>,
    whole: Vec<f32>,
    /// How long the last sum is.
    length: SumLength,
}

impl SumOfCodes {
    fn new(padded_dimension: usize) -> Self {
        let length = SumLength { length: 0.0, error: 0.0 };
        Self { block: vec![0.0; padded_dimension], whole: vec![0.0; padded_dimension], length }
    }

    /// Between what the cosine of the rows' mean to the query must be.
    fn score(&mut self, matrix: &GalleryMatrix, rows: &[u32], query: &[f32]) -> (f32, f32) {
        let codes = matrix.codes();
        self.whole.fill(0.0);
        let mut error = 0.0_f64;
        for rows in rows.chunks(ROWS_PER_SUM) {
            self.block.fill(0.0);
            for &row in rows {
                error += f64::from(codes.add_row(row as usize, &mut self.block)) + ROUNDING_PER_ROW;
            }
            // One block more is one rounding more for all of its rows.
            self.whole.iter_mut().zip(&self.block).for_each(|(whole, block)| *whole += block);
        }
        error += rows.len().div_ceil(ROWS_PER_SUM) as f64 * 1e-7 * rows.len() as f64;
        let length = f64::from(dot(&self.whole, &self.whole)).sqrt();
        // Kept in float32, whose rounding is far below that of the sums.
        self.length = SumLength { length: length as f32, error: error as f32 };
        // A direction that is off by more than a right angle, or none, says nothing.
        if length - error < SHORTEST * rows.len() as f64 {
            return (f32::NEG_INFINITY, 1.0);
        }
        let sine = error / length;
        let score = (f64::from(dot(&self.whole, query)) / length) as f32;
        let chord = (2.0 - 2.0 * (1.0 - sine * sine).sqrt()).sqrt() as f32 + ROUNDING;
        (score - chord, score + chord)
    }
}

#[cfg(test)]
mod tests;
