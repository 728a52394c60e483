//! The parts of a JSON file that is in memory, found without parsing them: what one of them holds is read by itself then, so
//! that a fault or a monstrous size costs no other.

use super::{MAX_BOXES, not_numbers};
use serde::de::DeserializeOwned;

/// Longest element that is read, in bytes. A box takes some hundred.
const MAX_ELEMENT_BYTES: usize = 1 << 20;
/// Most fields of an object that holds lists.
const MAX_MEMBERS: usize = 10_000;

/// The elements of a list.
///
/// # Errors
/// Where the text is no list, or over [`MAX_BOXES`] long.
pub(super) fn elements(text: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut parts = Parts { text, at: 0 };
    let mut elements = Vec::new();
    let mut goes_on = parts.open(b'[', b']')?;
    while goes_on {
        if elements.len() == MAX_BOXES {
            return Err(format!("a list of over {MAX_BOXES}; index the cameras one by one"));
        }
        elements.push(parts.value()?);
        goes_on = parts.goes_on(b']')?;
    }
    parts.end().map(|()| elements)
}

/// The fields of an object, each with the text of its value.
///
/// # Errors
/// Where the text is no object, has a field twice, or over 10,000 of them.
pub(super) fn members(text: &[u8]) -> Result<Vec<(String, &[u8])>, String> {
    let mut parts = Parts { text, at: 0 };
    let mut members: Vec<(String, &[u8])> = Vec::new();
    let mut goes_on = parts.open(b'{', b'}')?;
    while goes_on {
        let name: String = element(parts.value()?)?;
        if members.len() == MAX_MEMBERS {
            return Err(format!("an object of over {MAX_MEMBERS} fields"));
        }
        if members.iter().any(|(known, _)| *known == name) {
            return Err(format!("the field `{name}` stands there twice"));
        }
        if parts.next() != Some(b':') {
            return Err(parts.unexpected("a colon"));
        }
        members.push((name, parts.value()?));
        goes_on = parts.goes_on(b'}')?;
    }
    parts.end().map(|()| members)
}

/// What an element holds, with `null` in place of `NaN` and its like.
///
/// # Errors
/// What is wrong with it, or that it is too long.
pub(super) fn element<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    if text.len() > MAX_ELEMENT_BYTES {
        return Err(format!("{} bytes, and at most {MAX_ELEMENT_BYTES} of an element are read", text.len()));
    }
    let parsed = serde_json::from_slice(text).or_else(|error| match not_numbers::as_null(text) {
        Some(mended) => serde_json::from_slice(&mended),
        None => Err(error),
    });
    parsed.map_err(|error| error.to_string())
}

/// The beginning of an element, for people.
pub(super) fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..320).unwrap_or(text)).chars().take(80).collect()
}

struct Parts<'text> {
    text: &'text [u8],
    at: usize,
}

impl<'text> Parts<'text> {
    /// Passes over blanks.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn unexpected(&self, expected: &str) -> String {
        if self.at >= self.text.len() {
            format!("EOF, the text breaks off where {expected} is expected")
        } else {
            format!("expected {expected} before byte {}", self.at)
        }
    }

    /// Whether something stands between these two.
    fn open(&mut self, first: u8, last: u8) -> Result<bool, String> {
        if self.next() != Some(first) {
            return Err(self.unexpected(&format!("{:?}", char::from(first))));
        }
        if self.peek() == Some(last) {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether there is another part before the last mark.
    fn goes_on(&mut self, last: u8) -> Result<bool, String> {
        match self.next() {
            Some(b',') => Ok(true),
            Some(mark) if mark == last => Ok(false),
            Some(_) | None => Err(self.unexpected("a comma or the end")),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// The text of a value. What is between brackets is not looked at but for their number.
    fn value(&mut self) -> Result<&'text [u8], String> {
        self.peek();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.text.get(self.at) {
                None => break,
                Some(b'"') => self.pass_text(),
                Some(b'[' | b'{') => depth += 1,
                Some(b']' | b'}' | b',' | b':') if depth == 0 => break,
                Some(b']' | b'}') => depth -= 1,
                Some(byte) if depth == 0 && byte.is_ascii_whitespace() => break,
                Some(_) => {}
            }
            self.at += 1;
        }
        let value = self.text.get(start..self.at).unwrap_or_default();
        if depth == 0 && !value.is_empty() { Ok(value) } else { Err(self.unexpected("a value and its end")) }
    }

    /// Goes to the quote that ends a text.
    fn pass_text(&mut self) {
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => return,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn parts_are_found_as_they_stand() {
        let list = br#" [1, "a,]\"", {"x": [1, "}"]} ,NaN, null] "#;
        let expected: [&[u8]; 5] = [b"1", br#""a,]\"""#, br#"{"x": [1, "}"]}"#, b"NaN", b"null"];
        assert_eq!(elements(list).unwrap(), expected);
        assert_eq!(elements(b"[]").unwrap(), [b""; 0]);
        let object = members(br#"{"images": [1, 2], "a\u0062": "x"}"#).unwrap();
        assert_eq!(object, [("images".to_owned(), &b"[1, 2]"[..]), ("ab".to_owned(), br#""x""#)]);
        assert_eq!(element::<Option<f64>>(b"NaN"), Ok(None));
        for damaged in ["", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1]]", "[[1]", "{}", "7"] {
            assert!(elements(damaged.as_bytes()).is_err(), "{damaged}");
        }
        for damaged in ["{", r#"{"a"}"#, r#"{"a": }"#, r#"{"a": 1, "a": 2}"#, "{1: 2}", r#"{"a": 1"#, "[]"] {
            assert!(members(damaged.as_bytes()).is_err(), "{damaged}");
        }
    }

    #[test]
    fn what_is_too_much_is_named_and_never_held() {
        let long = [&b"["[..], &b"[],".repeat(MAX_ELEMENT_BYTES / 3 + 1), b"[]]"].concat();
        assert!(element::<Value>(&long).unwrap_err().contains("1048576"));
        let deep = b"[".repeat(100_000);
        assert!(elements(&deep).unwrap_err().contains("EOF"));
        let wide: String = (0..=MAX_MEMBERS).map(|number| format!("\"{number}\": 1,")).collect();
        assert!(members(format!("{{{wide}\"z\": 1}}").as_bytes()).unwrap_err().contains("10000"));
    }

    proptest! {
        #[test]
        fn elements_are_those_of_a_parser(text in r#"\[[ ,\[\]{}:"\\a1]{0,12}\]"#) {
            let parsed = serde_json::from_str::<Vec<Value>>(&text);
            let found = elements(text.as_bytes());
            if let Ok(parsed) = parsed {
                let found: Vec<Value> = found.unwrap().into_iter().map(|part| element(part).unwrap()).collect();
                prop_assert_eq!(found, parsed);
            } else if let Ok(found) = found {
                prop_assert!(found.into_iter().any(|part| element::<Value>(part).is_err()));
            }
        }
    }
}
