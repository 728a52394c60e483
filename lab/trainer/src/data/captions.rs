//! All captions of a split as token ids.

use crate::TrainError;
use descry_evaluation::DatasetCaption;
use descry_model::{TextTokenizer, TokenizedText};
use ndarray::Array2;
use std::num::NonZeroUsize;
use std::thread;

/// Tokenizes captions on all cores, in order; none is left out. Blank ones, and those of which the vocabulary knows no letter,
/// are their start and end marks.
///
/// # Errors
/// [`TrainError::Model`] where the tokenizer's own rules fail; [`TrainError::Thread`].
pub(super) fn tokenize_all(
    tokenizer: &TextTokenizer,
    captions: &[DatasetCaption],
) -> Result<Vec<Vec<i64>>, TrainError> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = captions.len().div_ceil(threads).max(1);
    let joined = thread::scope(|scope| {
        let mut running = Vec::with_capacity(threads);
        for part in captions.chunks(share) {
            let work = move || tokenize_part(tokenizer, part);
            running.push(thread::Builder::new().name("tokenize".to_owned()).spawn_scoped(scope, work));
        }
        // All are joined before any is looked at: the scope would panic for a panicked thread that nobody joined.
        running.into_iter().map(|started| started.map(thread::ScopedJoinHandle::join)).collect::<Vec<_>>()
    });
    let mut token_ids = Vec::with_capacity(captions.len());
    let (mut truncated, mut with_unknown_letters) = (0_usize, 0_usize);
    for part in joined {
        let part = part
            .map_err(|error| TrainError::Thread { reason: format!("it could not be started: {error}") })?
            .map_err(|_| TrainError::Thread {
            reason: "tokenizing captions panicked; the log has why".to_owned(),
        })??;
        for text in part {
            truncated += usize::from(text.truncated);
            with_unknown_letters += usize::from(text.unknown_letters.is_some());
            token_ids.push(text.token_ids);
        }
    }
    if truncated > 0 {
        tracing::info!(truncated, captions = captions.len(), "captions longer than the context were cut");
    }
    if with_unknown_letters > 0 {
        let missing = tokenizer.missing_letters().unwrap_or_else(|| "they are unknown to it".to_owned());
        let (count, of) = (with_unknown_letters, captions.len());
        tracing::warn!("{count} of {of} captions have letters that the vocabulary lacks: {missing}");
    }
    Ok(token_ids)
}

fn tokenize_part(tokenizer: &TextTokenizer, captions: &[DatasetCaption]) -> Result<Vec<TokenizedText>, TrainError> {
    captions.iter().map(|caption| tokenizer.tokenize(&caption.text).map_err(TrainError::from)).collect()
}

/// Checks that rows of `context_length` ids hold every caption.
///
/// # Errors
/// [`TrainError::Setting`]: the tokenizer was made for longer texts.
pub(super) fn check_context_length(longest: usize, context_length: usize) -> Result<(), TrainError> {
    if longest <= context_length {
        return Ok(());
    }
    Err(TrainError::Setting {
        name: "input.context_length".to_owned(),
        reason: format!("it is {context_length}, but a caption has {longest} token ids; give at least {longest}"),
    })
}

/// Puts captions into rows, filled up with 0 on the right as the published code does.
///
/// # Shapes
/// - returns: `[captions, context_length]` i64
pub(super) fn padded<'a>(captions: impl ExactSizeIterator<Item = &'a Vec<i64>>, context_length: usize) -> Array2<i64> {
    let mut rows = Array2::zeros((captions.len(), context_length));
    for (mut row, token_ids) in rows.outer_iter_mut().zip(captions) {
        for (target, &id) in row.iter_mut().zip(token_ids) {
            *target = id;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture;
    use ndarray::array;

    #[test]
    fn captions_keep_their_order_over_all_threads() {
        let (tokenizer, vocabulary) = fixture::tokenizer();
        let captions: Vec<DatasetCaption> =
            (0..101).map(|number| DatasetCaption { text: "a ".repeat(number % 7), identity: 1, image: 0 }).collect();
        let token_ids = tokenize_all(&tokenizer, &captions).unwrap();
        let lengths: Vec<usize> = token_ids.iter().map(Vec::len).collect();
        assert_eq!(lengths, (0..101).map(|number| 2 + number % 7).collect::<Vec<_>>());
        assert_eq!(token_ids[0], [vocabulary.start_of_text_id, vocabulary.end_of_text_id]);
        assert!(tokenize_all(&tokenizer, &[]).unwrap().is_empty());
    }

    /// A run that was begun on such captions goes on with them.
    #[test]
    fn captions_of_unknown_letters_stop_no_run() {
        let (demo, _) = fixture::tokenizer();
        assert!(demo.missing_letters().is_some());
        let captions = ["x", "a", "q x"].map(|text| DatasetCaption { text: text.to_owned(), identity: 1, image: 0 });
        let token_ids = tokenize_all(&demo, &captions).unwrap();
        assert_eq!(token_ids.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 2]);
    }

    #[test]
    fn rows_are_filled_up_on_the_right() {
        let rows = padded([vec![8, 9], vec![8, 1, 9]].iter(), 4);
        assert_eq!(rows, array![[8, 9, 0, 0], [8, 1, 9, 0]]);
        assert!(check_context_length(4, 4).is_ok());
        assert!(matches!(check_context_length(5, 4), Err(TrainError::Setting { .. })));
    }
}
