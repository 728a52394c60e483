//! Text from anywhere, as a terminal and a log may show it.

use std::fmt::{self, Display, Write};

/// Text in which everything is escaped that would act on a terminal, begin a line of its own, or show a reader the
/// letters in another order: names and messages come from files and from other machines.
///
/// The escapes are JSON's (`\n`, `\u001b`), so a text that is JSON stays JSON of the same value.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((start, letter)) = rest.char_indices().find(|(_, letter)| acts(*letter)) {
            formatter.write_str(&rest[..start])?;
            escape(letter, formatter)?;
            rest = &rest[start + letter.len_utf8()..];
        }
        formatter.write_str(rest)
    }
}

fn escape(letter: char, to: &mut impl Write) -> fmt::Result {
    match letter {
        '\n' => to.write_str("\\n"),
        '\r' => to.write_str("\\r"),
        '\t' => to.write_str("\\t"),
        _ => letter.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}")),
    }
}

/// Whether a letter does more than being seen: control characters, separators of lines, and what turns the direction of
/// the text, which makes `gpj.exe` look like `exe.jpg`. Joiners stay, because scripts and pictures need them.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(letter, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_seen_instead() {
        for (text, expected) in [
            ("Läufe/漢 👩‍🔬.jpg", "Läufe/漢 👩‍🔬.jpg"),
            ("\u{1b}[2Ja.jpg", "\\u001b[2Ja.jpg"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            // One character that many terminals take for the beginning of a command.
            ("\u{9b}31m", "\\u009b31m"),
            ("a\u{202e}gpj.exe", "a\\u202egpj.exe"),
            ("\u{2066}a\u{2069}\u{7f}\0", "\\u2066a\\u2069\\u007f\\u0000"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("", ""),
        ] {
            assert_eq!(Printable(text).to_string(), expected);
        }
    }

    #[test]
    fn json_stays_json_of_the_same_value() {
        let text = "\u{202e}\u{1b}\u{9b}\u{e0041}\n\"\\";
        let json = serde_json::to_string(text).unwrap();
        let printed = Printable(&json).to_string();
        assert!(printed.chars().all(|letter| !acts(letter)), "{printed}");
        assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text);
    }
}
