//! The bundle's `tokenizer.json`: given, found beside the checkpoint, or made from CLIP's published merge table.

use crate::ExportError;
use descry_model::method::clip::VOCABULARY_SIZE;
use descry_model::text_input::{read_limited, without_mark};
use descry_model::{END_OF_TEXT, MASK, MAX_TOKENIZER_BYTES, START_OF_TEXT, Vocabulary};
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::Path;

/// CLIP's merge table as OpenAI publishes it (MIT licence).
const CLIP_MERGES: &[u8] = include_bytes!("../data/bpe_simple_vocab_16e6.txt.gz");
/// The marks at the end of the vocabulary.
const SPECIAL_TOKENS: [&str; 3] = [MASK, START_OF_TEXT, END_OF_TEXT];
/// How the published tokenizers cut text into words.
const WORD_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A tokenizer and what to tell the user of it.
pub(crate) struct TokenizerFile {
    pub(crate) json: Vec<u8>,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) origin: String,
}

/// Content of the `tokenizer.json` that belongs to a checkpoint, and where it came from in words: the given one, the one
/// beside the checkpoint, or CLIP's own.
///
/// - `vocabulary_size`: ids of the checkpoint's text tower; `None` where there is none yet
///
/// # Errors
/// [`ExportError::NoTokenizer`] when none was given and none is known; others when a given tokenizer is unusable or has ids
/// that the tower does not know.
pub fn tokenizer_json(
    given: Option<&Path>,
    checkpoint: Option<&Path>,
    vocabulary_size: Option<usize>,
) -> Result<(Vec<u8>, String), ExportError> {
    let found = find_tokenizer(given, checkpoint, vocabulary_size.unwrap_or(VOCABULARY_SIZE))?;
    Ok((found.json, found.origin))
}

/// Finds the tokenizer for a tower that knows `vocabulary_size` ids.
///
/// # Errors
/// As [`tokenizer_json`].
pub(crate) fn find_tokenizer(
    given: Option<&Path>,
    checkpoint: Option<&Path>,
    vocabulary_size: usize,
) -> Result<TokenizerFile, ExportError> {
    if let Some(path) = given {
        return read_tokenizer(path, vocabulary_size);
    }
    let mut origin = "CLIP's published merge table".to_owned();
    let mut misfit = None;
    if let Some(path) = checkpoint.and_then(beside) {
        // It was not asked for by name, so it is used only where it fits.
        match read_tokenizer(&path, vocabulary_size) {
            Ok(found) => return Ok(found),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the tokenizer beside the checkpoint does not fit");
                origin += &format!(", as {} does not fit", path.display());
                misfit = Some(format!("{}: {error}", path.display()));
            }
        }
    }
    if vocabulary_size == VOCABULARY_SIZE {
        let json = of_merges(&unpack(CLIP_MERGES, Path::new("CLIP's merge table"))?, VOCABULARY_SIZE)?;
        return checked(json, vocabulary_size, origin);
    }
    Err(ExportError::NoTokenizer { vocabulary_size, misfit })
}

fn beside(checkpoint: &Path) -> Option<std::path::PathBuf> {
    let folder = if checkpoint.is_dir() { checkpoint } else { checkpoint.parent()? };
    Some(folder.join("tokenizer.json")).filter(|path| path.is_file())
}

fn read_tokenizer(path: &Path, vocabulary_size: usize) -> Result<TokenizerFile, ExportError> {
    let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
    let content = read_limited(path, MAX_TOKENIZER_BYTES).map_err(unreadable)?;
    let content = without_mark(&content);
    let is_json = content.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let json = if is_json { content.to_vec() } else { of_merges(&unpack(content, path)?, vocabulary_size)? };
    checked(json, vocabulary_size, path.display().to_string())
}

fn checked(json: Vec<u8>, vocabulary_size: usize, origin: String) -> Result<TokenizerFile, ExportError> {
    let vocabulary = Vocabulary::of_tokenizer(&json)?;
    if usize::try_from(vocabulary.highest_id).is_ok_and(|highest| highest >= vocabulary_size) {
        return Err(setting(format!(
            "{origin} has ids up to {}, the checkpoint's text tower knows {vocabulary_size}; it belongs to another model",
            vocabulary.highest_id
        )));
    }
    Ok(TokenizerFile { json, vocabulary, origin })
}

/// The text of a merge table, compressed or not.
fn unpack(content: &[u8], path: &Path) -> Result<String, ExportError> {
    let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    if content.starts_with(&[0x1F, 0x8B]) {
        GzDecoder::new(content).take(MAX_TOKENIZER_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        (&mut &content[..]).take(MAX_TOKENIZER_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    }
    Ok(text)
}

/// Builds a tokenizer from a merge table the way the retrieval papers' tokenizer does: 256 bytes, the same at the end of
/// a word, one token a merge, three marks; merges beyond the vocabulary's size are dropped.
fn of_merges(merges: &str, vocabulary_size: usize) -> Result<Vec<u8>, ExportError> {
    let alphabet = byte_alphabet();
    let mut tokens: Vec<String> = alphabet.iter().map(char::to_string).collect();
    tokens.extend(alphabet.iter().map(|letter| format!("{letter}</w>")));
    let room = vocabulary_size
        .checked_sub(tokens.len() + SPECIAL_TOKENS.len())
        .ok_or_else(|| setting(format!("{vocabulary_size} token ids are too few for a byte-pair vocabulary")))?;
    let mut pairs = Vec::new();
    // The first line is the table's own title.
    for line in merges.lines().skip(1).filter(|line| !line.is_empty()).take(room) {
        let Some((left, right)) = line.split_once(' ') else {
            return Err(setting(format!("not a merge table: the line {:?} is no pair", cut(line))));
        };
        tokens.push(format!("{left}{right}"));
        pairs.push(json!([left, right]));
    }
    if pairs.len() < room {
        return Err(setting(format!("the merge table has {} merges, the checkpoint needs {room}", pairs.len())));
    }
    let first_special = tokens.len();
    let vocabulary: Map<String, Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, Value::from(id))).collect();
    let added: Vec<Value> = SPECIAL_TOKENS
        .iter()
        .enumerate()
        .map(|(index, token)| {
            json!({
                "id": first_special + index, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();
    let mut tokenizer = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORD_PATTERN}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
            "vocab": vocabulary, "merges": pairs,
        },
    });
    // The bytes are part of the fingerprint. Without this, the keys would be in the order in which they stand above in every
    // build of which any crate asks for serde_json's feature `preserve_order`.
    tokenizer.sort_all_objects();
    serde_json::to_vec(&tokenizer).map_err(|error| setting(error.to_string()))
}

/// GPT-2's printable stand-ins for the 256 byte values, in the order of the published vocabulary.
fn byte_alphabet() -> Vec<char> {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let (shown, hidden): (Vec<u32>, Vec<u32>) = (0..256).partition(printable);
    let stand_ins = hidden.iter().enumerate().map(|(index, _)| 256 + index as u32);
    shown.iter().copied().chain(stand_ins).filter_map(char::from_u32).collect()
}

fn cut(line: &str) -> String {
    line.chars().take(40).collect()
}

fn setting(reason: String) -> ExportError {
    ExportError::Setting { name: "tokenizer".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::{CaptionRules, TextInput, TextTokenizer};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Caption {
        text: String,
        ids: Vec<i64>,
    }

    /// Awkward captions with the ids that the papers' tokenizer gives (`testdata/provenance.toml`).
    #[test]
    fn clips_merge_table_gives_the_papers_ids() {
        let found = find_tokenizer(None, None, VOCABULARY_SIZE).unwrap();
        let input = clips_input(&found);
        assert_eq!(found.vocabulary.mask_id, Some(49_405));
        let tokenizer = TextTokenizer::from_bytes(&found.json, input).unwrap();
        let captions: Vec<Caption> =
            serde_json::from_str(include_str!("../../model/tests/data/captions.json")).unwrap();
        assert_eq!(captions.len(), 40);
        let mut wrong = Vec::new();
        for caption in captions {
            let tokenized = tokenizer.tokenize(&caption.text).unwrap();
            // One is too long, and one spells out the mark at which the text tower stops to read.
            let is_cut = caption.text.len() > 150 || caption.text.contains("<|endoftext|>");
            assert_eq!(tokenized.truncated, is_cut, "{}", caption.text);
            let mut ids = tokenized.token_ids;
            ids.resize(77, 0);
            if ids != caption.ids {
                wrong.push((caption.text, ids, caption.ids));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// Awkward captions with the ids that TBPS-CLIP's code gives.
    #[test]
    fn captions_by_the_rules_of_tbps_clip_get_its_ids() {
        let found = find_tokenizer(None, None, VOCABULARY_SIZE).unwrap();
        let rules = CaptionRules { characters_to_spaces: ".!\"()*#:;~".to_owned(), max_words: 77 };
        let input = TextInput { caption_rules: Some(rules), ..clips_input(&found) };
        let tokenizer = TextTokenizer::from_bytes(&found.json, input).unwrap();
        let captions: Vec<Caption> =
            serde_json::from_str(include_str!("../../model/tests/data/tbps_clip_captions.json")).unwrap();
        assert_eq!(captions.len(), 46);
        for caption in captions {
            let mut ids = tokenizer.tokenize(&caption.text).unwrap().token_ids;
            ids.resize(77, 0);
            assert_eq!(ids, caption.ids, "{}", caption.text);
        }
        // Words that are no tokens at all, so that the limit of words is what cuts.
        let spaces = vec!["\u{AD}"; 78].join(" ");
        assert!(tokenizer.tokenize(&spaces).unwrap().truncated);
    }

    fn clips_input(found: &TokenizerFile) -> TextInput {
        TextInput {
            context_length: 77,
            vocabulary_size: VOCABULARY_SIZE,
            start_of_text_id: found.vocabulary.start_of_text_id,
            end_of_text_id: found.vocabulary.end_of_text_id,
            mask_id: found.vocabulary.mask_id,
            padding_id: 0,
            caption_rules: None,
        }
    }

    /// The bytes are part of the fingerprint of every model with CLIP's vocabulary. These tests are built with serde_json's
    /// `preserve_order`, as a build of the whole workspace is; the programs are not.
    #[test]
    fn clips_tokenizer_is_the_same_bytes_in_every_build() {
        let found = find_tokenizer(None, None, VOCABULARY_SIZE).unwrap();
        let expected = "6b7b5cb278eec0d38b7a755bf3963c21911ffd63b55b4d4c7a43ea64ae71ca54";
        assert_eq!(descry_model::sha256_hex(&found.json), expected);
    }

    #[test]
    fn a_vocabulary_that_does_not_fit_is_refused() {
        let merges = "#version\na b</w>\n";
        assert!(of_merges(merges, 515).is_ok());
        assert!(of_merges(merges, 516).is_ok());
        assert!(of_merges(merges, 517).unwrap_err().to_string().contains("1 merges"));
        assert!(of_merges(merges, 100).is_err());
        assert!(of_merges("#version\nnopair\n", 516).is_err());
        assert!(matches!(find_tokenizer(None, None, 512), Err(ExportError::NoTokenizer { misfit: None, .. })));
    }
}
