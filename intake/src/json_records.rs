//! Records in JSON: one a line, or an array of them.

use crate::record::Record;
use crate::text_lines::MAX_LINE_BYTES;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

/// An object whose fields have different names. Of two of the same name, a parser would silently keep the last.
pub(crate) struct UniqueRecord(pub(crate) Record);

impl<'de> Deserialize<'de> for UniqueRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = UniqueRecord;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<UniqueRecord, A::Error> {
        let mut record = Record::new();
        while let Some((name, value)) = fields.next_entry::<String, Value>()? {
            if record.contains_key(&name) {
                return Err(A::Error::custom(format!("the field `{name}` stands there twice")));
            }
            record.insert(name, value);
        }
        Ok(UniqueRecord(record))
    }
}

/// Reads a line.
pub(crate) fn read_line(text: &str) -> Result<Record, String> {
    serde_json::from_str::<UniqueRecord>(text).map(|UniqueRecord(record)| record).map_err(|error| {
        // Python writes it where a number is missing.
        let advice = if text.contains("NaN") { "; JSON knows no NaN, write null" } else { "" };
        format!("expected a JSON object a line, or an array of objects: {error}{advice}")
    })
}

/// Gives each object of an array to `take`, one after another, so that the array never lies in memory. An object may have as many
/// bytes as a line.
///
/// # Errors
/// What `take` said, or what is wrong with the array.
pub(crate) fn read_array<E>(text: impl Read, take: impl FnMut(Record) -> Result<(), E>) -> Result<(), ArrayError<E>> {
    let left = Rc::new(Cell::new(MAX_LINE_BYTES));
    let mut deserializer = serde_json::Deserializer::from_reader(BoundedRecords { text, left: Rc::clone(&left) });
    let mut items = Items { take, refused: None, left };
    let read = Each(&mut items).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (items.refused, read) {
        (Some(error), _) => Err(ArrayError::Refused(error)),
        (None, Err(error)) => Err(ArrayError::Malformed(format!("expected an array of JSON objects: {error}"))),
        (None, Ok(())) => Ok(()),
    }
}

/// Why an array was not read to its end.
pub(crate) enum ArrayError<E> {
    /// A record was not taken.
    Refused(E),
    Malformed(String),
}

struct Items<T, E> {
    take: T,
    refused: Option<E>,
    left: Rc<Cell<u64>>,
}

/// A reader that fails at a record which no array has: a parser would hold all of it in memory. The parser reads byte by byte,
/// so that nothing is counted ahead.
struct BoundedRecords<R> {
    text: R,
    /// Bytes until the next record.
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for BoundedRecords<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64);
        let too_long = || io::Error::other(format!("a record has over {MAX_LINE_BYTES} bytes"));
        self.left.set(left.ok_or_else(too_long)?);
        Ok(read)
    }
}

struct Each<'a, T, E>(&'a mut Items<T, E>);

impl<'de, T: FnMut(Record) -> Result<(), E>, E> DeserializeSeed<'de> for Each<'_, T, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: FnMut(Record) -> Result<(), E>, E> Visitor<'de> for Each<'_, T, E> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of JSON objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(Items { take, refused, left }) = self;
        while let Some(UniqueRecord(record)) = items.next_element()? {
            if let Err(error) = take(record) {
                *refused = Some(error);
                return Err(A::Error::custom("a record was not taken"));
            }
            left.set(MAX_LINE_BYTES);
        }
        Ok(())
    }
}
