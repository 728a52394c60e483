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
/// The same for a decoder that has a fast way which ends some hundred bytes before a piece does: libjpeg's.
const BORDERED_PIECE_BYTES: usize = 1 << 16;
/// Reads between two looks, where they come back to the same bytes or take none. Reads that each take a byte never get there.
const READS_A_LOOK: usize = BORDERED_PIECE_BYTES;

/// A file in memory, read in pieces: each is given out only while there is patience. Decoders read single pixels, so most
/// reads stay within a piece and look at nothing.
pub(crate) struct PatientReader<'a> {
    data: Cursor<&'a [u8]>,
    patience: Patience<'a>,
    /// Ascending positions where a piece ends, whatever its length.
    borders: &'a [usize],
    piece_bytes: usize,
    /// Where the piece that was looked for last ends; 0 where the next read has to look.
    piece_end: usize,
    reads: usize,
}

impl<'a> PatientReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], patience: Patience<'a>) -> Self {
        let data = Cursor::new(bytes);
        Self { data, patience, borders: &[], piece_bytes: PIECE_BYTES, piece_end: 0, reads: 0 }
    }

    /// As [`PatientReader::new`], in longer pieces, with a look at the patience at each of these ascending positions: where a
    /// few bytes cost as much as all before them.
    pub(crate) fn with_borders(bytes: &'a [u8], patience: Patience<'a>, borders: &'a [usize]) -> Self {
        Self { borders, piece_bytes: BORDERED_PIECE_BYTES, ..Self::new(bytes, patience) }
    }

    /// Looks at the patience, and begins a piece.
    fn look(&mut self, position: usize) -> io::Result<()> {
        self.patience.check().map_err(io::Error::other)?;
        let next = self.borders.partition_point(|&border| border <= position);
        let border = self.borders.get(next).copied().unwrap_or(usize::MAX);
        self.piece_end = position.saturating_add(self.piece_bytes).min(border);
        self.reads = 0;
        Ok(())
    }
}

impl BufRead for PatientReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let position = usize::try_from(self.data.position()).unwrap_or(usize::MAX);
        self.reads += 1;
        if position >= self.piece_end || self.reads > READS_A_LOOK {
            self.look(position)?;
        }
        let to_end = self.piece_end - position;
        let rest = self.data.fill_buf()?;
        Ok(&rest[..rest.len().min(to_end)])
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
        self.piece_end = 0;
        self.data.seek(position)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.data.position())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// The lengths of all pieces.
    fn pieces(mut reader: PatientReader<'_>) -> Vec<usize> {
        let mut pieces = Vec::new();
        while let piece @ 1.. = reader.fill_buf().unwrap().len() {
            pieces.push(piece);
            reader.consume(piece);
        }
        pieces
    }

    #[test]
    fn pieces_end_at_borders_and_are_of_bounded_length() {
        let bytes = vec![7; 3 * BORDERED_PIECE_BYTES];
        let borders = [10, 12, BORDERED_PIECE_BYTES + 12];
        let found = pieces(PatientReader::with_borders(&bytes, Patience::ENDLESS, &borders));
        assert_eq!(found, [10, 2, BORDERED_PIECE_BYTES, BORDERED_PIECE_BYTES, BORDERED_PIECE_BYTES - 12]);
        let found = pieces(PatientReader::new(&bytes[..3 * PIECE_BYTES - 1], Patience::ENDLESS));
        assert_eq!(found, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES - 1]);
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

    #[test]
    fn one_look_does_for_all_reads_of_a_piece() {
        let looks = Cell::new(0);
        let is_over = || looks.replace(looks.get() + 1) > 1_000;
        let bytes = vec![7; 3 * PIECE_BYTES];
        let mut reader = PatientReader::new(&bytes, Patience::until(&is_over));
        for _ in 0..bytes.len() / 3 {
            reader.read_exact(&mut [0; 3]).unwrap();
            reader.stream_position().unwrap();
        }
        assert!((3..=4).contains(&looks.get()), "{} looks", looks.get());
    }

    /// Work without end is done over the same bytes, or over none.
    #[test]
    fn reads_that_get_nowhere_look_too() {
        let bytes = vec![7; 10];
        let is_over = Cell::new(false);
        let asked = || is_over.get();
        let mut reader = PatientReader::new(&bytes, Patience::until(&asked));
        reader.fill_buf().unwrap();
        is_over.set(true);
        assert!((0..=READS_A_LOOK).any(|_| reader.fill_buf().is_err()), "the same piece is given out for ever");
        is_over.set(false);
        reader.fill_buf().unwrap();
        is_over.set(true);
        reader.seek(SeekFrom::Start(1)).unwrap();
        assert!(reader.fill_buf().is_err(), "a seek leads behind the patience");
    }
}
