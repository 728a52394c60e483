//! Text files from anywhere: with or without a byte order mark, UTF-8 or UTF-16, and never more than there is room for.

use crate::IntakeError;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// Bytes of UTF-16 that are decoded at once.
const DECODED_TOGETHER: u64 = 1 << 16;

/// Opens a text file for reading: without its byte order mark, UTF-16 with such a mark turned into UTF-8. Reading fails
/// behind `max_bytes`, whatever the system says of the file's size: devices and pipes have none.
///
/// # Errors
/// [`IntakeError::Unreadable`], and [`IntakeError::TooLarge`] where the size is known before.
pub(crate) fn open_text(path: &Path, max_bytes: u64) -> Result<Box<dyn BufRead + Send>, IntakeError> {
    let file = File::open(path).map_err(IntakeError::unreadable(path))?;
    let bytes = file.metadata().map_err(IntakeError::unreadable(path))?.len();
    if bytes > max_bytes {
        return Err(IntakeError::TooLarge { path: path.to_owned(), bytes, max_bytes });
    }
    let mut file = Bounded { reader: file, left: max_bytes, max_bytes };
    let mut start = Vec::new();
    file.by_ref().take(3).read_to_end(&mut start).map_err(IntakeError::unreadable(path))?;
    Ok(match start.as_slice() {
        [0xff, 0xfe, ..] => utf16(&start[2..], file, true),
        [0xfe, 0xff, ..] => utf16(&start[2..], file, false),
        [0xef, 0xbb, 0xbf] => Box::new(BufReader::new(file)),
        _ => Box::new(BufReader::new(Cursor::new(start).chain(file))),
    })
}

/// Reads a whole text file, as the command line does with lists of captions: UTF-8, or UTF-16 with a byte order mark.
///
/// # Errors
/// [`IntakeError::Unreadable`]; [`IntakeError::TooLarge`]; [`IntakeError::Malformed`] for other encodings.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String, IntakeError> {
    let mut bytes = Vec::new();
    open_text(path, max_bytes)?.read_to_end(&mut bytes).map_err(IntakeError::unreadable(path))?;
    String::from_utf8(bytes).map_err(|_| IntakeError::malformed(path, NOT_UTF8))
}

/// What is said of text in other encodings.
pub(crate) const NOT_UTF8: &str = "it is not UTF-8; save the file as UTF-8";

fn utf16(start: &[u8], file: Bounded, is_little: bool) -> Box<dyn BufRead + Send> {
    let bytes = Cursor::new(start.to_owned()).chain(file);
    Box::new(BufReader::new(Utf16 { bytes, is_little, undecoded: Vec::new(), decoded: Cursor::default() }))
}

/// A reader that fails where there is more than it may give.
struct Bounded {
    reader: File,
    left: u64,
    max_bytes: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.by_ref().take(self.left.saturating_add(1)).read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!("it goes on behind {} bytes, which are the most that are read", self.max_bytes))
        })?;
        Ok(read)
    }
}

struct Utf16<R> {
    bytes: R,
    is_little: bool,
    /// Half a character.
    undecoded: Vec<u8>,
    decoded: Cursor<Vec<u8>>,
}

impl<R: Read> Utf16<R> {
    /// Decodes more; returns whether there was more.
    fn decode(&mut self) -> io::Result<bool> {
        let mut bytes = std::mem::take(&mut self.undecoded);
        let is_over = self.bytes.by_ref().take(DECODED_TOGETHER).read_to_end(&mut bytes)? == 0;
        let to_unit =
            |&bytes: &[u8; 2]| if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
        if !is_over {
            // The first half of a pair waits for the second one.
            let mut whole = bytes.len() / 2 * 2;
            let last = bytes[..whole].last_chunk::<2>().map(to_unit);
            if last.is_some_and(|unit| (0xd800..0xdc00).contains(&unit)) {
                whole -= 2;
            }
            self.undecoded = bytes.split_off(whole);
        }
        let (units, rest) = bytes.as_chunks::<2>();
        let text = char::decode_utf16(units.iter().map(to_unit)).collect::<Result<String, _>>();
        match text {
            Ok(text) if rest.is_empty() => self.decoded = Cursor::new(text.into_bytes()),
            Ok(_) | Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged UTF-16")),
        }
        Ok(!is_over)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.decoded.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if !self.decode()? && self.decoded.get_ref().is_empty() {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], max_bytes: u64) -> Result<String, IntakeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        std::fs::write(&path, content).unwrap();
        read_text(&path, max_bytes)
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn byte_order_marks_say_what_a_text_is() {
        // Long enough that a pair lies across what is decoded together.
        let text = format!("a{}\n", "ä😀".repeat(40_000));
        assert_eq!(read(text.as_bytes(), 1 << 20).unwrap(), text);
        assert_eq!(read(format!("\u{feff}{text}").as_bytes(), 1 << 20).unwrap(), text);
        for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(read(&utf16(&text, to_bytes), 1 << 20).unwrap(), text);
            assert_eq!(read(&utf16("", to_bytes), 1 << 20).unwrap(), "");
            let mut torn = utf16("ab", to_bytes);
            torn.pop();
            assert!(read(&torn, 1 << 20).unwrap_err().to_string().contains("UTF-16"));
        }
        assert_eq!(read(b"a", 10).unwrap(), "a");
        assert!(read(b"caf\xe9", 10).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn no_file_is_read_beyond_the_limit() {
        assert!(matches!(read(b"12345678901", 10), Err(IntakeError::TooLarge { bytes: 11, max_bytes: 10, .. })));
        // A device says that it is empty.
        let message = read_text(Path::new("/dev/zero"), 1000).unwrap_err().to_string();
        assert!(message.contains("1000 bytes"), "{message}");
    }
}
