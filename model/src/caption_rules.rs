//! What some published training code does to captions before the text repair and the byte-pair encoding.

use crate::CaptionRules;

/// Characters that Python counts as whitespace and Unicode does not: four separators of files, groups, records and units.
const SEPARATORS: std::ops::RangeInclusive<char> = '\u{1C}'..='\u{1F}';

impl CaptionRules {
    /// The caption by these rules, and whether words were cut off. The order is the published code's (`pre_caption` of
    /// TBPS-CLIP, after ALBEF's).
    pub(crate) fn apply(&self, caption: &str) -> (String, bool) {
        let lower = caption.to_lowercase();
        let is_spaced = |letter: char| self.characters_to_spaces.contains(letter);
        let spaced: String = lower.chars().map(|letter| if is_spaced(letter) { ' ' } else { letter }).collect();
        let folded = fold_whitespace(&spaced);
        let stripped = folded.trim_end_matches('\n').trim_matches(' ');
        match stripped.match_indices(' ').nth(self.max_words.saturating_sub(1)) {
            Some((end, _)) => (stripped[..end].to_owned(), true),
            None => (stripped.to_owned(), false),
        }
    }
}

/// Two or more characters of whitespace become one space; a single one stays what it is.
fn fold_whitespace(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if !is_whitespace(letter) {
            folded.push(letter);
            continue;
        }
        let mut is_run = false;
        while letters.next_if(|&next| is_whitespace(next)).is_some() {
            is_run = true;
        }
        folded.push(if is_run { ' ' } else { letter });
    }
    folded
}

/// What `\\s` matches in Python.
fn is_whitespace(letter: char) -> bool {
    letter.is_whitespace() || SEPARATORS.contains(&letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Caption {
        text: String,
        normalised: String,
    }

    fn rules() -> CaptionRules {
        CaptionRules { characters_to_spaces: ".!\"()*#:;~".to_owned(), max_words: 77 }
    }

    /// `tests/data/provenance.toml` says where they are from.
    #[test]
    fn captions_become_what_the_published_code_makes_of_them() {
        let captions: Vec<Caption> =
            serde_json::from_str(include_str!("../tests/data/tbps_clip_captions.json")).unwrap();
        assert_eq!(captions.len(), 46);
        for Caption { text, normalised } in captions {
            assert_eq!(rules().apply(&text).0, normalised, "{text:?}");
        }
    }

    #[test]
    fn words_beyond_the_limit_are_cut_off_and_told() {
        let words = |count: usize| vec!["word"; count].join(" ");
        assert_eq!(rules().apply(&words(77)), (words(77), false));
        assert_eq!(rules().apply(&words(78)), (words(77), true));
        assert_eq!(rules().apply(&(words(77) + ".")), (words(77), false));
        // A single tab makes one word of two.
        assert!(!rules().apply(&(words(77) + "\tword")).1);
        assert_eq!(CaptionRules { max_words: 1, ..rules() }.apply("Red coat"), ("red".to_owned(), true));
        assert_eq!(rules().apply(" .!. "), (String::new(), false));
    }
}
