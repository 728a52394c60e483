//! A record as a line of the log: numbered, with the hash of the line before it and its own.
//!
//! A line is `{"sequence":N,"previous":"…",` and the record's fields and `,"hash":"…"}`. The hash is the SHA-256 of all that
//! stands before `,"hash"`, so it can be looked at without understanding the record.

use crate::AuditError;
use crate::record::{MAX_RECORD_BYTES, Record};
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Digits of a hash.
const HASH_DIGITS: usize = 64;

/// In front of the hash.
const HASH_KEY: &[u8] = br#","hash":""#;

/// What stands behind the hash.
const END: &[u8] = br#""}"#;

/// Longest line in bytes, without its line feed: a record, its number and two hashes.
pub(crate) const MAX_LINE_BYTES: usize = MAX_RECORD_BYTES + 512;

/// A place in the chain: the number of a line and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    pub(crate) hash: String,
}

impl Link {
    /// Before the first line.
    pub(crate) fn origin() -> Self {
        Self { sequence: 0, hash: "0".repeat(HASH_DIGITS) }
    }
}

/// A record with its place in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Its number: 1 for the first of a log, then one more each.
    pub sequence: u64,
    /// The hash of the line before it.
    pub previous: String,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
    /// The hash of this line.
    pub hash: String,
}

/// Adds the line of a record, given as JSON, and its line feed. Returns the line's place.
pub(crate) fn write_line(lines: &mut Vec<u8>, before: &Link, record: &[u8]) -> Link {
    let begin = lines.len();
    let sequence = before.sequence + 1;
    lines.extend_from_slice(format!(r#"{{"sequence":{sequence},"previous":"{}","#, before.hash).as_bytes());
    // An object without its braces.
    lines.extend_from_slice(record.get(1..record.len().saturating_sub(1)).unwrap_or_default());
    let hash = sha256_hex(&lines[begin..]);
    lines.extend_from_slice(HASH_KEY);
    lines.extend_from_slice(hash.as_bytes());
    lines.extend_from_slice(END);
    lines.push(b'\n');
    Link { sequence, hash }
}

/// A line whose own hash is right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WholeLine<'line> {
    pub(crate) link: Link,
    pub(crate) previous: &'line str,
}

/// Looks at a line without its line feed; nothing where its hash is not that of its content, or it is none of ours.
pub(crate) fn read_line(line: &[u8]) -> Option<WholeLine<'_>> {
    let (rest, end) = line.split_at_checked(line.len().checked_sub(END.len())?)?;
    let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HASH_DIGITS)?)?;
    let (content, key) = rest.split_at_checked(rest.len().checked_sub(HASH_KEY.len())?)?;
    if end != END || key != HASH_KEY || sha256_hex(content).as_bytes() != hash {
        return None;
    }
    let content = std::str::from_utf8(content).ok()?.strip_prefix(r#"{"sequence":"#)?;
    let (sequence, content) = content.split_once(r#","previous":""#)?;
    let previous = content.get(..HASH_DIGITS)?;
    let link = Link { sequence: sequence.parse().ok()?, hash: String::from_utf8(hash.to_vec()).ok()? };
    Some(WholeLine { link, previous })
}

/// The line with its record. `None` where it does not read as one.
pub(crate) fn parse_line(line: &[u8]) -> Option<Stored> {
    read_line(line)?;
    serde_json::from_slice(line).ok()
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// SHA-256 of a part of a file, in hexadecimal digits.
pub(crate) fn sha256_of_part(path: &Path, begin: u64, end: u64) -> Result<String, AuditError> {
    let hashing = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(begin))?;
        let mut reader = BufReader::new(file.take(end - begin));
        let mut sum = Context::new(&SHA256);
        loop {
            let bytes = reader.fill_buf()?.len();
            if bytes == 0 {
                return Ok(hex(sum.finish().as_ref()));
            }
            sum.update(reader.buffer());
            reader.consume(bytes);
        }
    };
    hashing().map_err(AuditError::file(path))
}

/// Hexadecimal digits, small letters.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of pairs of hexadecimal digits.
pub(crate) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let record = Record { gallery: Some("lobby\n\"".to_owned()), ..Record::new(Kind::Request) };
        let mut lines = Vec::new();
        let first = write_line(&mut lines, &Link::origin(), &record.clone().into_json().unwrap());
        let begin = lines.len();
        let second = write_line(&mut lines, &first, &record.clone().into_json().unwrap());
        assert_eq!((first.sequence, second.sequence), (1, 2));
        let line = &lines[begin..lines.len() - 1];
        let stored = parse_line(line).unwrap();
        assert_eq!((stored.previous.as_str(), stored.record), (first.hash.as_str(), record));
        assert_eq!(read_line(line).unwrap().link, second);
    }

    proptest! {
        #[test]
        fn a_line_with_another_byte_is_no_line(place in any::<proptest::sample::Index>(), change in 1_u8..=255) {
            let mut lines = Vec::new();
            write_line(&mut lines, &Link::origin(), &Record::new(Kind::Start).into_json().unwrap());
            lines.pop();
            let place = place.index(lines.len());
            lines[place] ^= change;
            prop_assert_eq!(read_line(&lines), None);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(read_line(&bytes), None);
        }
    }
}
