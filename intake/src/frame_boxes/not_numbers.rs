//! `NaN` and its like in JSON, which Python writes and JSON does not know.

/// What Python writes for what is no number.
const WORDS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];

/// The text with `null` in place of each of them, so that one such number costs its own record alone; nothing where there is
/// none. Texts between quotes stay as they are.
pub(super) fn as_null(text: &[u8]) -> Option<Vec<u8>> {
    let (mut mended, mut copied, mut at, mut is_quoted) = (Vec::new(), 0, 0, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => at += 1,
            b'N' | b'I' | b'-' if !is_quoted => {
                if let Some(word) = WORDS.iter().find(|word| text[at..].starts_with(word)) {
                    mended.extend_from_slice(&text[copied..at]);
                    mended.extend_from_slice(b"null");
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return None;
    }
    mended.extend_from_slice(&text[copied..]);
    Some(mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_replaced() {
        let mended = as_null(br#"[NaN, "NaN \" NaN", -Infinity, -1, Infinity]"#).unwrap();
        assert_eq!(mended, br#"[null, "NaN \" NaN", null, -1, null]"#);
        assert_eq!(as_null(br#"{"a": "NaN", "b": -1}"#), None);
        assert_eq!(as_null(b"\"\\"), None);
    }
}
