//! A filter in the numbers of one generation.

use super::matrix::{GalleryMatrix, NO_TIME};
use crate::SearchFilter;
use crate::StoreError;
use std::collections::HashMap;

/// A filter that can be asked about rows.
#[derive(Debug)]
pub(super) struct Conditions {
    /// Numbers in the database, sorted.
    ids: Option<Vec<i64>>,
    /// For the numbers of a column's texts: whether the text is wanted.
    persons: Option<Vec<bool>>,
    cameras: Option<Vec<bool>>,
    tracks: Option<Vec<bool>>,
    /// The same for declared attributes, by their place.
    attributes: Vec<(usize, Vec<bool>)>,
    captured: TimeRange,
    indexed: TimeRange,
    all: Vec<Conditions>,
    any: Vec<Conditions>,
    none: Vec<Conditions>,
}

/// Half open; an absent time is in no range but the unbounded one.
#[derive(Debug)]
struct TimeRange {
    from_ms: Option<i64>,
    before_ms: Option<i64>,
}

impl TimeRange {
    fn is_unbounded(&self) -> bool {
        self.from_ms.is_none() && self.before_ms.is_none()
    }

    fn contains(&self, time_ms: i64) -> bool {
        self.is_unbounded()
            || (time_ms != NO_TIME
                && self.from_ms.is_none_or(|from| time_ms >= from)
                && self.before_ms.is_none_or(|before| time_ms < before))
    }
}

impl Conditions {
    /// `ids` knows the number in the database of every image id that the filter names and that exists.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an attribute that the gallery does not declare.
    pub(super) fn new(
        filter: &SearchFilter,
        matrix: &GalleryMatrix,
        ids: &HashMap<String, i64>,
    ) -> Result<Self, StoreError> {
        let numbers = |wanted: &[String]| {
            let mut numbers: Vec<i64> = wanted.iter().filter_map(|image_id| ids.get(image_id).copied()).collect();
            numbers.sort_unstable();
            numbers
        };
        let mut attributes = Vec::with_capacity(filter.attributes.len());
        for condition in &filter.attributes {
            let declared = matrix.attributes.iter().enumerate().find(|(_, (name, _))| *name == condition.name);
            let (place, (_, column)) = declared.ok_or_else(|| {
                let names: Vec<String> = matrix.attributes.iter().map(|(name, _)| name.clone()).collect();
                SearchFilter::undeclared(&condition.name, &names)
            })?;
            attributes.push((place, column.texts.flags(&condition.values)));
        }
        let nested = |filters: &[SearchFilter]| {
            filters.iter().map(|filter| Self::new(filter, matrix, ids)).collect::<Result<Vec<_>, _>>()
        };
        let flags = |wanted: &[String], column: &super::columns::Column| {
            (!wanted.is_empty()).then(|| column.texts.flags(wanted))
        };
        Ok(Self {
            ids: (!filter.image_ids.is_empty()).then(|| numbers(&filter.image_ids)),
            persons: flags(&filter.person_ids, &matrix.persons),
            cameras: flags(&filter.camera_ids, &matrix.cameras),
            tracks: flags(&filter.track_ids, &matrix.tracks),
            attributes,
            captured: TimeRange { from_ms: filter.captured_from_ms, before_ms: filter.captured_before_ms },
            indexed: TimeRange { from_ms: filter.indexed_from_ms, before_ms: filter.indexed_before_ms },
            all: nested(&filter.all)?,
            any: nested(&filter.any)?,
            none: nested(&filter.none)?,
        })
    }

    fn is_unrestricted(&self) -> bool {
        self.ids.is_none()
            && self.persons.is_none()
            && self.cameras.is_none()
            && self.tracks.is_none()
            && self.attributes.is_empty()
            && self.captured.is_unbounded()
            && self.indexed.is_unbounded()
            && self.all.is_empty()
            && self.any.is_empty()
            && self.none.is_empty()
    }

    /// For each row whether it meets the conditions. One column after another: each loop is a few instructions a row.
    fn mask(&self, matrix: &GalleryMatrix) -> Vec<bool> {
        let mut mask = vec![true; matrix.rows()];
        let mut keep_texts = |flags: &[bool], numbers: &[u32]| {
            for (kept, number) in mask.iter_mut().zip(numbers) {
                *kept &= flags[*number as usize];
            }
        };
        if let Some(flags) = &self.cameras {
            keep_texts(flags, &matrix.cameras.numbers);
        }
        if let Some(flags) = &self.tracks {
            keep_texts(flags, &matrix.tracks.numbers);
        }
        if let Some(flags) = &self.persons {
            keep_texts(flags, &matrix.persons.numbers);
        }
        for (place, flags) in &self.attributes {
            let (_, column) = &matrix.attributes[*place];
            keep_texts(flags, &column.numbers);
        }
        for (range, times_ms) in [(&self.captured, &matrix.captured_at_ms), (&self.indexed, &matrix.indexed_at_ms)] {
            if !range.is_unbounded() {
                for (kept, time_ms) in mask.iter_mut().zip(times_ms) {
                    *kept &= range.contains(*time_ms);
                }
            }
        }
        if let Some(ids) = &self.ids {
            for (row, kept) in mask.iter_mut().enumerate().filter(|(_, kept)| **kept) {
                *kept = ids.binary_search(&matrix.id(row)).is_ok();
            }
        }
        let combine = |mask: &mut [bool], other: &[bool], keep: fn(bool) -> bool| {
            for (kept, other) in mask.iter_mut().zip(other) {
                *kept &= keep(*other);
            }
        };
        for conditions in &self.all {
            combine(&mut mask, &conditions.mask(matrix), |met| met);
        }
        for conditions in &self.none {
            combine(&mut mask, &conditions.mask(matrix), |met| !met);
        }
        if !self.any.is_empty() {
            let mut met_any = vec![false; mask.len()];
            for conditions in &self.any {
                for (met, other) in met_any.iter_mut().zip(conditions.mask(matrix)) {
                    *met |= other;
                }
            }
            combine(&mut mask, &met_any, |met| met);
        }
        mask
    }

    /// The rows that meet the conditions, in order; `None` for all rows.
    pub(super) fn matching_rows(&self, matrix: &GalleryMatrix) -> Option<Vec<u32>> {
        if self.is_unrestricted() && !matrix.has_gaps() {
            return None;
        }
        let mask = self.mask(matrix);
        let rows = mask.iter().enumerate().filter(|(row, met)| **met && !matrix.is_removed(*row));
        Some(rows.map(|(row, _)| row as u32).collect())
    }
}
