//! CLIP's byte-pair tokenizer with the text repair of the retrieval papers.
//!
//! The papers clean captions with ftfy, unescape HTML twice, fold whitespace and lower the case before the byte-pair
//! encoding; `tokenizer.json` does the encoding alone, so the cleaning happens here, in that order.

use crate::{ModelError, TextInput};
use std::path::Path;
use tokenizers::Tokenizer;

/// A text as the text tower reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedText {
    /// Start-of-text, the byte pairs, end-of-text; 2 to `context_length` ids, not padded.
    pub token_ids: Vec<i64>,
    /// Whether byte pairs were cut to fit the context length. The caller is told: the end of the text did not count.
    pub truncated: bool,
}

impl TokenizedText {
    /// Whether nothing but the start and end marks is left.
    pub fn is_blank(&self) -> bool {
        self.token_ids.len() <= 2
    }
}

/// Turns texts into token ids. Cheap to share between threads, expensive to build.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    input: TextInput,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` and checks that it knows the manifest's special tokens under the manifest's ids.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the file does not parse or disagrees with the manifest.
    pub fn from_file(path: &Path, input: TextInput) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Unreadable { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes, input)
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
        let this = Self { tokenizer, input };
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

    /// Cleans and encodes one text.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the vocabulary cannot express the text; CLIP's byte-level one always can.
    pub fn tokenize(&self, text: &str) -> Result<TokenizedText, ModelError> {
        let cleaned = clean_text(text);
        let encoding = self
            .tokenizer
            .encode_fast(cleaned, false)
            .map_err(|error| ModelError::Tokenizer { reason: error.to_string() })?;
        let room = self.input.context_length.saturating_sub(2);
        let truncated = encoding.len() > room;
        let mut token_ids = Vec::with_capacity(encoding.len().min(room) + 2);
        token_ids.push(self.input.start_of_text_id);
        token_ids.extend(encoding.get_ids().iter().take(room).map(|&id| i64::from(id)));
        token_ids.push(self.input.end_of_text_id);
        Ok(TokenizedText { token_ids, truncated })
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
