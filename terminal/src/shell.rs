//! Words of a line that people paste into a shell.

use std::path::Path;

/// What no shell takes for anything but itself, besides letters and digits.
const PLAIN: &str = "/._-+,:@";

/// A path as one word: in single quotes where a shell would split or change it.
pub fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |character: char| character.is_alphanumeric() || PLAIN.contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    // Only a quote ends what is quoted: it stands outside, behind a backslash.
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        for (path, expected) in [
            ("/tmp/runs/up-person_2.1", "/tmp/runs/up-person_2.1"),
            ("runs/Läufe", "runs/Läufe"),
            ("my runs/one", "'my runs/one'"),
            ("a$HOME;b", "'a$HOME;b'"),
            ("~/runs", "'~/runs'"),
            ("Anna's", r"'Anna'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
