//! Going through the bytes of a message without decoding it.

use crate::{Field, Kind, Shape};

/// Lists, texts within lists and messages within messages of one request, all together: what takes more memory than bytes.
pub const MAX_ELEMENTS: u32 = 262_144;

/// Messages of one request that may lie within their like, such as filters: these are what takes most memory for its bytes.
pub const MAX_NESTED: u32 = 4_096;

/// How deep messages may lie within each other. What decodes them allows a hundred.
pub const MAX_DEPTH: usize = 40;

/// What is wrong with a request. Each names the field as the `.proto` file does, from the request on, as in
/// `searches[3].filter.person_ids`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A list is too long.
    #[error("{field}: more than {max} items")]
    TooMany {
        /// The field.
        field: String,
        /// Items that are allowed.
        max: u32,
    },
    /// A text or a file is too long.
    #[error("{field}: {bytes} bytes are over the limit of {max} bytes")]
    TooLong {
        /// The field.
        field: String,
        /// Bytes that came.
        bytes: usize,
        /// Bytes that are allowed.
        max: u32,
    },
    /// A number stands for nothing.
    #[error("{field}: {value} is none of the values that this release knows")]
    UnknownValue {
        /// The field.
        field: String,
        /// The number.
        value: i64,
    },
    /// A field that is no list comes several times.
    #[error("{field}: given more than once")]
    Repeated {
        /// The field.
        field: String,
    },
    /// Messages lie too deep within each other.
    #[error("{field}: nested more than {MAX_DEPTH} deep")]
    TooDeep {
        /// The field.
        field: String,
    },
    /// All lists together are too long.
    #[error("{field}: the request holds more than {MAX_ELEMENTS} items in all")]
    TooManyInAll {
        /// The field where that was noticed.
        field: String,
    },
    /// Messages that may lie within their like are too many.
    #[error("{field}: the request holds more than {MAX_NESTED} messages that may lie within each other")]
    TooManyNested {
        /// The field where that was noticed.
        field: String,
    },
    /// The bytes are no message of this kind.
    #[error("{field}: {reason}")]
    Malformed {
        /// The field, or the last one before the fault; `message` for the request itself.
        field: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl WireError {
    /// The same within a field of another message.
    fn within(mut self, name: &str, index: Option<u32>) -> Self {
        let (Self::TooMany { field, .. }
        | Self::TooLong { field, .. }
        | Self::UnknownValue { field, .. }
        | Self::Repeated { field }
        | Self::TooDeep { field }
        | Self::TooManyInAll { field }
        | Self::TooManyNested { field }
        | Self::Malformed { field, .. }) = &mut self;
        let outer = index.map_or_else(|| name.to_owned(), |index| format!("{name}[{index}]"));
        *field = if field.is_empty() { outer } else { format!("{outer}.{field}") };
        self
    }
}

/// Looks whether `bytes` may be decoded as a message of this shape. Takes time by their number, and no memory.
///
/// What is not looked at is whether texts are UTF-8: decoding does that, and says which is not.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(shape: &Shape, bytes: &[u8]) -> Result<(), WireError> {
    let mut checked = Walk { elements_left: MAX_ELEMENTS, nested_left: MAX_NESTED }.message(shape, bytes, MAX_DEPTH);
    if let Err(WireError::Malformed { field, .. } | WireError::TooManyInAll { field }) = &mut checked
        && field.is_empty()
    {
        "message".clone_into(field);
    }
    checked
}

struct Walk {
    elements_left: u32,
    nested_left: u32,
}

/// Numbers of fields and kinds of values, as the encoding of protocol buffers has them.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// Fields of one message that are counted; the build script sees to it that none has more.
const MAX_FIELDS: usize = 64;

impl Walk {
    fn message(&mut self, shape: &Shape, mut bytes: &[u8], depth_left: usize) -> Result<(), WireError> {
        let mut counts = [0_u32; MAX_FIELDS];
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let found = shape.fields.iter().zip(&mut counts).find(|(field, _)| u64::from(field.number) == key >> 3);
            match found {
                Some((field, count)) => self.field(field, count, key & 7, &mut bytes, depth_left)?,
                None => {
                    // A later release's; they take no memory, but time.
                    self.count_element()?;
                    skip(key & 7, &mut bytes)?;
                }
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        count: &mut u32,
        wire_type: u64,
        bytes: &mut &[u8],
        depth_left: usize,
    ) -> Result<(), WireError> {
        let index = field.max_items.map(|_| *count);
        let named = |error: WireError| error.within(field.name, index);
        let content = match (wire_type, &field.kind) {
            (VARINT, Kind::Varint | Kind::Enumeration(_)) => {
                let value = varint(bytes).map_err(named)?;
                known(&field.kind, value).map_err(named)?;
                return self.count(field, count, 1);
            }
            (FIXED32, Kind::Fixed32) => {
                take(bytes, 4).map_err(named)?;
                return self.count(field, count, 1);
            }
            (FIXED64, Kind::Fixed64) => {
                take(bytes, 8).map_err(named)?;
                return self.count(field, count, 1);
            }
            (LENGTH_DELIMITED, _) => length_delimited(bytes).map_err(named)?,
            _ => return Err(named(malformed("is of another kind on the wire"))),
        };
        match &field.kind {
            Kind::Message(shape) => {
                self.count(field, count, 1)?;
                if shape.nests {
                    let left = self.nested_left.checked_sub(1);
                    self.nested_left = left.ok_or_else(|| named(WireError::TooManyNested { field: String::new() }))?;
                }
                let deeper = depth_left.checked_sub(1);
                let deeper = deeper.ok_or_else(|| named(WireError::TooDeep { field: String::new() }))?;
                self.message(shape, content, deeper).map_err(named)
            }
            Kind::Text | Kind::Bytes => {
                if let Some(max) = field.max_bytes.filter(|max| content.len() > *max as usize) {
                    return Err(named(WireError::TooLong { field: String::new(), bytes: content.len(), max }));
                }
                self.count(field, count, 1)
            }
            // Numbers one after the other.
            _ if field.max_items.is_none() => Err(named(malformed("is of another kind on the wire"))),
            Kind::Fixed32 => self.count(field, count, content.len().div_ceil(4).max(1)),
            Kind::Fixed64 => self.count(field, count, content.len().div_ceil(8).max(1)),
            Kind::Varint | Kind::Enumeration(_) => {
                if content.is_empty() {
                    return self.count(field, count, 1);
                }
                let mut rest = content;
                while !rest.is_empty() {
                    let value = varint(&mut rest).map_err(named)?;
                    known(&field.kind, value).map_err(named)?;
                    self.count(field, count, 1)?;
                }
                Ok(())
            }
        }
    }

    fn count(&mut self, field: &Field, count: &mut u32, items: usize) -> Result<(), WireError> {
        let error = |error: WireError| Err(error.within(field.name, None));
        *count = count.saturating_add(u32::try_from(items).unwrap_or(u32::MAX));
        match field.max_items {
            Some(max) if *count > max => return error(WireError::TooMany { field: String::new(), max }),
            // Decoding would join the several, lists within them too.
            None if *count > 1 => return error(WireError::Repeated { field: String::new() }),
            Some(_) | None => {}
        }
        // Numbers take no more memory than they take bytes.
        if matches!(field.kind, Kind::Message(_)) || (field.max_items.is_some() && field.max_bytes.is_some()) {
            self.count_element().or_else(error)?;
        }
        Ok(())
    }

    fn count_element(&mut self) -> Result<(), WireError> {
        let left = self.elements_left.checked_sub(1);
        self.elements_left = left.ok_or_else(|| WireError::TooManyInAll { field: String::new() })?;
        Ok(())
    }
}

/// An enumeration's value must be known: a value that silently became the default would be another request.
fn known(kind: &Kind, value: u64) -> Result<(), WireError> {
    let Kind::Enumeration(values) = kind else { return Ok(()) };
    // Negative ones come with the sign in all 64 bits.
    let value = value.cast_signed();
    match i32::try_from(value).is_ok_and(|value| values.contains(&value)) {
        true => Ok(()),
        false => Err(WireError::UnknownValue { field: String::new(), value }),
    }
}

fn malformed(reason: &'static str) -> WireError {
    WireError::Malformed { field: String::new(), reason }
}

fn skip(wire_type: u64, bytes: &mut &[u8]) -> Result<(), WireError> {
    match wire_type {
        VARINT => varint(bytes).map(drop),
        FIXED64 => take(bytes, 8).map(drop),
        LENGTH_DELIMITED => length_delimited(bytes).map(drop),
        FIXED32 => take(bytes, 4).map(drop),
        // Groups, which no message here has ever had.
        _ => Err(malformed("the bytes are no protocol buffer message")),
    }
}

fn length_delimited<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    let length = varint(bytes)?;
    take(bytes, usize::try_from(length).unwrap_or(usize::MAX))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(|| malformed("the message ends too early"))?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(|| malformed("the message ends too early"))?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number has more than 64 bits"))
}

#[cfg(test)]
mod tests;
