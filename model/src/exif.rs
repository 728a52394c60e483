//! EXIF data: directories of a TIFF file within an image file.

/// When a picture was taken, in the words of EXIF: texts that the camera wrote, and that may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExifTime {
    /// `DateTimeOriginal`, by the camera's clock, such as `2026:05:01 14:30:45`.
    pub local: String,
    /// `OffsetTimeOriginal`, how far that clock was ahead of UTC, such as `+02:00`.
    pub offset: Option<String>,
    /// `SubSecTimeOriginal`, the digits behind the second's point.
    pub below_second: Option<String>,
}

const EXIF_MARK: &[u8] = b"Exif\0\0";
const ENTRY_BYTES: usize = 12;
const ORIENTATION: u64 = 0x0112;
/// Where the directory begins that tells how a picture was taken.
const EXIF_DIRECTORY: u64 = 0x8769;
/// `DateTimeOriginal`, `OffsetTimeOriginal` and `SubSecTimeOriginal` of EXIF 2.31.
const TAKEN: u64 = 0x9003;
const TAKEN_OFFSET: u64 = 0x9011;
const TAKEN_BELOW_SECOND: u64 = 0x9291;
/// Of a text that is a time, or a part of one.
const MAX_TIME_BYTES: u64 = 32;
const TEXT: u64 = 2;
const LONG: u64 = 4;
/// TIFF's types: bytes a value takes, by their number.
const UNIT_BYTES: [(u64, u64); 14] = [
    (1, 1),
    (2, 1),
    (3, 2),
    (4, 4),
    (5, 8),
    (6, 1),
    (7, 1),
    (8, 2),
    (9, 4),
    (10, 8),
    (11, 4),
    (12, 8),
    (13, 4),
    (16, 8),
];

/// A directory of a TIFF file.
pub(crate) struct Directory<'data> {
    data: &'data [u8],
    is_big_endian: bool,
    start: usize,
}

impl<'data> Directory<'data> {
    /// The first directory. `None` without a TIFF header.
    pub(crate) fn open(exif: &'data [u8]) -> Option<Self> {
        let data = (0..2).fold(exif, |data, _| data.strip_prefix(EXIF_MARK).unwrap_or(data));
        if data.is_empty() {
            // Nothing is said, which is no fault.
            return Some(Self { data, is_big_endian: false, start: 0 });
        }
        let is_big_endian = match data.get(..4)? {
            // Pillow takes the two numbers in either order, and the big-endian mark of a large TIFF for a small one.
            b"MM\0\x2a" | b"MM\x2a\0" | b"MM\0\x2b" => true,
            b"II\x2a\0" | b"II\0\x2a" => false,
            _ => return None,
        };
        let mut directory = Self { data, is_big_endian, start: 0 };
        directory.start = directory.number(data.get(4..8)?) as usize;
        Some(directory)
    }

    /// The value of the orientation's entry, read as Pillow reads it. `None` where there is no such entry; `Some(None)` where it is no whole number.
    pub(crate) fn orientation(&self) -> Option<Option<u8>> {
        let entries = self.data.get(self.start..)?;
        let count = self.number(entries.get(..2)?) as usize;
        let mut out_of_line_bytes = 0;
        // A directory that is cut short counts as far as it goes.
        for entry in entries.get(2..)?.chunks_exact(ENTRY_BYTES).take(count) {
            let (tag, kind) = (self.number(&entry[..2]), self.number(&entry[2..4]));
            let (count, place) = (self.number(&entry[4..8]), &entry[8..]);
            let Some(&(_, unit)) = UNIT_BYTES.iter().find(|&&(known, _)| known == kind) else { continue };
            let bytes = count * unit;
            let value = if bytes <= 4 {
                &place[..bytes as usize]
            } else {
                out_of_line_bytes += bytes;
                if out_of_line_bytes > self.data.len() as u64 {
                    continue;
                }
                let offset = self.number(place) as usize;
                // Pillow ends here too: what follows is not read.
                self.data.get(offset..)?.get(..bytes as usize)?
            };
            if tag == ORIENTATION && !value.is_empty() {
                return Some(self.first_value(kind, value));
            }
        }
        None
    }

    /// When the picture was taken, as far as it says so.
    pub(crate) fn taken(&self) -> Option<ExifTime> {
        let (kind, place) = self.entry(EXIF_DIRECTORY)?;
        let start = self.number(place.get(..4).filter(|_| kind == LONG)?) as usize;
        let details = Directory { start, ..*self };
        let local = details.text(TAKEN)?;
        Some(ExifTime { local, offset: details.text(TAKEN_OFFSET), below_second: details.text(TAKEN_BELOW_SECOND) })
    }

    /// A short text without what fills it up; none where it is blank.
    fn text(&self, tag: u64) -> Option<String> {
        let (kind, value) = self.entry(tag)?;
        let text = std::str::from_utf8(value).ok().filter(|_| kind == TEXT)?;
        let text = text.split('\0').next().unwrap_or_default().trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The kind and the bytes of an entry, if it is no longer than a time.
    fn entry(&self, tag: u64) -> Option<(u64, &'data [u8])> {
        let entries = self.data.get(self.start..)?;
        let count = self.number(entries.get(..2)?) as usize;
        let mut entries = entries.get(2..)?.chunks_exact(ENTRY_BYTES).take(count);
        let entry = entries.find(|entry| self.number(&entry[..2]) == tag)?;
        let (kind, place) = (self.number(&entry[2..4]), &entry[8..]);
        let &(_, unit) = UNIT_BYTES.iter().find(|&&(known, _)| known == kind)?;
        let bytes = self.number(&entry[4..8]) * unit;
        if bytes > MAX_TIME_BYTES {
            return None;
        }
        let start = if bytes <= 4 { 0 } else { self.number(place) as usize };
        let data = if bytes <= 4 { place } else { self.data };
        Some((kind, data.get(start..)?.get(..bytes as usize)?))
    }

    /// The first of an entry's values, if it is a whole number. Text and bytes are none to Pillow.
    fn first_value(&self, kind: u64, value: &[u8]) -> Option<u8> {
        let unsigned = |bytes: usize| value.get(..bytes).map(|bytes| self.number(bytes));
        let whole = match kind {
            3 | 8 => unsigned(2)?,
            4 | 9 | 13 => unsigned(4)?,
            6 => unsigned(1)?,
            16 => unsigned(8)?,
            5 | 10 => {
                let (numerator, denominator) = (unsigned(4)?, self.number(value.get(4..8)?));
                (denominator != 0 && numerator % denominator == 0).then(|| numerator / denominator)?
            }
            11 => return whole(f64::from(f32::from_bits(unsigned(4)? as u32))),
            12 => return whole(f64::from_bits(unsigned(8)?)),
            _ => return None,
        };
        u8::try_from(whole).ok()
    }

    /// Of at most eight bytes.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |number: u64, &byte: &u8| (number << 8) | u64::from(byte);
        if self.is_big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }
}

fn whole(value: f64) -> Option<u8> {
    (0.0..=255.0).contains(&value).then_some(value as u8).filter(|&whole| f64::from(whole) == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A TIFF file of a directory that leads to another, which has these texts.
    fn data(texts: &[(u64, &str)]) -> Vec<u8> {
        let mut file = b"II*\0\x08\0\0\0".to_vec();
        file.extend([1, 0, 0x69, 0x87, 4, 0, 1, 0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 0]);
        file.extend((texts.len() as u16).to_le_bytes());
        let (mut entries, mut content) = (Vec::new(), Vec::new());
        let behind = file.len() + texts.len() * ENTRY_BYTES;
        for &(tag, text) in texts {
            entries.extend((tag as u16).to_le_bytes());
            entries.extend([2, 0]);
            entries.extend((text.len() as u32).to_le_bytes());
            if text.len() <= 4 {
                entries.extend([text.as_bytes(), &[0; 4]].concat().into_iter().take(4));
            } else {
                entries.extend(((behind + content.len()) as u32).to_le_bytes());
                content.extend(text.as_bytes());
            }
        }
        [file, entries, content].concat()
    }

    fn taken(data: &[u8]) -> Option<ExifTime> {
        Directory::open(data)?.taken()
    }

    #[test]
    fn a_picture_says_when_it_was_taken() {
        let whole = [(TAKEN, "2026:05:01 14:30:45\0"), (TAKEN_OFFSET, "+02:00\0"), (TAKEN_BELOW_SECOND, "25\0")];
        let expected = ExifTime {
            local: "2026:05:01 14:30:45".to_owned(),
            offset: Some("+02:00".to_owned()),
            below_second: Some("25".to_owned()),
        };
        assert_eq!(taken(&data(&whole)), Some(expected.clone()));
        assert_eq!(taken(&[EXIF_MARK, &data(&whole)].concat()), Some(expected.clone()));
        let alone = ExifTime { offset: None, below_second: None, ..expected };
        assert_eq!(taken(&data(&[whole[0], (TAKEN_OFFSET, "   \0")])), Some(alone));
        // Without a time the others say nothing, and a long text is none.
        assert_eq!(taken(&data(&whole[1..])), None);
        assert_eq!(taken(&data(&[(TAKEN, "       \0")])), None);
        assert_eq!(taken(&data(&[(TAKEN, &"2".repeat(33))])), None);
        assert_eq!(taken(&[]), None);
    }

    proptest! {
        #[test]
        fn damaged_data_say_something_or_nothing(at in 0_usize..200, to in any::<u8>(), length in 0_usize..200) {
            let mut damaged = data(&[(TAKEN, "2026:05:01 14:30:45\0"), (TAKEN_OFFSET, "+02:00\0")]);
            if let Some(byte) = damaged.get_mut(at) {
                *byte = to;
            }
            damaged.truncate(length);
            let _ = taken(&damaged);
        }
    }
}
