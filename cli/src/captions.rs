//! Captions with or without the person they describe.

use anyhow::Context as _;
use descry_intake::read_text;
use serde::Deserialize;
use std::path::Path;

/// Largest file of captions, in bytes: all of them are held at once.
pub(crate) const MAX_CAPTION_FILE_BYTES: u64 = 256 << 20;

/// A description, and whom it describes if that is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caption {
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) person_id: Option<String>,
}

/// A line of a .jsonl file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Text(String),
    Caption(Caption),
}

/// Reads .txt with one caption a line, or .jsonl with JSON strings or objects `{"text": …, "person_id": …}`.
pub(crate) fn read_captions(path: &Path) -> anyhow::Result<Vec<Caption>> {
    let has_extension = |name: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(name));
    anyhow::ensure!(
        has_extension("txt") || has_extension("jsonl"),
        "{}: expected .txt (one caption a line) or .jsonl (a JSON string or {{\"text\": …, \"person_id\": …}} a line)",
        path.display()
    );
    let content = read_text(path, MAX_CAPTION_FILE_BYTES)?;
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    if has_extension("txt") {
        return Ok(lines.map(|(_, line)| Caption { text: line.trim().to_owned(), person_id: None }).collect());
    }
    lines
        .map(|(index, line)| {
            let expected = "expected a JSON string or {\"text\": …, \"person_id\": …} with texts as values";
            let at = || format!("{} line {}: {expected}", path.display(), index + 1);
            Ok(match serde_json::from_str::<Line>(line).with_context(at)? {
                Line::Text(text) => Caption { text, person_id: None },
                Line::Caption(caption) => caption,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<Vec<Caption>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_captions(&path)
    }

    #[test]
    fn both_formats_are_read() {
        let caption =
            |text: &str, person: Option<&str>| Caption { text: text.to_owned(), person_id: person.map(str::to_owned) };
        assert_eq!(read("c.txt", "a man\n\n a woman \n").unwrap(), [caption("a man", None), caption("a woman", None)]);
        let lines = "\"a man\"\n{\"text\": \"a woman\", \"person_id\": \"7\"}\n{\"text\": \"a girl\"}\n";
        let expected = [caption("a man", None), caption("a woman", Some("7")), caption("a girl", None)];
        assert_eq!(read("c.jsonl", lines).unwrap(), expected);
    }

    #[test]
    fn captions_are_utf_8_or_say_what_they_are() {
        let expected = [Caption { text: "ä".to_owned(), person_id: None }];
        assert_eq!(read("c.txt", "\u{feff}ä\n").unwrap(), expected);
        let utf16: Vec<u8> = "\u{feff}ä\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read("c.txt", utf16).unwrap(), expected);
        assert!(read("c.txt", b"abc\xff").unwrap_err().to_string().contains("UTF-8"));
        assert!(read_captions(Path::new("/nowhere/c.txt")).unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn faults_name_the_line() {
        for content in ["\"a\"\n{\"person_id\": \"7\"}\n", "\"a\"\n[1]\n", "\"a\"\n{\"text\": \"a\", \"who\": 1}\n"] {
            let message = format!("{:#}", read("c.jsonl", content).unwrap_err());
            assert!(message.contains("line 2"), "{message}");
        }
        assert!(read("c.csv", "").is_err());
    }
}
