//! Which rows belong together, and which groups can be among the nearest by their mean embeddings.
//!
//! The sum of a group's codes is known in memory. It differs from the sum of its embeddings by no more than the errors of
//! the codes together; so the direction of the mean is known up to an angle, and the group's score up to the chord of that
//! angle. Groups whose score could at best not reach what the k-th best has at least are no hits, all others are
//! candidates, whose embeddings are read. So nothing is lost, whatever the filter leaves of a group.

use super::interner::ABSENT;
use super::matrix::GalleryMatrix;
use super::scan::{dot, in_parallel};
use super::threshold::Threshold;
use crate::GroupBy;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The group of each row.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    /// One number a row; [`ABSENT`] for none.
    pub(super) numbers: Cow<'a, [u32]>,
    /// One more than the highest number.
    pub(super) bound: usize,
}

impl<'a> Groups<'a> {
    pub(super) fn of(matrix: &'a GalleryMatrix, by: GroupBy) -> Self {
        match by {
            GroupBy::Person => {
                Self { numbers: Cow::Borrowed(&matrix.persons.numbers), bound: matrix.persons.texts.bound() }
            }
            GroupBy::Track => Self::of_tracks(&matrix.cameras.numbers, &matrix.tracks.numbers),
        }
    }

    /// A number for each pair of camera and track.
    fn of_tracks(cameras: &[u32], tracks: &[u32]) -> Self {
        let mut known: HashMap<(u32, u32), u32> = HashMap::new();
        let numbers = cameras.iter().zip(tracks).map(|(&camera, &track)| {
            if track == ABSENT {
                return ABSENT;
            }
            // A matrix of four billion rows does not fit into memory.
            let next = known.len() as u32 + 1;
            *known.entry((camera, track)).or_insert(next)
        });
        let numbers: Vec<u32> = numbers.collect();
        Self { numbers: Cow::Owned(numbers), bound: known.len() + 1 }
    }

    /// Sorts rows by their groups.
    pub(super) fn members(&self, rows: impl Iterator<Item = u32> + Clone) -> Members {
        let group_of = |row: u32| self.numbers[row as usize] as usize;
        let mut ends = vec![0_u32; self.bound + 1];
        let grouped = rows.filter(|&row| group_of(row) != ABSENT as usize);
        grouped.clone().for_each(|row| ends[group_of(row)] += 1);
        let mut begin = 0;
        for end in &mut ends {
            begin += std::mem::replace(end, begin);
        }
        let mut sorted = vec![0; begin as usize];
        for row in grouped {
            let place = &mut ends[group_of(row)];
            sorted[*place as usize] = row;
            *place += 1;
        }
        Members { rows: sorted, ends }
    }
}

/// The rows of each group, in their order.
#[derive(Debug)]
pub(super) struct Members {
    rows: Vec<u32>,
    /// Where each group ends.
    ends: Vec<u32>,
}

impl Members {
    pub(super) fn of(&self, group: u32) -> &[u32] {
        let group = group as usize;
        let begin = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.rows[begin as usize..self.ends[group] as usize]
    }

    /// Ranges of groups with about equally many rows each.
    fn split(&self, parts: usize) -> Vec<Range<u32>> {
        let groups = self.ends.len() as u32;
        let share = self.rows.len().div_ceil(parts.max(1)).max(1);
        let mut ranges = Vec::with_capacity(parts);
        let mut begin = 0;
        while begin < groups {
            let reached = begin.checked_sub(1).map_or(0, |before| self.ends[before as usize]) as usize + share;
            let end = (self.ends.partition_point(|&end| (end as usize) < reached) as u32 + 1).min(groups);
            ranges.push(begin..end.max(begin + 1));
            begin = end.max(begin + 1);
        }
        ranges
    }
}

/// A group that can be a hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GroupCandidate {
    pub(super) group: u32,
    /// The most that its score can be.
    pub(super) highest: f32,
    lowest: f32,
}

/// What a sum of codes may be off for each of its rows by rounding in float32: sums are taken of so few rows at once that
/// it stays far below the errors of the codes.
const ROUNDING_PER_ROW: f64 = 2e-5;
const ROWS_PER_SUM: usize = 256;

/// For what the last operations round.
const ROUNDING: f32 = 2e-6;

/// Which groups to look for.
#[derive(Debug)]
pub(super) struct MeanScan<'a> {
    pub(super) matrix: &'a GalleryMatrix,
    pub(super) members: &'a Members,
    /// `[padded_dimension]` f32 of unit length, zero in the padding.
    pub(super) query: &'a [f32],
    /// Groups wanted, at least one.
    pub(super) limit: usize,
    /// No group scores below this.
    pub(super) min_score: f32,
    /// Threads to use, the caller's among them.
    pub(super) threads: usize,
}

impl MeanScan<'_> {
    /// The groups that can be among the `limit` nearest, by falling highest score.
    pub(super) fn candidates(&self) -> Vec<GroupCandidate> {
        let parts = in_parallel(self.members.split(self.threads), |groups| {
            let mut sum = SumOfCodes::new(self.query.len());
            let mut threshold = Threshold::new(self.limit, groups.len(), self.min_score);
            let mut found = Vec::new();
            for group in groups.filter(|&group| !self.members.of(group).is_empty()) {
                let (lowest, highest) = sum.score(self.matrix, self.members.of(group), self.query);
                if highest >= threshold.value() {
                    threshold.offer(lowest);
                    found.push(GroupCandidate { group, highest, lowest });
                }
            }
            found
        });
        let mut candidates: Vec<GroupCandidate> = parts.into_iter().flatten().collect();
        let mut threshold = Threshold::new(self.limit, candidates.len(), self.min_score);
        candidates.iter().for_each(|candidate| threshold.offer(candidate.lowest));
        let least = threshold.value();
        candidates.retain(|candidate| candidate.highest >= least);
        candidates.sort_unstable_by(|a, b| b.highest.total_cmp(&a.highest).then(a.group.cmp(&b.group)));
        candidates
    }
}

/// Room to add codes in.
struct SumOfCodes {
    block: Vec<f32>,
    whole: Vec<f32>,
}

impl SumOfCodes {
    fn new(padded_dimension: usize) -> Self {
        Self { block: vec![0.0; padded_dimension], whole: vec![0.0; padded_dimension] }
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
        let sine = error / length;
        // A direction that is off by more than a right angle, or none, says nothing.
        if sine.is_nan() || sine >= 1.0 {
            return (-1.0, 1.0);
        }
        let score = (f64::from(dot(&self.whole, query)) / length) as f32;
        let chord = (2.0 - 2.0 * (1.0 - sine * sine).sqrt()).sqrt() as f32 + ROUNDING;
        (score - chord, score + chord)
    }
}
