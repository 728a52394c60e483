//! Secrets that come from files: 64 hexadecimal digits, as `openssl rand -hex 32` writes them.

use crate::SearchError;
use crate::validation::invalid;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// What is said of every file that is none.
pub(crate) const EXPECTED: &str = "expected a file with 64 hexadecimal digits, as `openssl rand -hex 32` writes them";

/// Reads a key, with or without an end of the line. What the file holds is never repeated.
///
/// # Errors
/// [`SearchError::Invalid`] naming the setting.
pub(crate) fn read_key(setting: &str, path: &Path) -> Result<[u8; KEY_BYTES], SearchError> {
    const LONGEST: u64 = 1_024;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| invalid(setting, format!("cannot read {}: {error}; {EXPECTED}", path.display())))?;
    // The file's content is a secret, whatever it is.
    let key = from_digits(text.trim().as_bytes()).and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| invalid(setting, format!("{} holds no key; {EXPECTED}", path.display())))
}

/// The bytes of pairs of hexadecimal digits.
pub(crate) fn from_digits(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    });
    pairs.collect()
}

/// Bytes in hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
