//! Texts, with the tokenizer that the demo has, and tokenizer files.

use descry_model::{TextInput, TextTokenizer, Vocabulary};
use std::sync::LazyLock;

const DEMO: &[u8] = include_bytes!("../../../demo/tokenizer.json");

static INPUT: LazyLock<TextInput> = LazyLock::new(|| {
    let vocabulary = Vocabulary::of_tokenizer(DEMO).unwrap();
    TextInput {
        context_length: 77,
        vocabulary_size: usize::try_from(vocabulary.highest_id).unwrap() + 1,
        start_of_text_id: vocabulary.start_of_text_id,
        end_of_text_id: vocabulary.end_of_text_id,
        mask_id: vocabulary.mask_id,
        padding_id: 0,
        caption_rules: None,
    }
});

static TOKENIZER: LazyLock<TextTokenizer> = LazyLock::new(|| TextTokenizer::from_bytes(DEMO, INPUT.clone()).unwrap());

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(tokenized) = TOKENIZER.tokenize(&text) {
        assert!(tokenized.token_ids.len() <= INPUT.context_length);
        assert!(tokenized.token_ids.iter().all(|id| usize::try_from(*id).is_ok_and(|id| id < INPUT.vocabulary_size)));
    }
    if bytes.first() == Some(&b'{') {
        let _ = TextTokenizer::from_bytes(bytes, INPUT.clone());
    }
}
