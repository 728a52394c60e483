//! The images of one generation in memory: their codes, and what filters look at.
//!
//! Image ids, metadata and embeddings stay on disk. A row is found by its number in the database: rows are added with
//! rising numbers and never change their order, so a binary search does. A removed row keeps its place until so many
//! are removed that closing the gaps pays.

use super::codes::{Code, Codes};
use super::columns::{CameraTrack, Column};
use super::sum_lengths::SumLengths;
use crate::{ImageMetadata, WriteRange};

/// The time of an image without one.
pub(super) const NO_TIME: i64 = i64::MIN;

/// What a filter looks at, as integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowKeys<'a> {
    pub(super) person_id: Option<&'a str>,
    pub(super) camera_id: Option<&'a str>,
    pub(super) track_id: Option<&'a str>,
    pub(super) captured_at_ms: Option<i64>,
    pub(super) indexed_at_ms: i64,
    /// Where it is in the order of writes.
    pub(super) write_number: u64,
    /// Values of the declared attributes, in their order.
    pub(super) attributes: Vec<Option<&'a str>>,
}

impl<'a> RowKeys<'a> {
    pub(super) fn of(metadata: &'a ImageMetadata, write_number: u64, declared: &[String]) -> Self {
        Self {
            person_id: metadata.person_id.as_deref(),
            camera_id: metadata.camera_id.as_deref(),
            track_id: metadata.track_id.as_deref(),
            captured_at_ms: metadata.captured_at_ms,
            indexed_at_ms: metadata.indexed_at_ms,
            write_number,
            attributes: declared.iter().map(|name| metadata.attributes.get(name).map(String::as_str)).collect(),
        }
    }
}

/// The rows of one generation; every list has one entry a row, in the same order.
#[derive(Debug)]
pub(super) struct GalleryMatrix {
    codes: Codes,
    /// Numbers in the database, rising.
    ids: Vec<i64>,
    pub(super) persons: Column,
    pub(super) cameras: Column,
    /// Names of tracks, each of which counts within its camera.
    pub(super) tracks: Column,
    /// Tracks, told apart by their cameras too.
    pub(super) camera_tracks: Column<CameraTrack>,
    pub(super) person_lengths: SumLengths,
    pub(super) track_lengths: SumLengths,
    /// The declared attributes, by name.
    pub(super) attributes: Vec<(String, Column)>,
    pub(super) captured_at_ms: Vec<i64>,
    pub(super) indexed_at_ms: Vec<i64>,
    pub(super) write_numbers: Vec<u64>,
    removed: Vec<bool>,
    removed_count: usize,
}

impl GalleryMatrix {
    pub(super) fn new(dimension: usize, declared_attributes: &[String]) -> Self {
        let (ids, persons, cameras, tracks, camera_tracks, captured_at_ms) = Default::default();
        let (indexed_at_ms, write_numbers, removed, person_lengths, track_lengths) = Default::default();
        let attributes = declared_attributes.iter().map(|name| (name.clone(), Column::default())).collect();
        Self {
            codes: Codes::new(dimension),
            ids,
            persons,
            cameras,
            tracks,
            camera_tracks,
            person_lengths,
            track_lengths,
            attributes,
            captured_at_ms,
            indexed_at_ms,
            write_numbers,
            removed,
            removed_count: 0,
        }
    }

    /// Makes room for that many rows at once.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.codes.reserve(rows);
        self.ids.reserve_exact(rows);
        self.captured_at_ms.reserve_exact(rows);
        self.indexed_at_ms.reserve_exact(rows);
        self.write_numbers.reserve_exact(rows);
        self.removed.reserve_exact(rows);
        self.numbers_mut().for_each(|numbers| numbers.reserve_exact(rows));
    }

    /// The numbers of all columns.
    fn numbers_mut(&mut self) -> impl Iterator<Item = &mut Vec<u32>> {
        let own = [
            &mut self.persons.numbers,
            &mut self.cameras.numbers,
            &mut self.tracks.numbers,
            &mut self.camera_tracks.numbers,
        ];
        self.attributes.iter_mut().map(|(_, column)| &mut column.numbers).chain(own)
    }

    /// Number of images.
    pub(super) fn len(&self) -> usize {
        self.ids.len() - self.removed_count
    }

    /// Number of rows, those of removed images included.
    pub(super) fn rows(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_removed(&self, row: usize) -> bool {
        self.removed[row]
    }

    pub(super) fn has_gaps(&self) -> bool {
        self.removed_count > 0
    }

    pub(super) fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The number of a row in the database.
    pub(super) fn id(&self, row: usize) -> i64 {
        self.ids[row]
    }

    /// The first row whose number in the database is higher than `id`.
    pub(super) fn first_behind(&self, id: i64) -> usize {
        self.ids.partition_point(|&other| other <= id)
    }

    /// Of some rows, or of all that are there, those that were written in a stretch of the order of writes.
    pub(super) fn written_rows(&self, rows: Option<Vec<u32>>, range: WriteRange) -> Vec<u32> {
        let is_written = |row: &u32| range.contains(self.write_numbers[*row as usize]);
        match rows {
            Some(rows) => rows.into_iter().filter(is_written).collect(),
            // A matrix of four billion rows does not fit into memory.
            None => {
                let is_there = |row: &u32| !self.removed[*row as usize];
                (0..self.rows() as u32).filter(is_written).filter(is_there).collect()
            }
        }
    }

    /// Bytes in memory, about: names are not counted, which many images have in common.
    pub(super) fn bytes(&self) -> usize {
        // Persons, cameras, and tracks by themselves and by their cameras, besides the attributes.
        let columns = 4 + self.attributes.len();
        let lengths = self.person_lengths.bytes() + self.track_lengths.bytes();
        self.codes.bytes() + self.rows() * (8 + 8 + 8 + 8 + 1 + 4 * columns) + lengths
    }

    /// Adds the image with the database's number `id`, or replaces it.
    pub(super) fn upsert(&mut self, id: i64, code: &Code, keys: &RowKeys<'_>) {
        match self.row(id) {
            Some(row) => {
                self.codes.replace(row, code);
                self.forget_sums(row);
                self.set_keys(row, keys);
            }
            None => {
                // A code of this program always fits.
                let _fits = self.push(id, code.as_bytes(), keys);
            }
        }
    }

    /// Adds a row behind the last.
    ///
    /// # Errors
    /// When the code is damaged, or the number not higher than the last one's.
    pub(super) fn push(&mut self, id: i64, code: &[u8], keys: &RowKeys<'_>) -> Result<(), String> {
        if self.ids.last().is_some_and(|&last| last >= id) {
            return Err(format!("its number {id} is out of order"));
        }
        self.codes.push(code)?;
        self.ids.push(id);
        self.removed.push(false);
        self.persons.push(keys.person_id);
        self.cameras.push(keys.camera_id);
        self.tracks.push(keys.track_id);
        let camera_track = self.camera_track(self.ids.len() - 1);
        self.camera_tracks.push(camera_track.as_ref());
        self.forget_sums(self.ids.len() - 1);
        for ((_, column), text) in self.attributes.iter_mut().zip(&keys.attributes) {
            column.push(*text);
        }
        self.captured_at_ms.push(keys.captured_at_ms.unwrap_or(NO_TIME));
        self.indexed_at_ms.push(keys.indexed_at_ms);
        self.write_numbers.push(keys.write_number);
        Ok(())
    }

    /// Changes what filters look at, if the image is there.
    pub(super) fn update_keys(&mut self, id: i64, keys: &RowKeys<'_>) {
        if let Some(row) = self.row(id) {
            self.set_keys(row, keys);
        }
    }

    fn set_keys(&mut self, row: usize, keys: &RowKeys<'_>) {
        let before = (self.persons.numbers[row], self.camera_tracks.numbers[row]);
        self.persons.replace(row, keys.person_id);
        self.cameras.replace(row, keys.camera_id);
        self.tracks.replace(row, keys.track_id);
        let camera_track = self.camera_track(row);
        self.camera_tracks.replace(row, camera_track.as_ref());
        if before != (self.persons.numbers[row], self.camera_tracks.numbers[row]) {
            self.person_lengths.forget(before.0);
            self.track_lengths.forget(before.1);
            self.forget_sums(row);
        }
        for ((_, column), text) in self.attributes.iter_mut().zip(&keys.attributes) {
            column.replace(row, *text);
        }
        self.captured_at_ms[row] = keys.captured_at_ms.unwrap_or(NO_TIME);
        self.indexed_at_ms[row] = keys.indexed_at_ms;
        self.write_numbers[row] = keys.write_number;
    }

    /// The track of a row, told from those before other cameras.
    fn camera_track(&self, row: usize) -> Option<CameraTrack> {
        CameraTrack::of(self.cameras.numbers[row], self.tracks.numbers[row])
    }

    /// What was known of the sums that a row is part of no longer holds.
    fn forget_sums(&mut self, row: usize) {
        self.person_lengths.forget(self.persons.numbers[row]);
        self.track_lengths.forget(self.camera_tracks.numbers[row]);
    }

    /// Removes images that are there.
    pub(super) fn remove(&mut self, ids: &[i64]) {
        for &id in ids {
            let Some(row) = self.row(id) else { continue };
            self.removed[row] = true;
            self.removed_count += 1;
            self.forget_sums(row);
            self.persons.clear(row);
            self.cameras.clear(row);
            self.tracks.clear(row);
            self.camera_tracks.clear(row);
            self.attributes.iter_mut().for_each(|(_, column)| column.clear(row));
        }
        if self.removed_count * 4 > self.rows() {
            self.close_gaps();
        }
    }

    /// The row of an image, unless it is removed.
    fn row(&self, id: i64) -> Option<usize> {
        self.ids.binary_search(&id).ok().filter(|&row| !self.removed[row])
    }

    fn close_gaps(&mut self) {
        let mut kept = 0;
        for row in 0..self.rows() {
            if self.removed[row] {
                continue;
            }
            if row > kept {
                self.codes.move_row(row, kept);
                self.ids[kept] = self.ids[row];
                self.captured_at_ms[kept] = self.captured_at_ms[row];
                self.indexed_at_ms[kept] = self.indexed_at_ms[row];
                self.write_numbers[kept] = self.write_numbers[row];
                self.numbers_mut().for_each(|numbers| numbers[kept] = numbers[row]);
            }
            kept += 1;
        }
        self.codes.truncate(kept);
        self.ids.truncate(kept);
        self.captured_at_ms.truncate(kept);
        self.indexed_at_ms.truncate(kept);
        self.write_numbers.truncate(kept);
        self.numbers_mut().for_each(|numbers| numbers.truncate(kept));
        self.removed.clear();
        self.removed.resize(kept, false);
        self.removed_count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn keys(person: Option<&str>) -> RowKeys<'_> {
        let (camera_id, track_id, captured_at_ms, indexed_at_ms, write_number) = (None, None, None, 0, 0);
        RowKeys {
            person_id: person,
            camera_id,
            track_id,
            captured_at_ms,
            indexed_at_ms,
            write_number,
            attributes: vec![person],
        }
    }

    #[test]
    fn a_row_takes_what_its_lists_take() {
        let mut matrix = GalleryMatrix::new(512, &["coat".to_owned()]);
        matrix.push(1, Code::of(&[0.1; 512]).as_bytes(), &keys(Some("ann"))).unwrap();
        // As the module says: dimension + 57, and the attribute's four. The numbers of groups begin at one.
        assert_eq!(matrix.bytes(), 512 + 57 + 4 + 8 * (2 + 1));
    }

    proptest! {
        /// Whatever the order of writes and removals, the matrix holds what a plain map would.
        #[test]
        fn agrees_with_a_map(changes in proptest::collection::vec((1i64..30, 0u8..4, any::<bool>()), 0..80)) {
            let mut matrix = GalleryMatrix::new(2, &["coat".to_owned()]);
            let mut expected = BTreeMap::new();
            let mut highest = 0;
            for (id, person, remove) in changes {
                // The database never gives a number again.
                let known = expected.contains_key(&id);
                if remove {
                    matrix.remove(&[id]);
                    expected.remove(&id);
                } else if known || id > highest {
                    let person = person.to_string();
                    let code = Code::of(&[id as f32, 0.0]);
                    matrix.upsert(id, &code, &keys(Some(&person)));
                    expected.insert(id, person);
                    highest = highest.max(id);
                }
            }
            prop_assert_eq!(matrix.len(), expected.len());
            let rows = (0..matrix.rows()).filter(|&row| !matrix.is_removed(row));
            for (row, (id, person)) in rows.zip(&expected) {
                prop_assert_eq!(matrix.id(row), *id);
                let flags = matrix.persons.texts.flags(std::slice::from_ref(person));
                prop_assert!(flags[matrix.persons.numbers[row] as usize]);
                let flags = matrix.attributes[0].1.texts.flags(std::slice::from_ref(person));
                prop_assert!(flags[matrix.attributes[0].1.numbers[row] as usize]);
                let (score, _) = matrix.codes().refined_score(&[1.0, 0.0], row);
                prop_assert!((score - *id as f32).abs() < 1e-3);
            }
        }
    }
}
