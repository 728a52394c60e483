//! Which rows belong together.

use super::interner::ABSENT;
use super::matrix::GalleryMatrix;
use super::sum_lengths::SumLengths;
use crate::GroupBy;
use std::ops::Range;

/// The groups of a gallery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Groups<'a> {
    /// One number a row; [`ABSENT`] for none.
    pub(super) numbers: &'a [u32],
    /// One more than the highest number.
    pub(super) bound: usize,
    /// How many rows each has.
    rows: &'a [u32],
    /// How long the sums of all their embeddings are.
    pub(super) lengths: &'a SumLengths,
}

impl<'a> Groups<'a> {
    pub(super) fn of(matrix: &'a GalleryMatrix, by: GroupBy) -> Self {
        let (persons, tracks) = (&matrix.persons, &matrix.camera_tracks);
        let (numbers, bound, rows, lengths) = match by {
            GroupBy::Person => (&persons.numbers, persons.texts.bound(), persons.texts.uses(), &matrix.person_lengths),
            GroupBy::Track => (&tracks.numbers, tracks.texts.bound(), tracks.texts.uses(), &matrix.track_lengths),
        };
        Self { numbers, bound, rows, lengths }
    }

    /// How many rows a group has, whatever the filter leaves of them.
    pub(super) fn rows_of(&self, group: usize) -> u32 {
        self.rows.get(group).copied().unwrap_or_default()
    }

    /// Sorts rows by their groups. Those without group are left out.
    pub(super) fn members(&self, mut rows: Vec<u32>) -> Members {
        let group_of = |row: u32| self.numbers[row as usize];
        rows.retain(|&row| group_of(row) != ABSENT);
        rows.sort_unstable_by_key(|&row| (group_of(row), row));
        let mut groups = Vec::new();
        let mut end = 0;
        for rows in rows.chunk_by(|&a, &b| group_of(a) == group_of(b)) {
            end += rows.len();
            groups.extend(rows.first().map(|&row| (group_of(row), end)));
        }
        Members { rows, groups }
    }
}

/// Some groups with their rows.
#[derive(Debug)]
pub(super) struct Members {
    rows: Vec<u32>,
    /// Rising numbers of the groups, and where the rows of each end.
    groups: Vec<(u32, usize)>,
}

impl Members {
    /// The groups at some places, with their rows in order.
    pub(super) fn at(&self, places: Range<usize>) -> impl Iterator<Item = (u32, &[u32])> {
        places.map(|place| {
            let (group, end) = self.groups[place];
            (group, &self.rows[self.end_before(place)..end])
        })
    }

    fn end_before(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.groups[before].1)
    }

    /// Ranges of places with about equally many rows each.
    pub(super) fn split(&self, parts: usize) -> Vec<Range<usize>> {
        let share = self.rows.len().div_ceil(parts.max(1)).max(1);
        let mut ranges = Vec::with_capacity(parts);
        let mut begin = 0;
        while begin < self.groups.len() {
            let reached = self.end_before(begin) + share;
            let end = (self.groups.partition_point(|&(_, end)| end < reached) + 1).min(self.groups.len());
            ranges.push(begin..end);
            begin = end;
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However they are shared, every row is with its group, and every group comes once.
        #[test]
        fn members_are_all_rows_by_group(
            numbers in proptest::collection::vec(0u32..9, 0..60), parts in 0usize..5, step in 1usize..4,
        ) {
            let lengths = SumLengths::default();
            let groups = Groups { numbers: &numbers, bound: 9, rows: &[], lengths: &lengths };
            let rows: Vec<u32> = (0..numbers.len() as u32).step_by(step).collect();
            let members = groups.members(rows.clone());
            let found: Vec<(u32, Vec<u32>)> = members
                .split(parts)
                .into_iter()
                .flat_map(|places| members.at(places).map(|(group, rows)| (group, rows.to_vec())).collect::<Vec<_>>())
                .collect();
            let expected: Vec<(u32, Vec<u32>)> = (1..9)
                .map(|group| (group, rows.iter().copied().filter(|&row| numbers[row as usize] == group).collect()))
                .filter(|(_, rows): &(u32, Vec<u32>)| !rows.is_empty())
                .collect();
            prop_assert_eq!(found, expected);
            prop_assert!(members.split(parts).len() <= parts.max(1));
        }
    }
}
