//! The header of a NumPy array file (.npy).

use std::io::{self, Read, Write};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header, in bytes. NumPy's own limit is less.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// Most axes of an array.
const MAX_AXES: usize = 32;

/// Longest text of a text array, in characters or bytes.
const MAX_TEXT_LENGTH: usize = 1 << 14;

/// What an array holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementKind {
    /// `<f2`
    Float16,
    /// `<f4`
    Float32,
    /// `<f8`
    Float64,
    /// `<U…`: so many UTF-32 characters, zeros at the end.
    Unicode(usize),
    /// `|S…`: so many bytes, zeros at the end.
    Bytes(usize),
}

impl ElementKind {
    /// Size of one element.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Float16 => 2,
            Self::Float32 => 4,
            Self::Float64 => 8,
            Self::Unicode(characters) => characters * 4,
            Self::Bytes(bytes) => bytes,
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        let length = |text: &str| match text.parse::<usize>() {
            Ok(length) if length <= MAX_TEXT_LENGTH => Ok(length),
            Ok(_) | Err(_) => Err(format!("texts of type {name:?} are longer than {MAX_TEXT_LENGTH} characters")),
        };
        match name {
            "<f2" => Ok(Self::Float16),
            "<f4" => Ok(Self::Float32),
            "<f8" => Ok(Self::Float64),
            _ => {
                if let Some(characters) = name.strip_prefix("<U") {
                    length(characters).map(Self::Unicode)
                } else if let Some(bytes) = name.strip_prefix("|S") {
                    length(bytes).map(Self::Bytes)
                } else if name == "|O" {
                    Err("an array of Python objects; save texts as np.array(texts, dtype=str)".to_owned())
                } else {
                    Err(format!(
                        "type {name:?} is not read; save numbers as np.float32 and texts as np.array(texts, dtype=str)"
                    ))
                }
            }
        }
    }

    fn name(self) -> String {
        match self {
            Self::Float16 => "<f2".to_owned(),
            Self::Float32 => "<f4".to_owned(),
            Self::Float64 => "<f8".to_owned(),
            Self::Unicode(characters) => format!("<U{characters}"),
            Self::Bytes(bytes) => format!("|S{bytes}"),
        }
    }
}

/// Type and shape of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NpyHeader {
    pub(crate) kind: ElementKind,
    /// Columns before rows, for arrays of two axes.
    pub(crate) is_fortran: bool,
    pub(crate) shape: Vec<u64>,
}

impl NpyHeader {
    /// Reads a header and leaves the reader at the first element.
    pub(crate) fn read(reader: &mut impl Read) -> Result<Self, String> {
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(|error| error.to_string())?;
        if !start.starts_with(MAGIC) {
            return Err("not a NumPy array".to_owned());
        }
        // Version 1 has a length of two bytes, the others of four.
        let mut length = [0; 4];
        let length_bytes = if start[6] == 1 { 2 } else { 4 };
        reader.read_exact(&mut length[..length_bytes]).map_err(|error| error.to_string())?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_HEADER_BYTES {
            return Err(format!("a header of {length} bytes, at most {MAX_HEADER_BYTES} are read"));
        }
        let mut header = vec![0; length];
        reader.read_exact(&mut header).map_err(|error| error.to_string())?;
        Self::parse(&String::from_utf8_lossy(&header))
    }

    /// Reads a Python dictionary such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 512), }`.
    fn parse(text: &str) -> Result<Self, String> {
        let kind = field(text, "descr")?;
        let kind = kind
            .strip_prefix(['\'', '"'])
            .and_then(|rest| rest.split(['\'', '"']).next())
            .ok_or("an array of several fields; save one array for each")?;
        let is_fortran = field(text, "fortran_order")?.starts_with("True");
        let shape = field(text, "shape")?
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map(|(axes, _)| axes.split(',').map(str::trim).filter(|axis| !axis.is_empty()))
            .ok_or("a header without a shape")?;
        let shape = shape.map(|axis| axis.trim_end_matches('L').parse::<u64>());
        let shape = shape.collect::<Result<Vec<_>, _>>().map_err(|error| format!("its shape: {error}"))?;
        if shape.len() > MAX_AXES {
            return Err(format!("{} axes, at most {MAX_AXES} are read", shape.len()));
        }
        Ok(Self { kind: ElementKind::parse(kind)?, is_fortran, shape })
    }

    /// Writes a header of version 1; elements follow it in rows.
    pub(crate) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let axes: String = self.shape.iter().map(|axis| format!("{axis}, ")).collect();
        let order = if self.is_fortran { "True" } else { "False" };
        let kind = self.kind.name();
        let mut text = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({}), }}", axes.trim_end());
        // NumPy maps files into memory, so the elements begin at a multiple of 64 bytes.
        let unpadded = MAGIC.len() + 4 + text.len() + 1;
        text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
        text.push('\n');
        let length = u16::try_from(text.len()).map_err(|_| io::Error::other("the header is too long"))?;
        writer.write_all(MAGIC)?;
        writer.write_all(&[1, 0])?;
        writer.write_all(&length.to_le_bytes())?;
        writer.write_all(text.as_bytes())
    }
}

/// What stands behind a key of the dictionary.
fn field<'a>(text: &'a str, key: &str) -> Result<&'a str, String> {
    ['\'', '"']
        .into_iter()
        .find_map(|quote| text.split_once(&format!("{quote}{key}{quote}")))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
        .map(str::trim_start)
        .ok_or_else(|| format!("a header without {key:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_what_numpy_writes() {
        let text = "{'descr': '<U12', 'fortran_order': False, 'shape': (3,), }   \n";
        let expected = NpyHeader { kind: ElementKind::Unicode(12), is_fortran: false, shape: vec![3] };
        assert_eq!(NpyHeader::parse(text).unwrap(), expected);
        for (text, part) in [
            ("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "objects"),
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }", "float32"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", "fields"),
            ("{'descr': '<U99999999', 'fortran_order': False, 'shape': (3,), }", "longer"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", "shape"),
            ("{}", "descr"),
        ] {
            let message = NpyHeader::parse(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    proptest! {
        #[test]
        fn written_headers_read_the_same(
            kind in prop_oneof![
                Just(ElementKind::Float16), Just(ElementKind::Float32), Just(ElementKind::Float64),
                (0..MAX_TEXT_LENGTH).prop_map(ElementKind::Unicode), (0..MAX_TEXT_LENGTH).prop_map(ElementKind::Bytes),
            ],
            is_fortran in any::<bool>(),
            shape in proptest::collection::vec(any::<u64>(), 0..4),
        ) {
            let header = NpyHeader { kind, is_fortran, shape };
            let mut bytes = Vec::new();
            header.write(&mut bytes).unwrap();
            prop_assert_eq!(bytes.len() % 64, 0);
            prop_assert_eq!(NpyHeader::read(&mut bytes.as_slice()).unwrap(), header);
        }

        #[test]
        fn any_bytes_are_a_header_or_a_fault(text in "[{}'\":(), a-z0-9<|U]{0,60}") {
            let _ = NpyHeader::parse(&text);
            let _ = NpyHeader::read(&mut [b"\x93NUMPY\x01\x00\x20\x00".as_slice(), text.as_bytes()].concat().as_slice());
        }
    }
}
