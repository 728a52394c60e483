//! CLIP's byte-pair tokenizer with the text repair of the retrieval papers.
//!
//! The papers clean captions with ftfy, unescape HTML twice, fold whitespace and lower the case before the byte-pair
//! encoding; `tokenizer.json` does the encoding alone, so the cleaning happens here, in that order.

use crate::text_input::{read_limited, without_mark};
use crate::vocabulary_gaps::{LostPiece, VocabularyGaps, describe_lost, settle_unknown_token};
use crate::{ModelError, TextInput};
use std::borrow::Cow;
use std::path::Path;
use tokenizers::Tokenizer;

/// A text as the text tower reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedText {
    /// Start-of-text, the byte pairs, end-of-text; 2 to `context_length` ids, not padded.
    pub token_ids: Vec<i64>,
    /// Whether words were cut by the model's own limit or byte pairs to fit the context length, or stand behind an end mark that the text spells out. The caller
    /// is told: the end of the text did not count.
    pub truncated: bool,
    /// Letters that the vocabulary has no token for, in words: the embedding knows nothing of them, or only that something
    /// was there. The caller is told.
    pub unknown_letters: Option<String>,
    /// Tokens between the marks that stand for something.
    content_tokens: usize,
}

impl TokenizedText {
    /// Whether nothing is left but the start and end marks, and tokens that stand for what is unknown.
    pub fn is_blank(&self) -> bool {
        self.content_tokens == 0
    }
}

/// Turns texts into token ids. The names of the marks in a text become the marks themselves, as in the published tokenizers;
/// the text tower reads a text up to its first end mark, so what follows one is reported as cut off. Cheap to share between threads, expensive to build.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    input: TextInput,
    /// `None` where the vocabulary expresses every text.
    gaps: Option<VocabularyGaps>,
    /// Id of what stands for everything that the vocabulary lacks, if there is one.
    unknown_id: Option<u32>,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` and checks that it knows the manifest's special tokens under the manifest's ids.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the file does not parse or disagrees with the manifest.
    pub fn from_file(path: &Path, input: TextInput) -> Result<Self, ModelError> {
        let unreadable = |source| ModelError::Unreadable { path: path.to_owned(), source };
        Self::from_bytes(without_mark(&read_limited(path, MAX_TOKENIZER_BYTES).map_err(unreadable)?), input)
    }

    /// As [`TextTokenizer::from_file`], from the file's content.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`].
    pub fn from_bytes(bytes: &[u8], input: TextInput) -> Result<Self, ModelError> {
        let mut tokenizer =
            Tokenizer::from_bytes(bytes).map_err(|error| ModelError::Tokenizer { reason: error.to_string() })?;
        // Truncation and padding are ours: the file's own settings must not change ids.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| ModelError::Tokenizer { reason: error.to_string() })?;
        let marks = [input.start_of_text_id, input.end_of_text_id];
        let unknown_id = settle_unknown_token(&mut tokenizer, marks)?;
        let gaps = VocabularyGaps::of(&tokenizer);
        let this = Self { tokenizer, input, gaps, unknown_id };
        for (token, expected) in
            [(START_OF_TEXT, this.input.start_of_text_id), (END_OF_TEXT, this.input.end_of_text_id)]
        {
            let found = this.tokenizer.token_to_id(token).map(i64::from);
            if found != Some(expected) {
                let reason = format!("{token} has id {found:?}, the manifest says {expected}");
                return Err(ModelError::Tokenizer { reason });
            }
        }
        Ok(this)
    }

    /// The letters and digits that the vocabulary has no token for, in words; `None` where it has all.
    pub fn missing_letters(&self) -> Option<String> {
        self.gaps.as_ref()?.describe(&self.tokenizer)
    }

    /// Cleans and encodes one text.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the file's own rules fail.
    pub fn tokenize(&self, text: &str) -> Result<TokenizedText, ModelError> {
        let (ruled, is_cut) = match &self.input.caption_rules {
            Some(rules) => {
                let (ruled, is_cut) = rules.apply(text);
                (Cow::Owned(ruled), is_cut)
            }
            None => (Cow::Borrowed(text), false),
        };
        let cleaned = clean_text(&ruled);
        let mut lost = self.gaps.as_ref().map(|gaps| gaps.lost(&self.tokenizer, &cleaned)).unwrap_or_default();
        // Places in the text cost time, and are only looked at for this.
        let encoding = match self.unknown_id {
            None => self.tokenizer.encode_fast(cleaned.as_str(), false),
            Some(_) => self.tokenizer.encode(cleaned.as_str(), false),
        }
        .map_err(|error| ModelError::Tokenizer { reason: error.to_string() })?;
        let is_known = |id: u32| Some(id) != self.unknown_id;
        for (&id, &(start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            if !is_known(id) {
                lost.extend(LostPiece::at(&cleaned, start..end));
            }
        }
        let unknown_letters = (!lost.is_empty()).then(|| describe_lost(&lost));
        let room = self.input.context_length.saturating_sub(2);
        let ids = encoding.get_ids();
        let counting = ids.iter().position(|&id| i64::from(id) == self.input.end_of_text_id).unwrap_or(ids.len());
        let truncated = is_cut || ids.len() > room || counting + 1 < ids.len();
        let mut token_ids = Vec::with_capacity(encoding.len().min(room) + 2);
        token_ids.push(self.input.start_of_text_id);
        token_ids.extend(ids.iter().take(room).map(|&id| i64::from(id)));
        token_ids.push(self.input.end_of_text_id);
        let content_tokens = ids.iter().take(room.min(counting)).filter(|&&id| is_known(id)).count();
        Ok(TokenizedText { token_ids, truncated, unknown_letters, content_tokens })
    }
}

/// What a `tokenizer.json` says of its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// Id of [`START_OF_TEXT`].
    pub start_of_text_id: i64,
    /// Id of [`END_OF_TEXT`].
    pub end_of_text_id: i64,
    /// Id of [`MASK`], where there is one.
    pub mask_id: Option<i64>,
    /// The highest id.
    pub highest_id: i64,
}

impl Vocabulary {
    /// Reads the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when it does not parse, lacks a mark, or its end mark is not the highest id: the text
    /// tower finds the end of a text by the highest id.
    pub fn of_tokenizer(bytes: &[u8]) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::Tokenizer { reason };
        let tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| fault(error.to_string()))?;
        let id = |token: &str| tokenizer.token_to_id(token).map(i64::from);
        let required = |token: &str| id(token).ok_or_else(|| fault(format!("no token {token}")));
        let highest_id = tokenizer.get_vocab(true).into_values().max().map_or(-1, i64::from);
        let vocabulary = Self {
            start_of_text_id: required(START_OF_TEXT)?,
            end_of_text_id: required(END_OF_TEXT)?,
            mask_id: id(MASK),
            highest_id,
        };
        if vocabulary.end_of_text_id != highest_id {
            let reason = format!("{END_OF_TEXT} has id {}, the highest is {highest_id}", vocabulary.end_of_text_id);
            return Err(fault(reason));
        }
        Ok(vocabulary)
    }
}

/// CLIP's own takes two megabytes; a file of this size is a mistake or an attack.
pub const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// The start mark's name in the vocabulary.
pub const START_OF_TEXT: &str = "<|startoftext|>";
/// The end mark's name in the vocabulary.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// The mask's name in the vocabulary; masked-language training uses it, and captions may hold it literally.
pub const MASK: &str = "<|mask|>";

/// ftfy's repair, HTML unescaped twice, whitespace folded, lower case: the order of the published tokenizers.
fn clean_text(text: &str) -> String {
    let repaired = plsfix::fix_text(text, None);
    let once = htmlize::unescape(repaired);
    let twice = htmlize::unescape(&*once);
    let folded = twice.split_whitespace().collect::<Vec<_>>().join(" ");
    folded.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte-level vocabulary of `letters` within words and `last_letters` at their ends, in no particular order.
    fn tokenizer(letters: &str, last_letters: &str, unknown: Option<&str>) -> TextTokenizer {
        let mut tokens: Vec<String> = letters.chars().map(String::from).collect();
        tokens.extend(last_letters.chars().map(|letter| format!("{letter}</w>")));
        tokens.extend(unknown.filter(|&token| token != END_OF_TEXT).map(str::to_owned));
        tokens.extend([START_OF_TEXT, END_OF_TEXT].map(str::to_owned));
        let vocabulary: serde_json::Map<_, _> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
        let mark = |content: &str| {
            serde_json::json!({
                "id": vocabulary[content], "content": content, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        };
        let marks = [START_OF_TEXT, END_OF_TEXT].map(mark);
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": marks, "decoder": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}, "behavior": "Removed", "invert": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            ]},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
                "vocab": vocabulary, "merges": [],
            },
        });
        let last_id = tokens.len() as i64 - 1;
        let input = TextInput {
            context_length: 77,
            vocabulary_size: tokens.len(),
            start_of_text_id: last_id - 1,
            end_of_text_id: last_id,
            mask_id: None,
            padding_id: 0,
            caption_rules: None,
        };
        TextTokenizer::from_bytes(&serde_json::to_vec(&json).unwrap(), input).unwrap()
    }

    /// Without this, `fix` is encoded as `f` and `i` in silence, in the library as in Python's, and `x` is an empty text.
    #[test]
    fn letters_that_the_vocabulary_drops_are_told_by_name() {
        let of_few_captions = tokenizer("fiadn", "fian", None);
        let told = |text: &str| of_few_captions.tokenize(text).unwrap().unknown_letters.unwrap_or_default();
        assert_eq!(told("fin, a dia!"), "", "punctuation makes no other words");
        assert_eq!(told("a fix"), r#"'x' at the end of "fix""#);
        assert_eq!(told("add a 7"), r#"'7' at the end of "7", 'd' at the end of "add""#);
        assert_eq!(told("faxa"), r#"'x' in "faxa""#);
        assert_eq!(told("dié"), r#"'é' at the end of "dié""#);
        let nothing_left = of_few_captions.tokenize("x").unwrap();
        assert!(nothing_left.is_blank() && nothing_left.token_ids.len() == 2, "{nothing_left:?}");
        assert_eq!(told("x"), r#"'x' at the end of "x""#);
        assert!(of_few_captions.tokenize("!").unwrap().is_blank());
        let missing = of_few_captions.missing_letters().unwrap();
        assert!(missing.starts_with("no token for b c e g") && missing.contains("and for b c d e"), "{missing}");
    }

    #[test]
    fn what_became_the_unknown_token_is_told() {
        let with_unknown = tokenizer("fia", "fia", Some("<unk>"));
        assert_eq!(with_unknown.missing_letters(), None);
        let fix = with_unknown.tokenize("a fix").unwrap();
        assert_eq!(fix.token_ids, [7, 5, 0, 1, 6, 8]);
        assert_eq!(fix.unknown_letters.as_deref(), Some(r#"'x' at the end of "fix""#));
        assert!(!fix.is_blank());
        let two_bytes = with_unknown.tokenize("fié if").unwrap();
        assert_eq!(two_bytes.unknown_letters.as_deref(), Some(r#"'é' at the end of "fié""#));
        let nothing_known = with_unknown.tokenize("x").unwrap();
        assert_eq!(nothing_known.token_ids, [7, 6, 8]);
        assert!(nothing_known.is_blank() && nothing_known.unknown_letters.is_some(), "{nothing_known:?}");
        assert_eq!(with_unknown.tokenize("if").unwrap().unknown_letters, None);
    }

    /// Hugging Face names CLIP's end mark the unknown token, and the text tower reads a text up to its first end mark.
    #[test]
    fn an_end_mark_for_unknown_letters_cuts_no_text() {
        let with_end_mark = tokenizer("fia", "fia", Some(END_OF_TEXT));
        let fix = with_end_mark.tokenize("fxa if").unwrap();
        assert_eq!(fix.token_ids, [6, 0, 5, 1, 3, 7]);
        assert_eq!(fix.unknown_letters.as_deref(), Some(r#"'x' in "fxa""#));
        assert!(with_end_mark.missing_letters().is_some());
        let nothing_left = with_end_mark.tokenize("x").unwrap();
        assert!(nothing_left.is_blank() && nothing_left.unknown_letters.is_some(), "{nothing_left:?}");
    }

    /// The ids are those of the published tokenizers, and the text tower stops at the first end mark.
    #[test]
    fn what_follows_an_end_mark_that_is_spelled_out_is_reported_as_cut_off() {
        let tokenizer = tokenizer("fia", "fia", None);
        let [start, end] =
            [START_OF_TEXT, END_OF_TEXT].map(|mark| i64::from(tokenizer.tokenizer.token_to_id(mark).unwrap()));
        let found = |text: &str| {
            let text = tokenizer.tokenize(text).unwrap();
            (text.token_ids, text.truncated, text.content_tokens)
        };
        let (ids, truncated, content) = found("fia <|endoftext|> if");
        assert_eq!(ids.iter().filter(|&&id| id == end).count(), 2, "{ids:?}");
        assert!(truncated && content == 3, "{ids:?}");
        assert!(!found("fia").1 && !found("fia <|endoftext|>").1);
        assert_eq!(found("<|endoftext|> if"), (vec![start, end, 1, 3, end], true, 0));
        assert!(tokenizer.tokenize("<|ENDOFTEXT|> if").unwrap().is_blank(), "after lower case it is the mark as well");
    }

    #[test]
    fn words_that_became_the_unknown_token_are_told_whole() {
        let of_words = |unknown: &str| {
            let json = serde_json::json!({
                "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
                "added_tokens": [], "decoder": null, "pre_tokenizer": {"type": "Whitespace"},
                "model": {
                    "type": "WordLevel", "unk_token": unknown,
                    "vocab": {"red": 0, "<unk>": 1, START_OF_TEXT: 2, END_OF_TEXT: 3},
                },
            });
            let input = TextInput {
                context_length: 77,
                vocabulary_size: 4,
                start_of_text_id: 2,
                end_of_text_id: 3,
                mask_id: None,
                padding_id: 0,
                caption_rules: None,
            };
            TextTokenizer::from_bytes(&serde_json::to_vec(&json).unwrap(), input)
        };
        let text = of_words("<unk>").unwrap().tokenize("red coat").unwrap();
        assert_eq!(text.unknown_letters.as_deref(), Some(r#""coat""#));
        let refused = of_words(END_OF_TEXT).err().unwrap().to_string();
        assert!(refused.contains("unknown"), "{refused}");
    }

    #[test]
    fn cleaning_follows_the_published_order() {
        let check = |text: &str, expected: &str| assert_eq!(clean_text(text), expected);
        check("  multiple   spaces\tand\nnewlines ", "multiple spaces and newlines");
        check("&lt;b&gt;bold&lt;/b&gt; &amp;amp; text", "<b>bold</b> & text");
        check("She’s “red”", "she's \"red\"");
        check("ﬁne ＡＢＣ", "fine abc");
        check("", "");
    }
}
