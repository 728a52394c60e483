//! Captions with some of their tokens hidden, as BERT is trained (Devlin et al., NAACL 2019).
//!
//! The published code (IRRA's `ImageTextMLMDataset`, which both methods train on) hides tokens even where no loss asks
//! for what was hidden; the matching loss then sees the masked captions.

use super::randomness::Randomness;
use descry_model::Vocabulary;

/// Of the chosen tokens, the share that becomes the mask.
const MASK_SHARE: f64 = 0.8;
/// The share that becomes the mask or another token; the rest stays.
const CHANGED_SHARE: f64 = 0.9;

/// Hides tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masking {
    probability: f64,
    mask_id: Option<i64>,
    /// Ids from 1 to below this are those of words: they are hidden, and put in place of others.
    first_mark: i64,
}

impl Masking {
    /// Hides a token with the given probability.
    ///
    /// The marks are a vocabulary's last ids, and the mask comes first of them. A tokenizer without a mask, such as
    /// OpenAI's, has nothing to hide a token behind; there a random token takes its place.
    pub(super) fn new(probability: f64, vocabulary: &Vocabulary) -> Self {
        let first_mark = vocabulary.mask_id.unwrap_or(vocabulary.start_of_text_id);
        Self { probability, mask_id: vocabulary.mask_id, first_mark }
    }

    /// Hides tokens of a caption that is not padded. Without a probability nothing changes; with one, something always
    /// does: where chance spares every token, position 1 becomes the mask, as published. In a blank caption that is the
    /// end mark; the text tower, which takes the highest id, then reads its start mark.
    pub(super) fn apply(&self, token_ids: &mut [i64], randomness: &mut Randomness) {
        if self.probability <= 0.0 || self.first_mark <= 1 {
            return;
        }
        let mut is_any_chosen = false;
        for token_id in token_ids.iter_mut() {
            let current = *token_id;
            if !(1..self.first_mark).contains(&current) {
                continue;
            }
            let drawn = randomness.unit();
            if drawn >= self.probability {
                continue;
            }
            is_any_chosen = true;
            // As published, the number that chose the token also says what becomes of it.
            let share = drawn / self.probability;
            if share < MASK_SHARE {
                *token_id = self.mask(randomness);
            } else if share < CHANGED_SHARE {
                *token_id = self.random_token(randomness);
            }
        }
        if !is_any_chosen && let Some(second) = token_ids.get_mut(1) {
            *second = self.mask(randomness);
        }
    }

    fn mask(&self, randomness: &mut Randomness) -> i64 {
        self.mask_id.unwrap_or_else(|| self.random_token(randomness))
    }

    /// Any id of a word: published as `range(1, len(encoder) - 3)`, where the three last ids are mask, start and end.
    fn random_token(&self, randomness: &mut Randomness) -> i64 {
        let words = usize::try_from(self.first_mark - 1).unwrap_or_default();
        1 + randomness.index(words) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::randomness::Purpose;

    /// CLIP's vocabulary as the published code extends it.
    const PUBLISHED: Vocabulary =
        Vocabulary { start_of_text_id: 49_406, end_of_text_id: 49_407, mask_id: Some(49_405), highest_id: 49_407 };
    const WITHOUT_MASK: Vocabulary = Vocabulary { mask_id: None, ..PUBLISHED };

    fn caption(words: usize) -> Vec<i64> {
        let mut token_ids = vec![320; words + 2];
        token_ids[0] = 49_406;
        token_ids[words + 1] = 49_407;
        token_ids
    }

    fn masked(probability: f64, vocabulary: &Vocabulary, mut token_ids: Vec<i64>, seed: u64) -> Vec<i64> {
        let mut randomness = Randomness::new(seed, Purpose::Caption, 1, 0);
        Masking::new(probability, vocabulary).apply(&mut token_ids, &mut randomness);
        token_ids
    }

    #[test]
    fn shares_are_the_published_ones() {
        let after = masked(0.15, &PUBLISHED, caption(100_000), 1);
        assert_eq!((after[0], after[100_001]), (49_406, 49_407));
        let masks = after.iter().filter(|&&id| id == 49_405).count();
        let others = after[1..=100_000].iter().filter(|&&id| id != 49_405 && id != 320).count();
        assert!((11_400..12_600).contains(&masks), "{masks}");
        assert!((1_350..1_650).contains(&others), "{others}");
        assert!(after[1..=100_000].iter().all(|id| (1..=49_405).contains(id)));
    }

    #[test]
    fn something_is_always_hidden() {
        for seed in 0..50 {
            assert_eq!(masked(1e-12, &PUBLISHED, caption(3), seed), [49_406, 49_405, 320, 320, 49_407]);
        }
        assert_eq!(masked(0.15, &PUBLISHED, caption(0), 1), [49_406, 49_405]);
        // A mask that the caption holds literally is no word.
        let literal = vec![49_406, 49_405, 49_405, 49_407];
        assert_eq!(masked(1.0, &PUBLISHED, literal.clone(), 1), literal);
    }

    #[test]
    fn without_a_probability_nothing_changes() {
        assert_eq!(masked(0.0, &PUBLISHED, caption(40), 1), caption(40));
        assert_eq!(masked(0.0, &PUBLISHED, caption(0), 1), caption(0));
    }

    #[test]
    fn without_a_mask_other_words_take_the_place() {
        let after = masked(0.15, &WITHOUT_MASK, caption(100_000), 1);
        let others = after[1..=100_000].iter().filter(|&&id| id != 320).count();
        assert!((12_900..14_100).contains(&others), "{others}");
        assert!(after[1..=100_000].iter().all(|id| (1..=49_405).contains(id)));
    }

    #[test]
    fn the_same_numbers_hide_the_same_tokens() {
        assert_eq!(masked(0.5, &PUBLISHED, caption(60), 3), masked(0.5, &PUBLISHED, caption(60), 3));
        assert_ne!(masked(0.5, &PUBLISHED, caption(60), 3), masked(0.5, &PUBLISHED, caption(60), 4));
    }
}
