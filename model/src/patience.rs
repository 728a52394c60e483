//! Work on an image that ends when nobody waits for it any more.
//!
//! A file of a few bytes can be a picture of many pixels, and no decoder of ours can be stopped from outside. So all of them
//! read through [`PatientReader`], which fails once the work is over, and what we do ourselves, row by row, asks in between.

use crate::ModelError;
use std::fmt;
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};

/// Whether somebody still waits for an image. Once it is over it has to stay so.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    is_over: &'a dyn Fn() -> bool,
}

impl fmt::Debug for Patience<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Patience").field("is_over", &(self.is_over)()).finish()
    }
}

impl Patience<'static> {
    /// For work that is done to its end.
    pub const ENDLESS: Self = Self { is_over: &|| false };
}

impl<'a> Patience<'a> {
    /// Patience until `is_over` says so. It is asked every few milliseconds of work, and must be quick.
    pub fn until(is_over: &'a dyn Fn() -> bool) -> Self {
        Self { is_over }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`ModelError::Abandoned`].
    pub fn check(self) -> Result<(), ModelError> {
        if (self.is_over)() { Err(ModelError::Abandoned) } else { Ok(()) }
    }

    /// What a failure is: a decoder whose reader failed tells it in words of its own.
    pub(crate) fn or_abandoned(self, error: ModelError) -> ModelError {
        self.check().err().unwrap_or(error)
    }
}

/// Samples that are computed between two looks at the patience: some milliseconds.
const SAMPLES_A_CHECK: usize = 1 << 20;

/// Counts work, and looks at the patience every so many samples.
pub(crate) struct Checkpoint<'a> {
    patience: Patience<'a>,
    samples: usize,
}

impl<'a> Checkpoint<'a> {
    pub(crate) fn new(patience: Patience<'a>) -> Self {
        Self { patience, samples: 0 }
    }

    /// So many samples have been computed.
    ///
    /// # Errors
    /// [`ModelError::Abandoned`].
    pub(crate) fn pass(&mut self, samples: usize) -> Result<(), ModelError> {
        self.samples += samples;
        if self.samples < SAMPLES_A_CHECK {
            return Ok(());
        }
        self.samples = 0;
        self.patience.check()
    }
}

/// Bytes that a decoder is given between two looks at the patience.
const PIECE_BYTES: usize = 1 << 14;

/// A file in memory, read in pieces: each is given out only while there is patience.
pub(crate) struct PatientReader<'a> {
    data: Cursor<&'a [u8]>,
    patience: Patience<'a>,
    /// Ascending positions where a piece ends, whatever its length.
    borders: &'a [usize],
}

impl<'a> PatientReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], patience: Patience<'a>) -> Self {
        Self { data: Cursor::new(bytes), patience, borders: &[] }
    }

    /// As [`PatientReader::new`], with a look at the patience at each of these ascending positions: where a few bytes cost as
    /// much as all before them.
    pub(crate) fn with_borders(bytes: &'a [u8], patience: Patience<'a>, borders: &'a [usize]) -> Self {
        Self { borders, ..Self::new(bytes, patience) }
    }
}

impl BufRead for PatientReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.patience.check().map_err(io::Error::other)?;
        let position = usize::try_from(self.data.position()).unwrap_or(usize::MAX);
        let next = self.borders.partition_point(|&border| border <= position);
        let to_border = self.borders.get(next).map_or(usize::MAX, |border| border - position);
        let rest = self.data.fill_buf()?;
        Ok(&rest[..rest.len().min(PIECE_BYTES).min(to_border)])
    }

    fn consume(&mut self, bytes: usize) {
        self.data.consume(bytes);
    }
}

impl Read for PatientReader<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let read = piece.len().min(target.len());
        target[..read].copy_from_slice(&piece[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl Seek for PatientReader<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.data.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn pieces_end_at_borders_and_are_of_bounded_length() {
        let bytes = vec![7; 3 * PIECE_BYTES];
        let mut reader = PatientReader::with_borders(&bytes, Patience::ENDLESS, &[10, 12, PIECE_BYTES + 12]);
        let mut pieces = Vec::new();
        while let piece @ 1.. = reader.fill_buf().unwrap().len() {
            pieces.push(piece);
            reader.consume(piece);
        }
        assert_eq!(pieces, [10, 2, PIECE_BYTES, PIECE_BYTES, PIECE_BYTES - 12]);
    }

    #[test]
    fn nothing_is_given_out_when_patience_is_over() {
        let left = Cell::new(2);
        let is_over = || left.replace(left.get() - 1) == 0;
        let bytes = vec![7; 3 * PIECE_BYTES];
        let mut read = Vec::new();
        let mut reader = PatientReader::new(&bytes, Patience::until(&is_over));
        assert!(reader.read_to_end(&mut read).is_err());
        assert!(read.len() <= 2 * PIECE_BYTES, "{} bytes", read.len());
    }
}
