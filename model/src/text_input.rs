//! Text files that other programs wrote: read up to a limit, whatever their encoding marks and whatever Python calls JSON.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// Reads a whole file of at most `max_bytes`. Counted is what is read: a device or a pipe states no size.
///
/// # Errors
/// The system's, and [`ErrorKind::FileTooLarge`] with the limit, and the size where it is known. The caller says which
/// file it is.
pub fn read_limited(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let stated = file.metadata().map_or(0, |metadata| metadata.len());
    let too_large = |size: &str| {
        let reason = format!("it has {size}, over the limit of {max_bytes} bytes for a file of this kind");
        Err(io::Error::new(ErrorKind::FileTooLarge, reason))
    };
    if stated > max_bytes {
        return too_large(&format!("{stated} bytes"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return too_large("no end");
    }
    Ok(bytes)
}

/// Bytes without the mark that some editors put before UTF-8.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// The text of a file in UTF-8, with or without a byte order mark.
///
/// # Errors
/// What the bytes are instead, and where they stop being UTF-8, in words.
pub fn decode_text(bytes: Vec<u8>) -> Result<String, String> {
    let wide = match bytes.as_slice() {
        [0xFF, 0xFE, ..] => Some("little-endian"),
        [0xFE, 0xFF, ..] => Some("big-endian"),
        _ => None,
    };
    if let Some(order) = wide {
        return Err(format!("it is UTF-16 ({order}, by its byte order mark), expected UTF-8; save it as UTF-8"));
    }
    let bytes = if bytes.starts_with(BYTE_ORDER_MARK) { bytes[BYTE_ORDER_MARK.len()..].to_vec() } else { bytes };
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count();
        let byte = error.as_bytes().get(offset).copied().unwrap_or_default();
        format!(
            "it is not UTF-8: byte 0x{byte:02X} at offset {offset}, in line {line}, begins no character; save it as UTF-8"
        )
    })
}

/// JSON as Python's `json.dump` writes it, with `null` for the numbers that JSON does not have: `NaN`, `Infinity` and
/// `-Infinity`. A field that is read refuses `null` by its name, and others are passed over.
pub fn plain_json(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !["NaN", "Infinity"].iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['"', 'N', 'I', '-']) {
        let (before, found) = rest.split_at(start);
        plain += before;
        if let Some(word) = WORDS.iter().find(|&&word| found.starts_with(word)) {
            plain += "null";
            rest = &found[word.len()..];
            continue;
        }
        let end = if found.starts_with('"') { end_of_string(found) } else { 1 };
        plain += &found[..end];
        rest = &found[end..];
    }
    Cow::Owned(plain + rest)
}

/// Where a JSON string that begins here ends.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_limit_holds_for_what_is_read_whatever_is_stated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings");
        std::fs::write(&file, b"1234").unwrap();
        assert_eq!(read_limited(&file, 4).unwrap(), b"1234");
        let error = read_limited(&file, 3).unwrap_err();
        assert!(error.kind() == ErrorKind::FileTooLarge && error.to_string().contains("4 bytes, over the limit of 3"));
        let endless = read_limited(&PathBuf::from("/dev/zero"), 10_000).unwrap_err();
        assert!(endless.to_string().contains("no end"), "{endless}");
    }

    #[test]
    fn encodings_are_told_by_name_or_by_place() {
        assert_eq!(decode_text(b"\xEF\xBB\xBFa: 1".to_vec()).unwrap(), "a: 1");
        assert_eq!(decode_text("é".into()).unwrap(), "é");
        assert!(decode_text(b"\xFF\xFEa\0".to_vec()).unwrap_err().contains("UTF-16 (little-endian"));
        let latin = decode_text(b"a: 1\nb: caf\xE9\n".to_vec()).unwrap_err();
        assert!(latin.contains("0xE9 at offset 11, in line 2"), "{latin}");
    }

    #[test]
    fn pythons_numbers_become_null_and_texts_stay() {
        let python = r#"{"NaN": NaN, "a": [-Infinity, Infinity, -1.5], "b": "NaN \" Infinity", "c": -2}"#;
        let value: serde_json::Value = serde_json::from_str(&plain_json(python)).unwrap();
        let expected = serde_json::json!({"NaN": null, "a": [null, null, -1.5], "b": "NaN \" Infinity", "c": -2});
        assert_eq!(value, expected);
        assert!(matches!(plain_json("[1, -2]"), Cow::Borrowed(_)));
        assert_eq!(plain_json("\"NaN"), "\"NaN");
    }
}
