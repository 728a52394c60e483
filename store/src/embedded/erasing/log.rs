//! Which pages are in SQLite's log. The format is <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use super::super::raw_file::RawFile;
use super::super::schema::PAGE_BYTES;
use super::page::long;
use std::collections::BTreeSet;
use std::io;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// But for the lowest bit.
const MAGIC: u32 = 0x377f_0682;

/// A place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LogPosition {
    /// New ones are drawn whenever the log is begun anew.
    salts: [u8; 8],
    frames: u64,
}

impl LogPosition {
    /// Not behind the last frame of a change that was made: others are written over what a broken-off one left.
    pub(super) fn at_most(self, frames: u64) -> Self {
        Self { frames: self.frames.min(frames), ..self }
    }
}

/// Length of a log of so many frames.
pub(super) fn bytes_of(frames: u64) -> u64 {
    HEADER_BYTES as u64 + frames * (FRAME_HEADER_BYTES as u64 + PAGE_BYTES)
}

/// Numbers of the pages that were written to the log behind a place, and where it ends now. What a broken-off change left at
/// the end is told too.
pub(super) fn pages_behind(log: &RawFile, place: LogPosition) -> io::Result<(BTreeSet<u32>, LogPosition)> {
    let mut pages = BTreeSet::new();
    let mut header = [0; HEADER_BYTES];
    let is_whole = log.read_at(0, &mut header)? == HEADER_BYTES;
    let (Ok(magic), Ok(page_bytes)) = (long(&header, 0), long(&header, 8)) else { return Ok((pages, place)) };
    if !is_whole || magic & !1 != MAGIC {
        return Ok((pages, LogPosition::default()));
    }
    let mut salts = [0; 8];
    salts.copy_from_slice(&header[16..24]);
    let mut frames = if place.salts == salts { place.frames } else { 0 };
    let mut frame = [0; FRAME_HEADER_BYTES];
    loop {
        let offset = HEADER_BYTES as u64 + frames * (FRAME_HEADER_BYTES as u64 + u64::from(page_bytes));
        // Frames of an earlier round may lie behind the last one.
        if log.read_at(offset, &mut frame)? < FRAME_HEADER_BYTES || frame[8..16] != salts {
            return Ok((pages, LogPosition { salts, frames }));
        }
        pages.extend(long(&frame, 0).ok());
        frames += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn pages_are_told_once_and_anew_in_a_new_round() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE song (title TEXT)").unwrap();
        let log = RawFile::Real(std::fs::File::open(folder.path().join("any.sqlite-wal")).unwrap());
        let (pages, place) = pages_behind(&log, LogPosition::default()).unwrap();
        assert_eq!(pages, BTreeSet::from([1, 2]));
        assert_eq!(pages_behind(&log, place).unwrap(), (BTreeSet::new(), place));
        connection.execute("INSERT INTO song VALUES ('one')", []).unwrap();
        let (pages, place) = pages_behind(&log, place).unwrap();
        assert_eq!(pages, BTreeSet::from([2]));
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        connection.execute("INSERT INTO song VALUES ('two')", []).unwrap();
        let (pages, place) = pages_behind(&log, place).unwrap();
        assert_eq!((pages, place.frames), (BTreeSet::from([2]), 1));
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        assert_eq!(pages_behind(&log, place).unwrap(), (BTreeSet::new(), LogPosition::default()));
    }
}
