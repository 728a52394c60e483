//! What images have in common, as numbers, one for each row.

use super::interner::{ABSENT, Interner};
use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

/// Numbers of texts, or of other keys.
#[derive(Debug)]
pub(super) struct Column<Key = Arc<str>> {
    pub(super) texts: Interner<Key>,
    pub(super) numbers: Vec<u32>,
}

impl<Key> Default for Column<Key> {
    fn default() -> Self {
        Self { texts: Interner::default(), numbers: Vec::new() }
    }
}

/// A track by its name and its camera's, both as the numbers that they have in their own columns. A name keeps its number
/// as long as some row has it, so a pair means the same as long as some row has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CameraTrack {
    camera: u32,
    track: u32,
}

impl CameraTrack {
    /// Nothing for an image without track. One without camera has a camera of its own.
    pub(super) fn of(camera: u32, track: u32) -> Option<Self> {
        (track != ABSENT).then_some(Self { camera, track })
    }
}

impl From<&Self> for CameraTrack {
    fn from(pair: &Self) -> Self {
        *pair
    }
}

impl<Key: Hash + Eq + Clone> Column<Key> {
    pub(super) fn push<Wanted>(&mut self, key: Option<&Wanted>)
    where
        Wanted: Hash + Eq + ?Sized,
        Key: Borrow<Wanted> + for<'a> From<&'a Wanted>,
    {
        let number = self.texts.acquire(key);
        self.numbers.push(number);
    }

    pub(super) fn replace<Wanted>(&mut self, row: usize, key: Option<&Wanted>)
    where
        Wanted: Hash + Eq + ?Sized,
        Key: Borrow<Wanted> + for<'a> From<&'a Wanted>,
    {
        // Acquired first, so that an unchanged text keeps its number.
        let number = self.texts.acquire(key);
        self.texts.release(self.numbers[row]);
        self.numbers[row] = number;
    }

    pub(super) fn clear(&mut self, row: usize) {
        self.texts.release(self.numbers[row]);
        self.numbers[row] = ABSENT;
    }
}
