//! Letters for which a vocabulary has no token.
//!
//! A byte-pair tokenizer without an unknown token drops what its vocabulary lacks without a word, in the library used here
//! as in the published ones: of a vocabulary made of too few captions, `fix` becomes `f` and `i`, and the embedding is that of
//! another text. With an unknown token it only says that something was there. Models are trained on what is left, so it
//! stays that way; but whoever asks is told. CLIP's own vocabulary holds every byte, within and at the end of a word, and has
//! no gaps.
//!
//! Hugging Face names CLIP's end mark the unknown token. The text tower reads a text up to its first end mark, so such a
//! vocabulary is taken for one without an unknown token.

use crate::ModelError;
use std::collections::BTreeSet;
use std::ops::Range;
use tokenizers::models::bpe::BPE;
use tokenizers::tokenizer::normalizer::OffsetReferential;
use tokenizers::tokenizer::pre_tokenizer::{OffsetType, PreTokenizedString};
use tokenizers::{Model as _, ModelWrapper, NormalizedString, Normalizer as _, PreTokenizer as _, Tokenizer};

/// How a vocabulary with gaps spells words.
pub(crate) struct VocabularyGaps {
    /// Before every letter but a word's first.
    prefix: String,
    /// Behind a word's last letter.
    suffix: String,
    /// Whether letters stand for bytes.
    is_byte_level: bool,
    /// Special tokens, which are no words.
    special: Vec<String>,
}

/// A part of a text that is lost.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LostPiece {
    Letter { letter: char, at_end: bool, word: String },
    Word(String),
}

impl LostPiece {
    /// What stands at these bytes of a text; `None` where nothing does.
    pub(crate) fn at(text: &str, place: Range<usize>) -> Option<Self> {
        let start = text.floor_char_boundary(place.start);
        let end = text.ceil_char_boundary(place.end);
        let piece = text.get(start..end)?;
        let first = piece.chars().next()?;
        let (before, behind) = (&text[..start], &text[end..]);
        let word_start = before.rfind(char::is_whitespace).map_or(0, |space| text.ceil_char_boundary(space + 1));
        let word_end = behind.find(char::is_whitespace).map_or(text.len(), |space| end + space);
        let word = text.get(word_start..word_end)?;
        if piece.len() == first.len_utf8() {
            return Some(Self::Letter { letter: first, at_end: end == word_end, word: word.to_owned() });
        }
        Some(Self::Word(piece.to_owned()))
    }
}

impl VocabularyGaps {
    /// `None` for a vocabulary that expresses every text, or has an unknown token for what it cannot.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let bpe = pairs_without_unknown_token(tokenizer)?;
        let pre_tokenizer = tokenizer.get_pre_tokenizer().and_then(|found| serde_json::to_string(found).ok());
        let gaps = Self {
            prefix: bpe.get_continuing_subword_prefix().clone().unwrap_or_default(),
            suffix: bpe.end_of_word_suffix.clone().unwrap_or_default(),
            is_byte_level: pre_tokenizer.is_some_and(|json| json.contains("\"ByteLevel\"")),
            special: tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect(),
        };
        let letters: Vec<char> = (0..=255).map(letter_of_byte).collect();
        let places = [(true, false), (false, false), (true, true), (false, true)];
        let has_all = letters
            .iter()
            .all(|&letter| places.iter().all(|&(is_first, is_last)| gaps.has(bpe, letter, is_first, is_last)));
        (!(gaps.is_byte_level && has_all)).then_some(gaps)
    }

    /// The letters and digits of a cleaned text that the vocabulary drops. Punctuation does not count: without it the words
    /// are the same.
    pub(crate) fn lost(&self, tokenizer: &Tokenizer, text: &str) -> BTreeSet<LostPiece> {
        let mut lost = BTreeSet::new();
        let Some(bpe) = pairs_without_unknown_token(tokenizer) else { return lost };
        let text = self.special.iter().fold(text.to_owned(), |text, token| text.replace(token, " "));
        for word in words(tokenizer, &text) {
            if bpe.ignore_merges && bpe.token_to_id(&word).is_some() {
                continue;
            }
            let last = word.chars().count().saturating_sub(1);
            let spelled = word.chars().enumerate();
            let known: Vec<bool> =
                spelled.map(|(index, letter)| self.has(bpe, letter, index == 0, index == last)).collect();
            for (letter, is_known, at_end) in self.letters(&word, &known) {
                if !is_known && letter.is_alphanumeric() {
                    let word = self.readable(&word);
                    lost.insert(LostPiece::Letter { letter, at_end, word });
                }
            }
        }
        lost
    }

    /// Those of a to z and 0 to 9 for which there is no token, in words.
    pub(crate) fn describe(&self, tokenizer: &Tokenizer) -> Option<String> {
        let bpe = pairs_without_unknown_token(tokenizer)?;
        let lacking = |is_last: bool| -> String {
            let missing = ('a'..='z').chain('0'..='9').filter(|&letter| !self.has(bpe, letter, !is_last, is_last));
            missing.map(|letter| letter.to_string()).collect::<Vec<_>>().join(" ")
        };
        let parts = [(lacking(false), "within a word"), (lacking(true), "at the end of a word")];
        let parts = parts.iter().filter(|(letters, _)| !letters.is_empty());
        let parts: Vec<_> = parts.map(|(letters, place)| format!("{letters} {place}")).collect();
        (!parts.is_empty()).then(|| format!("no token for {}", parts.join(", and for ")))
    }

    fn has(&self, bpe: &BPE, letter: char, is_first: bool, is_last: bool) -> bool {
        let prefix = if is_first { "" } else { self.prefix.as_str() };
        let suffix = if is_last { self.suffix.as_str() } else { "" };
        bpe.token_to_id(&format!("{prefix}{letter}{suffix}")).is_some()
    }

    /// A spelled word's characters, whether all of each is known, and whether it is the last.
    fn letters(&self, word: &str, known: &[bool]) -> Vec<(char, bool, bool)> {
        let readable = self.readable(word);
        let mut found = Vec::new();
        let mut position = 0;
        for letter in readable.chars() {
            let units = if self.is_byte_level { letter.len_utf8() } else { 1 };
            let is_known = known.iter().skip(position).take(units).all(|&is_known| is_known);
            position += units;
            found.push((letter, is_known, position >= known.len()));
        }
        found
    }

    /// The word as a person writes it.
    fn readable(&self, word: &str) -> String {
        if !self.is_byte_level {
            return word.to_owned();
        }
        let byte = |letter: char| (0..=255).find(|&byte| letter_of_byte(byte) == letter);
        String::from_utf8_lossy(&word.chars().filter_map(byte).collect::<Vec<u8>>()).into_owned()
    }
}

/// The letters and where they stand, for a message.
pub(crate) fn describe_lost(lost: &BTreeSet<LostPiece>) -> String {
    const SHOWN: usize = 5;
    let name = |piece: &LostPiece| match piece {
        LostPiece::Letter { letter, at_end: true, word } => format!("{letter:?} at the end of {word:?}"),
        LostPiece::Letter { letter, at_end: false, word } => format!("{letter:?} in {word:?}"),
        LostPiece::Word(word) => format!("{word:?}"),
    };
    let mut text = lost.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ");
    if lost.len() > SHOWN {
        text += &format!(" and {} more", lost.len() - SHOWN);
    }
    text
}

/// The id that stands for what the vocabulary lacks. One of the `marks` cannot: of byte pairs it is given up, and what the
/// vocabulary lacks is dropped.
///
/// # Errors
/// [`ModelError::Tokenizer`] for other vocabularies whose unknown token is one of the marks.
pub(crate) fn settle_unknown_token(tokenizer: &mut Tokenizer, marks: [i64; 2]) -> Result<Option<u32>, ModelError> {
    let unknown_id = match tokenizer.get_model() {
        ModelWrapper::BPE(bpe) => bpe.unk_token.as_ref().and_then(|token| tokenizer.token_to_id(token)),
        ModelWrapper::WordPiece(pieces) => tokenizer.token_to_id(&pieces.unk_token),
        ModelWrapper::WordLevel(words) => tokenizer.token_to_id(&words.unk_token),
        ModelWrapper::Unigram(pieces) => serde_json::to_value(pieces)
            .ok()
            .and_then(|settings| settings.get("unk_id")?.as_u64())
            .and_then(|id| u32::try_from(id).ok()),
    };
    let Some(id) = unknown_id.filter(|&id| marks.contains(&i64::from(id))) else { return Ok(unknown_id) };
    let ModelWrapper::BPE(bpe) = tokenizer.get_model() else {
        let reason = format!("its unknown token has id {id}, which is the start or end mark's; give it one of its own");
        return Err(ModelError::Tokenizer { reason });
    };
    let mut bpe = bpe.clone();
    bpe.unk_token = None;
    tokenizer.with_model(bpe);
    Ok(None)
}

fn pairs_without_unknown_token(tokenizer: &Tokenizer) -> Option<&BPE> {
    match tokenizer.get_model() {
        ModelWrapper::BPE(bpe) if bpe.unk_token.is_none() && !bpe.byte_fallback => Some(bpe),
        ModelWrapper::BPE(_) | ModelWrapper::WordPiece(_) | ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => {
            None
        }
    }
}

/// The words of a text, spelled as the vocabulary spells them. A text that cannot be cut has none: encoding it says why.
fn words(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let mut text = NormalizedString::from(text);
    let normalized = tokenizer.get_normalizer().map_or(Ok(()), |normalizer| normalizer.normalize(&mut text));
    let mut cut = PreTokenizedString::from(text);
    let split = tokenizer.get_pre_tokenizer().map_or(Ok(()), |pre_tokenizer| pre_tokenizer.pre_tokenize(&mut cut));
    if normalized.and(split).is_err() {
        return Vec::new();
    }
    let splits = cut.get_splits(OffsetReferential::Normalized, OffsetType::None);
    splits.into_iter().map(|(word, ..)| word.to_owned()).collect()
}

/// GPT-2's printable stand-in for a byte.
fn letter_of_byte(byte: u8) -> char {
    let is_shown = |byte: u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if is_shown(byte) {
        return char::from(byte);
    }
    let hidden_before = (0..byte).filter(|&other| !is_shown(other)).count() as u32;
    char::from_u32(256 + hidden_before).unwrap_or(char::REPLACEMENT_CHARACTER)
}
